"""The behaviour table: what each fault did, in Markdown, between its marks in docs/operations.md."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.markdown import ROOT, replaced, row_of, table_head, where

MARK = "faults"
TITLES = (
    "what happens",
    "what `status` says",
    "lost / sent",
    "p99 before, during (ms)",
    "shown after (s)",
    "whole again after (s)",
    "connections/s and node",
    "operations a MAC",
)
_WORDS = 60  # characters of a reason


def write(report: dict[str, Any]) -> Path:
    """Put the table into docs/operations.md; returns its path."""
    path = ROOT / "docs" / "operations.md"
    path.write_text(replaced(path.read_text(), lines(report), path.name, MARK))
    return path


def lines(report: dict[str, Any]) -> Iterator[str]:
    """The table, and how it was measured."""
    yield (
        f"{where(report['facts'])}, load before {report['facts']['load_before']:.1f}. "
        f"{report['frames']} frames a second each way between two containers, "
        f"{report['macs']} MACs, three nodes, {report['server']}, default timers; each fault is held for "
        f"{report['hold']:g} s after every node has shown it.\n"
    )
    yield from table_head(list(TITLES))
    for one in report["outcomes"]:
        yield row_of(_cells(one))
    for complaint in report["complaints"]:
        yield f"\n**Not as it must be**: {complaint}."


def _cells(one: dict[str, Any]) -> list[str]:
    duplicates = f", {one['duplicates']} twice" if one["duplicates"] else ""
    return [
        one["title"],
        _reason(one["shown"]),
        f"{one['lost']} / {one['sent']}{duplicates}",
        f"{one['p99_before'] * 1e3:.1f}, {one['p99'] * 1e3:.1f}",
        "-" if one["noticed"] is None else f"{one['noticed']:.1f}",
        f"{one['healing']:.1f}",
        f"{one['attempts']:.1f}",
        f"{one['operations']:.1f}",
    ]


def _reason(text: str) -> str:
    if len(text) > _WORDS:
        text = text[: _WORDS - 1].rsplit(" ", 1)[0] + " ..."
    return text.replace("|", "\\|")
