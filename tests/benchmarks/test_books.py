"""The books of a switch: what is missing shows, whatever it is called."""

from __future__ import annotations

from collections import Counter

import pytest

from benchmarks.books import Account, dropped, refused
from vxswitch.lab import Lab, until


def test_a_frame_is_accounted_for_if_it_went_on_or_died_by_name() -> None:
    account = Account(100, 98, copies=3, to_ports=40, from_ports=60, drops=Counter(storm=4, rate=1))
    assert account.unaccounted == 0
    assert (account.sent, account.received) == (58, 40)
    assert Account(100, 97, 3, 40, 60, Counter(storm=4)).unaccounted == 2


def test_an_overflow_may_hide_a_run_and_nothing_else_does() -> None:
    assert Account(9, 8, 0, 4, 5, Counter(storm=4)).hidden == 0
    assert Account(9, 8, 0, 4, 5, Counter(underlay_overflow=2)).hidden == 2 * 127


def test_only_what_happened_since_counts() -> None:
    before = Account(10, 9, 1, 4, 6, Counter(storm=2))
    after = Account(110, 108, 4, 44, 66, Counter(storm=6, rate=0))
    assert after - before == Account(100, 99, 3, 40, 60, Counter(storm=4))
    assert (after - before).unaccounted == 0


@pytest.mark.root
def test_drops_of_a_devices_queue_are_seen() -> None:
    with Lab(hosts=2, direct=True) as lab:
        one, two = lab.hosts
        before = dropped(one, "eth0")
        one.run(["tc", "qdisc", "add", "dev", "eth0", "root", "pfifo", "limit", "0"])
        one.run(["ping", "-c", "3", "-i", "0.01", "-W", "0.1", two.ip4], check=False)
        assert dropped(one, "eth0") > before


@pytest.mark.root
def test_what_the_kernel_refuses_is_seen() -> None:
    with Lab(hosts=2, direct=True) as lab:
        one, two = lab.hosts
        before = refused(two)
        one.run(["bash", "-c", f"echo nobody listens >/dev/udp/{two.ip4}/9"])
        until(lambda: refused(two) - before == Counter({"Udp:NoPorts": 1}), 5.0, "the datagram to be refused")
