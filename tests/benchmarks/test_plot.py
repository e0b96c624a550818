"""What is drawn, without drawing it: labels, medians, whiskers and curves come from the run."""

from __future__ import annotations

import pytest

from benchmarks.plot import bars, curves
from benchmarks.samples import Results


@pytest.fixture
def results() -> Results:
    results = Results(titles={"kernel": "kernel VXLAN", "kernel-cut": "vxswitch, kernel cuts"})
    for value in (4e9, 6e9, 5.5e9):
        results.add("plain", "kernel", {"tcp_1": value})
    results.add("plain", "kernel-cut", {"udp_64_50000_offered": 5e4, "udp_64_50000_delivered": 4e4})
    results.add("wire-like", "kernel-cut", {"tcp_1": 2e9})
    return results


def test_bars_have_medians_and_whiskers_in_the_printed_unit(results: Results) -> None:
    ((plain, wire_like),) = bars(results, ("tcp_1", "tcp_8"))
    assert plain.title == "TCP, 1 flow, Gbit/s, plain"
    assert (plain.labels, plain.own, plain.numbers) == (["kernel VXLAN"], [False], ["5.5"])
    assert plain.medians + plain.below + plain.above == pytest.approx([5.5, 1.5, 0.5])
    assert (wire_like.labels, wire_like.own) == (["vxswitch, kernel cuts"], [True])


def test_curves_have_a_point_for_each_load_that_was_measured(results: Results) -> None:
    found = curves(results, 64)
    (line,) = found["plain"]
    assert (line.label, line.own, line.offered, line.delivered) == ("vxswitch, kernel cuts", True, [50.0], [40.0])
    assert found["wire-like"] == []
    assert not any(curves(results, 512).values())
