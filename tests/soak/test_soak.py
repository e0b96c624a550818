"""The soak, made short: full load both ways, and every frame accounted for. `make soak` runs the same for ten minutes.

So short, it cannot tell a slow leak from a cache that fills; it tells a fast one, and that the books balance.
"""

from __future__ import annotations

import pytest

from benchmarks.peers import KernelCut, Vxswitch
from benchmarks.soak import errors, growth, soak


@pytest.mark.root
@pytest.mark.parametrize("kind", [Vxswitch, KernelCut])
def test_at_full_load_every_frame_is_accounted_for(kind: type[Vxswitch]) -> None:
    outcome = soak(6, kind)
    assert outcome.faults == []
    assert all(account.frames_in > 10_000 for account in outcome.accounts)


def test_growth_is_what_remains_after_the_warm_up() -> None:
    steady = [10, 500, *[1000] * 98]
    assert growth(steady) == 0
    assert growth([1000 + n for n in range(100)]) == pytest.approx(70, abs=3)
    assert growth([*steady[:50], 10**6, *steady[50:]]) == 0, "one peak is no growth"


def test_errors_in_a_log_are_found_and_warnings_are_not() -> None:
    fine = '{"level": "info", "message": "an error of somebody else\'s"}\n{"level": "warning", "message": "x"}\n'
    assert errors(fine) == []
    bad = '{"level": "error", "message": "bug in the data plane"}'
    assert errors(f"{fine}{bad}\nTraceback (most recent call last):\n") == [bad, "Traceback (most recent call last):"]
