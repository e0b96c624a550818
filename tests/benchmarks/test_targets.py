"""Targets: a ratio is good enough on the right side of its limit, and one that was not measured is not judged."""

from __future__ import annotations

import pytest

from benchmarks.samples import Results
from benchmarks.targets import TARGETS, judged


def test_a_target_is_reached_at_its_limit_and_on_its_better_side() -> None:
    for target in TARGETS:
        better = 1.01 if target.at_least else 0.99
        assert target.reached(target.limit) and target.reached(target.limit * better)
        assert not target.reached(target.limit / better**2)


def test_only_what_was_measured_is_judged_and_by_the_right_variant() -> None:
    results = Results()
    for peer, value in (("kernel", 10e9), ("vxswitch", 5e9), ("kernel-cut", 7e9)):
        results.add("plain", peer, {"tcp_1": value})
    found = {(target.own, target.peer): ratio for target, ratio in judged(results)}
    assert found == pytest.approx({("vxswitch", "kernel"): 0.5, ("kernel-cut", "kernel"): 0.7})
