"""Size: what is measured does what it says, lookups do not grow with the table, a flood costs so much per copy.

Costs are of the CPU, and compared with each other within generous bounds: the alternative to flat is a thousandfold.
"""

from __future__ import annotations

from benchmarks.scale import ROWS, VTEPS, Sized, lines, loopback, measure


def test_a_flood_is_one_copy_for_each_vtep_and_a_frame_goes_to_one() -> None:
    sized = Sized(rows=1000, vteps=50)
    assert len(sized.table.rows) == 1001, "and the port's own MAC"
    assert sized.floods()() == 4
    assert sized.encap.underlay.sent == 4 * 50
    assert sized.stats.copies == 4 * 49
    decided = sized.decisions()
    before = sized.encap.underlay.sent
    assert sum(decided() for _ in range(20)) == sized.encap.underlay.sent - before > 0


def test_on_the_loopback_every_copy_is_a_datagram() -> None:
    with loopback() as (underlay, port):
        sized = Sized(1, 20, underlay, port)
        assert sized.floods()() * 20 == underlay.sent
        assert underlay.counts.total() == 0


def test_lookups_are_flat_and_floods_linear() -> None:
    samples = measure(rounds=3, seconds=0.01)
    best = {figure: {size: min(values) for size, values in sizes.items()} for figure, sizes in samples.items()}
    for figure in ("lookup", "refresh", "frame decided anew"):
        assert best[figure][max(ROWS)] < 10 * best[figure][min(ROWS)], figure
    for figure in ("copy in memory", "copy on the loopback"):
        assert best[figure][max(VTEPS)] < 3 * best[figure][10], figure
    assert len(list(lines(samples))) == 1 + 3 * len(ROWS) + 2 * len(VTEPS)
