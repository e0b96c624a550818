"""Rows are taken from the collector's sight a few thousand at a time; few events change nothing."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from vxswitch.model import Claim, Snapshot, Withdrawn
from vxswitch.switch.freezing import ROWS, Freezer


@pytest.fixture
def thawed() -> Iterator[None]:
    gc.unfreeze()
    yield
    gc.unfreeze()


def snapshot(rows: int) -> Snapshot:
    return Snapshot(7, 1, tuple(Claim(7, n.to_bytes(6), "b", "uid", 1, ()) for n in range(rows)), (), "start")


def test_a_large_snapshot_is_frozen(thawed: None) -> None:
    large = snapshot(ROWS)
    Freezer().note(large)
    assert gc.get_freeze_count() > ROWS


def test_many_small_events_are_frozen_together(thawed: None) -> None:
    freezer, kept = Freezer(), snapshot(ROWS - 1)
    freezer.note(kept)
    assert gc.get_freeze_count() == 0
    freezer.note(Withdrawn(7, bytes(6), 2))
    assert gc.get_freeze_count() > 0
