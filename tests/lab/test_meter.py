"""The meter between two hosts of a lab: what is lost, late or silent in a window, and nothing outside of it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from vxswitch.lab import Host, Lab, Meter
from vxswitch.lab.meter import INTERVAL, Passage


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(hosts=2) as lab:
        yield lab


@pytest.fixture(scope="module")
def meter(lab: Lab) -> Iterator[Meter]:
    one, two = lab.hosts
    with Meter((one, one.ip4), (two, two.ip4)) as running:
        running.wait_flowing()
        yield running


def over(meter: Meter, seconds: float) -> list[Passage]:
    """What becomes of the frames of the next seconds."""
    since = time.time_ns()
    time.sleep(seconds)
    return meter.between(since, time.time_ns())


def test_a_link_that_works_loses_nothing(meter: Meter) -> None:
    for way in over(meter, 0.5):
        assert 0 < way.sent <= 0.5 / INTERVAL + 1
        assert (way.lost, way.duplicates) == (0, 0)
        assert 0 < way.p50 <= way.p99 <= way.longest


def drop_udp(host: Host, verb: str) -> None:
    host.run(["iptables", "-w", verb, "INPUT", "-p", "udp", "-j", "DROP"])


def test_what_one_end_does_not_get_is_lost_one_way(lab: Lab, meter: Meter) -> None:
    since = time.time_ns()
    drop_udp(lab.hosts[1], "-A")
    time.sleep(0.3)
    drop_udp(lab.hosts[1], "-D")
    there, back = meter.between(since, time.time_ns())
    assert 0 < there.lost <= there.sent
    assert back.lost == 0
    assert [way.lost for way in over(meter, 0.2)] == [0, 0]


def test_a_stream_over_ipv6(lab: Lab) -> None:
    one, two = lab.hosts
    with Meter((one, one.ip6), (two, two.ip6), port=7100) as running:
        running.wait_flowing()
        assert [way.lost for way in over(running, 0.2)] == [0, 0]
