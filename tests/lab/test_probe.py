"""The reading of ping's output, and ping and the loss meter on a real underlay."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from vxswitch.lab import Lab, LabError, LossMeter, ping
from vxswitch.lab.probe import parse_ping

OUTPUT = """\
PING 10.9.0.2 (10.9.0.2) 56(84) bytes of data.
[1700000000.100000] 64 bytes from 10.9.0.2: icmp_seq=1 ttl=64 time=0.050 ms
[1700000000.200000] 64 bytes from 10.9.0.2: icmp_seq=2 ttl=64 time=0.070 ms
[1700000000.200100] 64 bytes from 10.9.0.2: icmp_seq=2 ttl=64 time=0.090 ms (DUP!)
[1700000000.500000] 64 bytes from 10.9.0.2: icmp_seq=4 ttl=64 time=1.50 ms

--- 10.9.0.2 ping statistics ---
5 packets transmitted, 3 received, +1 duplicates, 40% packet loss, time 400ms
rtt min/avg/max/mdev = 0.050/0.540/1.500/0.100 ms
"""


def test_replies_losses_and_duplicates_are_told_apart() -> None:
    result = parse_ping(OUTPUT)
    assert (result.sent, result.received, result.lost, result.duplicates) == (5, 3, 2, 1)
    assert result.sequence == (1, 2, 4)
    assert result.rtts == pytest.approx((50e-6, 70e-6, 1.5e-3))
    assert result.longest_gap() == pytest.approx(0.3)
    assert result.quantile(0.5) == pytest.approx(70e-6)
    assert result.quantile(1.0) == pytest.approx(1.5e-3)


def test_no_reply_has_no_quantile() -> None:
    result = parse_ping("3 packets transmitted, 0 received, 100% packet loss, time 20ms\n")
    assert (result.lost, result.longest_gap()) == (3, 0.0)
    with pytest.raises(LabError, match="no reply to 3 pings"):
        result.quantile(0.5)


def test_replies_to_probes_without_room_for_a_time_count_too() -> None:
    line = "[1700000000.1] 12 bytes from 10.9.0.2: icmp_seq=1 ttl=64\n"
    result = parse_ping(f"{line}1 packets transmitted, 1 received, 0% packet loss, time 0ms\n")
    assert (result.lost, result.sequence) == (0, (1,))


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(hosts=2) as lab:
        yield lab


def test_ping_both_families_and_the_underlay_mtu(lab: Lab) -> None:
    first, second = lab.hosts
    assert ping(first, second.ip4).lost == 0
    assert ping(first, second.ip6).lost == 0
    assert ping(first, second.ip4, size=0).lost == 0
    assert ping(first, second.ip4, size=lab.mtu - 28, df=True).lost == 0
    assert ping(first, second.ip4, size=lab.mtu - 27, df=True, count=1).received == 0


def test_ping_to_nobody_has_lost_what_it_was_asked_to_send(lab: Lab) -> None:
    result = ping(lab.hosts[0], "10.77.9.9", count=3, wait=0.1)
    assert (result.sent, result.received) == (3, 0)


def test_ping_that_cannot_start_says_why(lab: Lab) -> None:
    with pytest.raises(LabError, match="unreachable"):
        ping(lab.hosts[0], "203.0.113.1")


def test_the_loss_meter_counts_what_an_interruption_costs(lab: Lab) -> None:
    first, second = lab.hosts
    with LossMeter(first, second.ip4, interval=0.01) as meter:
        assert meter.first_reply(5.0) <= time.time()
        second.ip("link set eth0 down")
        until_sent = time.monotonic() + 0.2
        while time.monotonic() < until_sent:  # the interruption itself, not a wait for something
            time.sleep(0.02)
        second.ip("link set eth0 up")
        meter.next_reply(5.0)
    assert meter.result.lost > 0
    assert meter.result.longest_gap() > 0.1


def test_the_loss_meter_loses_nothing_on_a_sound_path(lab: Lab) -> None:
    first, second = lab.hosts
    with LossMeter(first, second.ip4, interval=0.005) as meter:
        meter.first_reply(5.0)
    assert meter.result.received > 0
    assert meter.result.lost == 0


def test_the_loss_meter_does_not_wait_for_ever(lab: Lab) -> None:
    with pytest.raises(LabError, match="not within"), LossMeter(lab.hosts[0], "10.77.9.9") as meter:
        meter.first_reply(0.2)
