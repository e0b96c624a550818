"""``python -m tests.sim``: many seeds in a few processes, or one seed again.

Sets and dicts of text must have the same order in every run, so this starts itself anew with PYTHONHASHSEED=0.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
import time
from collections.abc import Callable

from tests.sim.defects import DEFECTS, measure
from tests.sim.processes import QUIET, in_processes
from tests.sim.run import Outcome, minimised, report, run
from tests.sim.telling import tell
from tests.sim.world import World

PROGRESS = 10.0  # seconds between two lines that say how far it is
SHOWN = 5  # failures that are enough, and are shown in full


def main() -> int:
    """Exit code 1: something was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many (default 1000)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (default 0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--seed", type=int, help="only this one, with the log")
    parser.add_argument("--only", help="with --seed: only the events of these numbers (0,3,...)")
    parser.add_argument("--log", action="store_true", help="with --seed: what the switches log")
    parser.add_argument(
        "--defects", type=int, metavar="N", help="let N seeds look for each defect that is known to them"
    )
    args = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.execve(
            sys.executable, [sys.executable, "-m", "tests.sim", *sys.argv[1:]], os.environ | {"PYTHONHASHSEED": "0"}
        )
    if not args.log:
        logging.disable(QUIET)
    if args.seed is not None:
        return one(args.seed, args.only, tell if args.log else None)
    if args.defects is not None:
        return price(args.defects)
    return many(range(args.first, args.first + args.seeds), args.jobs)


def one(seed: int, only: str | None, watch: Callable[[World], None] | None) -> int:
    """One seed again."""
    numbers = None if only is None else tuple(int(word) for word in only.split(",") if word)
    outcome = run(seed, numbers, watch)
    print(report(outcome) if outcome.wrong else f"seed {seed}: nothing wrong")
    return bool(outcome.wrong)


def many(seeds: range, jobs: int) -> int:
    """All of these seeds, or as many as it takes to have ``SHOWN`` failures to show."""
    began = told = time.monotonic()
    failed: list[Outcome] = []
    runs = pings = demanded = 0
    with contextlib.closing(in_processes(seeds, jobs)) as done:
        for some, n, sent, owed in done:
            failed += some
            runs, pings, demanded = runs + n, pings + sent, demanded + owed
            if len(failed) >= SHOWN:
                break
            if (now := time.monotonic()) - told > PROGRESS:
                told = now
                print(f"{runs} of {len(seeds)} seeds, {len(failed)} failed; {now - began:.0f} s", flush=True)
    failed.sort()
    for outcome in failed[:SHOWN]:
        print(report(minimised(outcome)))
    seconds = time.monotonic() - began
    print(f"{runs} seeds, {len(failed)} failed; {pings} pings, {demanded} had to arrive; {seconds:.1f} s")
    return bool(failed) or runs < len(seeds)


def price(seeds: int) -> int:
    """What it costs to find each of the defects that are put in; exit code 1: some were not found."""
    missed = 0
    for name in DEFECTS:
        found = measure(name, seeds)
        missed += not found.noticed
        print(f"{name:50} {found.noticed:5} of {found.runs} seeds, {found.price:8.2f} s of processor", flush=True)
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
