"""The life of a VTEP's address: not there yet, gone for a while, its link down; nothing needs a restart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.net.containers import ask, drops
from tests.net.pair import Pair, joined_pair, reaches
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
    before = drops(switch).get("underlay_error", 0)
    assert not reaches(pair.one, pair.two)
    assert drops(switch)["underlay_error"] > before
    host.ip("link set eth0 up", f"address replace {host.ip6}/64 dev eth0 nodad")
    until(lambda: reaches(pair.one, pair.two) and reaches(pair.two, pair.one), DEADLINE, "both ways again")
    assert ping(pair.one.namespace, pair.two.ip, count=20).lost == 0


def test_a_tentative_ipv6_address_is_waited_for() -> None:
    """RFC 4862 duplicate address detection takes a second or two, in which nothing can be bound to the address."""
    with Lab(hosts=1) as lab:
        host = lab.hosts[0]
        host.ip("address add fd77::77/64 dev eth0")
        assert "tentative" in host.run(["ip", "address", "show", "dev", "eth0"]).stdout
        switch = host.switch("--vtep", "fd77::77", "--network", "red=100", "--peer", "fd77::2")
        assert switch.ready["vtep"] == "[fd77::77]:4789"
        assert ask(switch, "status")["vteps"] == ["[fd77::77]:4789"]
