"""The life of a VTEP's address: not there yet, gone for a while, its link down; nothing needs a restart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.net.containers import ask, drops
from tests.net.pair import Pair, joined_pair, link, reaches
from tests.net.wire import DEADLINE
from vxswitch.lab import Lab, ping, until


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with joined_pair() as made:
        yield made


def degraded(pair: Pair) -> list[Any]:
    return list(ask(pair.switches[0], "status")["degraded"])


def test_an_address_that_vanishes_is_named_and_used_again_when_it_returns(pair: Pair) -> None:
    host, switch = pair.lab.hosts[0], pair.switches[0]
    host.ip("address del 10.77.0.1/16 dev eth0")
    until(lambda: degraded(pair) == ["no_vtep_address"], DEADLINE, "it to be noticed")
    before = drops(switch).get("no_vtep_address", 0)
    assert not reaches(pair.one, pair.two)
    assert drops(switch)["no_vtep_address"] > before
    host.ip("address add 10.77.0.1/16 dev eth0")
    until(lambda: reaches(pair.one, pair.two) and reaches(pair.two, pair.one), DEADLINE, "both ways again")
    assert degraded(pair) == []


def test_an_underlay_that_was_down_is_used_again_at_once(pair: Pair) -> None:
    host, switch = pair.lab.hosts[0], pair.switches[0]
    host.ip("link set eth0 down")
    until(lambda: "underlay_down" in degraded(pair), DEADLINE, "it to be noticed")
    before = drops(switch).get("underlay_error", 0)
    assert not reaches(pair.one, pair.two)
    assert drops(switch)["underlay_error"] > before
    host.ip("link set eth0 up", f"address replace {host.ip6}/64 dev eth0 nodad")
    until(lambda: reaches(pair.one, pair.two) and reaches(pair.two, pair.one), DEADLINE, "both ways again")
    assert ping(pair.one.namespace, pair.two.ip, count=20).lost == 0


def test_an_underlay_whose_mtu_changes_takes_networks_and_ports_along(pair: Pair) -> None:
    """Shrunk and grown again: interfaces follow, also a container's; the path's MTU, and who cannot follow is named."""
    host, switch = pair.lab.hosts[0], pair.switches[0]
    switch.vx("network", "create", "fixed", "--vni", "900", "--mtu", "1420")

    def mtus() -> dict[str, Any]:
        inside = link(pair.one.namespace)
        (peer,) = ask(switch, "peers")
        (described,) = [one["mtu"] for one in ask(switch, "ports") if one["id"] == pair.one.port]
        return {"inside": inside and inside["mtu"], "port": described, "path": peer["mtu"], "degraded": degraded(pair)}

    before = mtus()
    until(lambda: mtus()["path"] == 1500, DEADLINE, "the path's MTU")
    host.ip("link set eth0 mtu 1400")
    smaller = {"inside": 1350, "port": 1350, "path": 1400, "degraded": ["underlay_mtu"]}
    until(lambda: mtus() == smaller, DEADLINE, "all to follow")
    assert "its MTU is 1400 now, was 1500" in switch.stderr_tail()
    assert "fixed: MTU 1420 is more than the underlay carries (1350)" in switch.stderr_tail()
    assert ask(switch, "status")["underlay"] == [{"vtep": "10.77.0.1:4789", "ifname": "eth0", "mtu": 1400, "up": True}]
    assert ping(pair.one.namespace, pair.two.ip, count=3, size=1350 - 28, df=True).lost == 0
    host.ip("link set eth0 mtu 1500")
    until(lambda: mtus() == before | {"path": 1500}, DEADLINE, "all to be as before")
    switch.vx("network", "rm", "fixed")


def test_a_device_made_anew_with_the_same_address_is_used_at_once(pair: Pair) -> None:
    """A driver reloaded, or a bridge put in between: the address is on another device now."""
    host, switch = pair.lab.hosts[0], pair.switches[0]
    host.ip("link add other type bridge", "link set other mtu 1500", "link set other up")
    host.ip("address flush dev eth0", "link set eth0 master other", "address add 10.77.0.1/16 dev other")
    until(lambda: reaches(pair.one, pair.two) and reaches(pair.two, pair.one), 2.0, "both ways again")
    until(lambda: [one["ifname"] for one in ask(switch, "status")["underlay"]] == ["other"], DEADLINE, "its name")
    host.ip("link del other", "address add 10.77.0.1/16 dev eth0", f"address add {host.ip6}/64 dev eth0 nodad")
    until(lambda: reaches(pair.one, pair.two) and reaches(pair.two, pair.one), 2.0, "both ways again")
    until(lambda: degraded(pair) == [], DEADLINE, "nothing to be wrong")


def test_a_tentative_ipv6_address_is_waited_for() -> None:
    """RFC 4862 duplicate address detection takes a second or two, in which nothing can be bound to the address."""
    with Lab(hosts=1) as lab:
        host = lab.hosts[0]
        host.ip("address add fd77::77/64 dev eth0")
        assert "tentative" in host.run(["ip", "address", "show", "dev", "eth0"]).stdout
        switch = host.switch("--vtep", "fd77::77", "--network", "red=100", "--peer", "fd77::2")
        assert switch.ready["vtep"] == "[fd77::77]:4789"
        assert ask(switch, "status")["vteps"] == ["[fd77::77]:4789"]
