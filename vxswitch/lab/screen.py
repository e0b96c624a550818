"""What the demo and `vxswitch lab` print: plain lines, a colour only on a terminal and without NO_COLOR."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO

WIDTH = 78


@dataclass(frozen=True, slots=True)
class Claim:
    """One thing that the demo sets out to prove."""

    held: bool
    text: str
    figure: str


class Screen:
    """Headings, steps with their time, and claims; remembers the claims for the summary."""

    def __init__(self, out: TextIO = sys.stdout) -> None:
        self.out = out
        self.claims: list[Claim] = []
        self._colour = out.isatty() and not os.environ.get("NO_COLOR")

    def line(self, text: str = "") -> None:
        print(text, file=self.out, flush=True)

    def heading(self, text: str) -> None:
        self.line(f"\n{self._paint(text, '1')}")

    @contextmanager
    def step(self, what: str) -> Iterator[list[str]]:
        """Time a step: the block appends its details to the list, the line is printed when it is done."""
        begun, details = time.monotonic(), list[str]()
        yield details
        spent = f"{time.monotonic() - begun:.1f} s"
        self.line(f"  {what:<11} {', '.join(details):<{WIDTH - 21}} {spent:>6}")

    def claim(self, held: bool, text: str, figure: str) -> None:
        """Print a claim as soon as it is known whether it held."""
        self.claims.append(Claim(held, text, figure))
        self._print_claim(self.claims[-1])

    def text(self, command: str, output: str, limit: int = 16) -> None:
        """Show a command and the first `limit` lines that it printed."""
        lines = output.rstrip().splitlines()
        self.line(f"  {self._paint('$ ' + command, '2')}")
        for line in lines[:limit]:
            self.line(f"    {line}")
        if len(lines) > limit:
            self.line(f"    ... {len(lines) - limit} more lines")

    def summary(self, seconds: float) -> bool:
        """Print all claims once more; True when all of them held."""
        self.heading("Proved")
        for claim in self.claims:
            self._print_claim(claim)
        failed = sum(not claim.held for claim in self.claims)
        verdict = f"{failed} of {len(self.claims)} did NOT hold" if failed else f"all {len(self.claims)} held"
        self.line(f"\n{self._paint(verdict, '1;31' if failed else '1;32')} in {seconds:.0f} s")
        return not failed

    def _print_claim(self, claim: Claim) -> None:
        mark = self._paint("ok  ", "32") if claim.held else self._paint("FAIL", "1;31")
        self.line(f"  {mark} {claim.text}")
        self.line(f"       {self._paint(claim.figure, '2')}")

    def _paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour else text
