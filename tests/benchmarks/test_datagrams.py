"""The receiver's judgement of what came, and the generator between two namespaces, an honest and a bad one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks import load
from benchmarks.datagrams import judge
from vxswitch.lab import Lab


def judged(*rows: tuple[int, int]) -> tuple[int, int, int]:
    found = judge(np.array(rows, np.uint32).reshape(-1, 2))
    return found["received"], found["duplicates"], found["reordered"]


def test_order_within_a_flow_is_all_that_counts() -> None:
    assert judged() == (0, 0, 0)
    assert judged((0, 0), (0, 1), (0, 5)) == (3, 0, 0), "loss is no disorder"
    assert judged((0, 4), (1, 0), (0, 5), (1, 1)) == (4, 0, 0)
    assert judged((7, 0), (7, 2), (7, 1), (7, 3)) == (4, 0, 1)
    assert judged((7, 3), (7, 1), (7, 2)) == (3, 0, 2), "each that comes after a later one"
    assert judged((0, 1), (1, 0), (0, 4), (1, 2), (0, 3)) == (5, 0, 1)


def test_a_second_copy_is_a_duplicate_and_not_out_of_order() -> None:
    assert judged((0, 0), (0, 0), (0, 1), (0, 0)) == (2, 2, 0)


def test_numbers_beyond_31_bits_are_numbers() -> None:
    assert judged((0, 2**31 - 1), (0, 2**31), (0, 2**32 - 1)) == (3, 0, 0)


@pytest.mark.root
def test_a_load_arrives_as_offered_and_what_is_dropped_is_missed() -> None:
    with Lab(hosts=2, direct=True) as lab:
        one, two = lab.hosts

        def offer(address: str, **how: Any) -> load.Load:
            return load.udp(one, two, address, pps=2000, seconds=0.5, **how)

        for address, sizes in ((two.ip4, (16,)), (two.ip6, (8, 64, 1400))):
            got = offer(address, sizes=sizes, flows=8)
            assert 0 < got.sent == got.received <= 1100
            assert (got.duplicates, got.reordered, got.overflowed, got.lost) == (0, 0, 0, 0)
        every_other = ["-p", "udp", "-m", "statistic", "--mode", "nth", "--every", "2", "--packet", "0", "-j", "DROP"]
        two.run(["iptables", "-A", "INPUT", *every_other])
        got = offer(two.ip4, sizes=(16,))
        assert got.lost == pytest.approx(got.sent / 2, abs=1)
