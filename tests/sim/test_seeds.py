"""Random schedules, as many as a few seconds allow; ``make sim`` runs 10^5."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.sim import test_threads as stories
from tests.sim.defects import put_in
from tests.sim.node import Disk
from tests.sim.run import minimised, report, run

SEEDS = 2000


@pytest.mark.timeout(600)  # seconds on a loaded machine; a few on an idle one
def test_nothing_is_wrong_with_the_first_seeds() -> None:
    command = [sys.executable, "-m", "tests.sim", "--seeds", str(SEEDS), "--jobs", "2"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONHASHSEED": "0"})
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_same_seed_is_the_same_run() -> None:
    assert run(11) == run(11)
    assert run(11).mark != run(12).mark


def test_an_exception_that_a_switch_survives_and_logs_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Disk, name: str, document: object) -> None:
        raise LookupError("a bug")

    monkeypatch.setattr(Disk, "keep", broken)
    failed = next(outcome for seed in range(100) if (outcome := run(seed)).wrong)
    assert "LookupError('a bug')" in failed.wrong[0]


# -- it finds what it is there to find: defects that it has found, put back -------------------------------------------


def test_a_failing_seed_is_made_small_and_says_how_to_see_it_again() -> None:
    with put_in("network records are not made again"):
        failed = next(outcome for seed in range(100) if (outcome := run(seed)).wrong)
        smallest = minimised(failed)
        assert run(failed.seed, smallest.only).wrong == smallest.wrong
    told = report(smallest)
    assert {event.kind for event in smallest.events} <= {"flush", "failover"} and len(smallest.events) == 1
    assert "has no record" in told and f"python -m tests.sim --seed {failed.seed} --only" in told


@pytest.mark.parametrize(
    ("defect", "story"),
    [
        ("an address that is free now stays refused", stories.test_a_host_that_takes_anothers_place_is_reached),
        (
            "kept rows are given up while nobody could claim",
            stories.test_flannel_294_the_data_is_lost_and_then_the_store_is_away_longer_than_owners_need,
        ),
        (
            "another's claim does not count again",
            stories.test_a_double_that_came_and_went_unheard_leaves_the_owners_row,
        ),
        (
            "a late heartbeat fences its own node",
            stories.test_after_a_hang_of_the_store_nobody_is_fenced_by_its_own_late_heartbeat,
        ),
        (
            "who is dead is vouched for",
            stories.test_for_a_guest_that_went_unseen_its_last_switch_answers_while_that_one_lives,
        ),
    ],
)
def test_a_defect_is_found_by_its_story(
    monkeypatch: pytest.MonkeyPatch, defect: str, story: Callable[[], None]
) -> None:
    monkeypatch.setattr(stories, "SEEDS", range(20))  # the first that notices ends it
    with put_in(defect), pytest.raises(AssertionError):
        story()


@pytest.mark.parametrize(
    "defect",
    ["leases are believed at once", "nothing is kept over a broken history", "waiting claims are not placed"],
)
def test_a_defect_is_found_by_chance(defect: str) -> None:
    """One seed in five or six finds these; `python -m tests.sim --defects` has the others, and what it costs."""
    with put_in(defect):
        assert any(run(seed).wrong for seed in range(100))
