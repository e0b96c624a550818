"""The judgement over a fault, and its row in the table."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.facts import facts
from benchmarks.faults import table
from benchmarks.faults.__main__ import _plain
from benchmarks.faults.trial import Outcome
from vxswitch.lab import Passage

WAY = Passage(sent=1000, lost=0, duplicates=0, p50=0.0002, p99=0.001, longest=0.01, gap=0.01)
GOOD = Outcome("killed", "SIGKILL", "down: gone | away", [WAY, WAY], [WAY, WAY], 0.1, 0.5, 2.0, 7.0, 1)


def test_what_is_as_it_must_be_is_not_complained_of() -> None:
    assert GOOD.complaints() == []


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (replace(GOOD, during=[WAY, replace(WAY, lost=3)]), "3 of 2000 frames lost"),
        (replace(GOOD, during=[WAY, replace(WAY, duplicates=1)]), "1 frames came twice"),
        (replace(GOOD, during=[WAY, replace(WAY, p99=0.4)]), "p99 400.0 ms, 1.0 ms before"),
        (replace(GOOD, healing=10.1), "whole again after 10.1 s"),
        (replace(GOOD, attempts=10.5), "10.5 connections a second and node"),
        (replace(GOOD, operations=20.5), "20.5 operations for each MAC"),
    ],
)
def test_each_thing_that_must_not_be_is_named(outcome: Outcome, words: str) -> None:
    assert outcome.complaints() == [f"killed: {words}"]


def test_the_table_has_a_row_for_each_fault() -> None:
    report = {"facts": facts(), "frames": 200, "macs": 102, "server": "redis 7", "hold": 5.0, "complaints": ["bad"]}
    lines = list(table.lines(report | {"outcomes": [_plain(GOOD)]}))
    assert "| SIGKILL | down: gone \\| away | 0 / 2000 | 1.0, 1.0 | 0.1 | 0.5 | 2.0 | 7.0 |" in lines
    assert lines[-1] == "\n**Not as it must be**: bad."
