from __future__ import annotations

from itertools import pairwise

import pytest

from tests.control.world import Time, World
from vxswitch.control.convergence import BOUNDS, Convergence


def test_the_stores_clock_is_what_counts() -> None:
    """Ours is 100 s behind the store's: the row that was granted 20 ms ago says 1099.98."""
    measured = Convergence(Time(1000.0), lambda: 100.0)
    measured.installed(1099.98)
    assert measured.total == pytest.approx(0.02)
    assert measured.view() == {"rows": 1, "p50": 0.025, "p99": 0.025}


def test_what_cannot_be_measured_is_not() -> None:
    measured = Convergence(Time(1000.0), lambda: None)
    measured.installed(999.0)
    Convergence(Time(1000.0), lambda: 0.0).installed(0.0)
    assert measured.view() == {"rows": 0, "p50": None, "p99": None}


def test_a_clock_that_was_set_measures_nothing_negative() -> None:
    measured = Convergence(Time(1000.0), lambda: 0.0)
    measured.installed(1000.5)
    assert measured.total == 0.0 and measured.counts[0] == 1


def test_quantiles_are_the_bounds_of_the_buckets() -> None:
    now = Time(1000.0)
    measured = Convergence(now, lambda: 0.0)
    for _ in range(98):
        measured.installed(now.now - 0.004)
    measured.installed(now.now - 0.3)
    measured.installed(now.now - 100.0)
    assert (measured.quantile(0.5), measured.quantile(0.98), measured.quantile(0.99)) == (0.005, 0.005, 0.5)
    assert measured.quantile(1.0) == float("inf") and measured.view()["rows"] == 100


def test_buckets_are_cumulative_as_prometheus_wants_them() -> None:
    measured = Convergence(Time(1000.0), lambda: 0.0)
    for seconds in (0.0001, 0.02, 0.02, 360.0):
        measured.installed(1000.0 - seconds)
    bounds, counts = zip(*measured.buckets(), strict=True)
    assert bounds == (*map(str, BOUNDS), "+Inf")
    assert counts[-1] == 4 and all(a <= b for a, b in pairwise(counts))
    assert counts[BOUNDS.index(0.025)] == 3


async def test_rows_of_others_are_measured_once_and_ours_never(world: World) -> None:
    one, two = [await world.node(f"n{i}", (f"192.0.2.{i}",)) for i in (1, 2)]
    for node in (one, two):
        await node.start("red=100")
    await world.spread()
    before = [sum(node.convergence.counts) for node in (one, two)]
    await one.attach("red", mac="02:00:00:00:00:42")
    while one.announcer.backlog:
        await one.announcer.flush()
    world.time.pass_by(0.04)
    await world.spread()
    assert [sum(node.convergence.counts) for node in (one, two)] == [before[0], before[1] + 1]
    assert two.convergence.quantile(1.0) == 0.05
    one.announcer.announce(100, bytes.fromhex("020000000042"))  # again: nothing new
    await world.spread()
    assert sum(two.convergence.counts) == before[1] + 1
