"""Random schedules, as many as a few seconds allow; ``make sim`` runs 10^5."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from tests.sim import test_threads as stories
from tests.sim.run import minimised, report, run
from vxswitch.control.networks import Networks
from vxswitch.control.peers import Peers
from vxswitch.control.reconciler import Reconciler
from vxswitch.store.lease import OwnLease

SEEDS = 200


@pytest.mark.timeout(600)  # seconds on a loaded machine; a few on an idle one
def test_nothing_is_wrong_with_the_first_seeds() -> None:
    command = [sys.executable, "-m", "tests.sim", "--seeds", str(SEEDS), "--jobs", "2"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONHASHSEED": "0"})
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_same_seed_is_the_same_run() -> None:
    assert run(11) == run(11)
    assert run(11).mark != run(12).mark


# -- it finds what it is there to find: defects that it has found, put back -------------------------------------------


def test_a_failing_seed_is_made_small_and_says_how_to_see_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def not_at_all(self: Networks) -> bool:
        return True

    monkeypatch.setattr(Networks, "catch_up", not_at_all)  # after FLUSHALL
    failed = next(outcome for seed in range(100) if (outcome := run(seed)).wrong)
    smallest = minimised(failed)
    told = report(smallest)
    assert {event.kind for event in smallest.events} <= {"flush", "failover"} and len(smallest.events) == 1
    assert "has no record" in told and f"python -m tests.sim --seed {failed.seed} --only" in told
    assert run(failed.seed, smallest.only).wrong == smallest.wrong


@pytest.mark.parametrize(
    ("defect", "story"),
    [
        ((Peers, "_settle_refused", lambda self: []), stories.test_a_host_that_takes_anothers_place_is_reached),
        (
            (OwnLease, "may_give_up", lambda self, now: True),
            stories.test_flannel_294_the_data_is_lost_and_then_the_store_is_away_longer_than_owners_need,
        ),
        (
            (Reconciler, "fall_back", lambda self, vni, mac: None),
            stories.test_a_double_that_came_and_went_unheard_leaves_the_owners_row,
        ),
        (
            (OwnLease, "answered", lambda self, ahead=0: False),
            stories.test_after_a_hang_of_the_store_nobody_is_fenced_by_its_own_late_heartbeat,
        ),
    ],
)
def test_a_defect_is_found(monkeypatch: pytest.MonkeyPatch, defect: tuple[Any, str, Any], story: Any) -> None:
    monkeypatch.setattr(*defect)
    with pytest.raises(AssertionError):
        story()
