"""The state of a port follows its link, wherever the TAP stands, without any frame."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.dataplane.test_port import port_on
from tests.kernel.namespaces import Namespace, until
from tests.kernel.tun import Tun
from vxswitch.dataplane.links import Links

pytestmark = pytest.mark.root


def test_a_ports_state_is_that_of_its_link_in_any_namespace(namespace: Callable[[], Namespace]) -> None:
    """Down before it is set up, also in a namespace that the TAP was moved to; gone with its device."""
    outer, inner = namespace(), namespace()
    made = {name: outer.call(lambda name=name: Tun(name)) for name in ("t0", "t1")}
    outer.ip("link", "set", "t1", "netns", inner.name)
    links, ports = Links(), [port_on(tun.fd) for tun in made.values()]
    for port in ports:
        links.add(port)

    def states() -> list[str]:
        links.look(ports)
        return [port.state for port in ports]

    assert [port.state for port in ports] == ["down", "down"], "as soon as it is followed"
    inner.ip("link", "set", "t1", "up")
    assert states() == ["down", "up"]
    outer.ip("link", "set", "t0", "up")
    inner.ip("link", "set", "t1", "down")
    assert states() == ["up", "down"]
    inner.ip("link", "set", "t1", "up")
    inner.ip("link", "del", "t1")
    until(lambda: states() == ["up", "gone"], "the end of the device")
    for port in ports:
        links.remove(port)
        port.close()
