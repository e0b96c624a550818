"""What commands print: JSON as the switch gave it, or plain aligned tables for people. No colour anywhere.

Cells come from other machines (node names, paths, whatever stands in the store), so nothing unprintable reaches the
terminal.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Column = tuple[str, str | Callable[[Mapping[str, Any]], Any]]
"""A title, and the key of the row or how the row gives the cell."""


def show(args: argparse.Namespace, answer: Any, human: Callable[[Any], str]) -> int:
    """Print the answer, as JSON or as ``human`` has it (nothing when that is empty). Exit code 0."""
    if args.json:
        print(json.dumps({} if answer is None else answer, indent=2))
    elif text := human(answer):
        print(text)
    return 0


def silent(_answer: Any) -> str:
    """For people, success has nothing to say."""
    return ""


def table(rows: Iterable[Mapping[str, Any]], columns: Sequence[Column]) -> str:
    """Rows under titles, columns aligned, numbers to the right."""
    cells = [[cell(_pick(row, key)) for _, key in columns] for row in rows]
    titles = [title for title, _ in columns]
    widths = [max(map(len, column)) for column in zip(titles, *cells, strict=True)]
    right = [bool(cells) and all(_is_number(row[i]) for row in cells) for i in range(len(columns))]
    lines = []
    for row in [titles, *cells]:
        parts = [
            text.rjust(width) if number else text.ljust(width)
            for text, width, number in zip(row, widths, right, strict=True)
        ]
        lines.append("  ".join(parts).rstrip())
    return "\n".join(lines)


def fields(pairs: Iterable[tuple[str, Any]]) -> str:
    """One ``name  value`` a line, values aligned."""
    shown = [(printable(name), cell(value)) for name, value in pairs]
    width = max((len(name) for name, _ in shown), default=0)
    return "\n".join(f"{name.ljust(width)}  {value}" for name, value in shown)


def flat(mapping: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """The pairs of a nested mapping under dotted names."""
    out: list[tuple[str, Any]] = []
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            out += flat(value, f"{prefix}{key}.")
        else:
            out.append((f"{prefix}{key}", value))
    return out


def cell(value: Any) -> str:
    """A value as a cell; unknown or empty is ``-``."""
    if value is None or value == "" or value == []:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}" if value < 1000 else f"{value:.0f}"
    if isinstance(value, list):
        return ",".join(cell(item) for item in value)
    return printable(str(value))


def seconds(value: float | None) -> str | None:
    """A time span as people say it: ``42.0s``, ``3m12s``, ``5h02m``, ``9d04h``."""
    if value is None:
        return None
    if value < 60:
        return f"{value:.1f}s"
    minutes, rest = divmod(int(value), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours < 24 else f"{hours // 24}d{hours % 24:02}h"


def printable(text: str) -> str:
    """The text on one line, without anything that could move a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _pick(row: Mapping[str, Any], key: str | Callable[[Mapping[str, Any]], Any]) -> Any:
    return row.get(key) if isinstance(key, str) else key(row)


def _is_number(text: str) -> bool:
    return text == "-" or text.replace(".", "", 1).replace("e+", "", 1).isdigit()
