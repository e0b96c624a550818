from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from tests.kernel.namespaces import Namespace
from vxswitch import config
from vxswitch.control.doors import Device
from vxswitch.errors import UsageError
from vxswitch.model import Vtep
from vxswitch.switch.door import own_vteps


@pytest.fixture
def host(namespace: Callable[[], Namespace]) -> Namespace:
    """An address of each family on devices of different MTU."""
    made = namespace()
    for name, mtu, address in (("a0", 1500, "192.0.2.1/24"), ("b0", 1400, "2001:db8::1/64")):
        made.ip("link", "add", name, "type", "veth", "peer", "name", f"{name}p")
        made.ip("link", "set", name, "mtu", str(mtu), "up")
        made.ip("link", "set", f"{name}p", "up")
        made.ip("address", "add", address, "dev", name, *(["nodad"] if ":" in address else []))
    return made


def test_the_configured_vteps_are_kept_in_order_with_their_devices(host: Namespace) -> None:
    vteps = (Vtep("2001:db8::1"), Vtep("192.0.2.1", 8472))
    own = host.call(lambda: own_vteps(config.Underlay(vteps=vteps)))
    assert own.vteps == vteps and [device.mtu for device in own.devices] == [1400, 1500]
    assert own.devices[1] == Device("a0", 1500, True)


def test_without_any_it_is_the_source_of_the_default_route(host: Namespace) -> None:
    with pytest.raises(UsageError, match="--vtep"):
        host.call(lambda: own_vteps(config.Underlay()))
    host.ip("route", "add", "default", "via", "192.0.2.254")
    assert host.call(lambda: own_vteps(config.Underlay(port=8472))).vteps == (Vtep("192.0.2.1", 8472),)


def test_an_address_that_is_not_here_is_a_usage_error(host: Namespace) -> None:
    for address in ("192.0.2.99", "2001:db8::99"):
        settings = config.Underlay(vteps=(Vtep(address),))
        with pytest.raises(UsageError, match="not on this host"):
            host.call(partial(own_vteps, settings))


def test_a_tentative_address_is_waited_for(host: Namespace) -> None:
    host.ip("address", "add", "2001:db8::7/64", "dev", "b0")  # duplicate address detection begins
    own = host.call(lambda: own_vteps(config.Underlay(vteps=(Vtep("2001:db8::7"),))))
    assert own.vteps == (Vtep("2001:db8::7"),)
    assert "tentative" not in host.ip("-6", "address", "show", "dev", "b0", "to", "2001:db8::7")
