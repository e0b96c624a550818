"""TCP between hosts: what is compared, what is said, and what happens when nobody listens."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from vxswitch.lab import Lab, LabError, Transfer, hear, saying, tcp_transfer


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(hosts=2) as lab:
        yield lab


@pytest.mark.parametrize("size", [1, 1_000_003])
def test_a_transfer_arrives_as_sent(lab: Lab, size: int) -> None:
    first, second = lab.hosts
    for address in (second.ip4, second.ip6):
        moved = tcp_transfer(first, second, address, size)
        assert moved.intact
        assert moved.size == size
    assert second.processes == []


def test_damage_and_speed_are_seen() -> None:
    assert not Transfer(1, 1.0, "aa", "bb").intact
    assert Transfer(10**9, 2.0, "aa", "aa").gbit_per_s == pytest.approx(4.0)


def test_an_unreachable_end_is_an_error(lab: Lab) -> None:
    first, second = lab.hosts
    with pytest.raises(LabError, match="unreachable"):
        tcp_transfer(first, second, "203.0.113.1", 10)
    assert second.processes == []


def test_a_listener_says_who_it_is(lab: Lab) -> None:
    first, second = lab.hosts
    with saying(second, "the second") as port:
        assert hear(first, second.ip4, port) == "the second"
        assert hear(first, second.ip4, port) == "the second"
    with pytest.raises(LabError, match="refused"):
        hear(first, second.ip4, port)
