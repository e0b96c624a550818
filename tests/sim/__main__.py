"""``python -m tests.sim``: many seeds in a few processes, or one seed again.

Sets and dicts of text must have the same order in every run, so this starts itself anew with PYTHONHASHSEED=0.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import sys
import time
from collections.abc import Callable

from tests.sim.run import failures, minimised, report, run
from tests.sim.telling import tell
from tests.sim.world import World

CHUNK = 50  # seeds that a process takes at once
TASKS = 10  # chunks until a process is replaced: what a thousand dead worlds leave behind goes with it
SHOWN = 5  # failures that are shown in full


def main() -> int:
    """Exit code 1: something was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many (default 1000)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (default 0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--seed", type=int, help="only this one, with the log")
    parser.add_argument("--only", help="with --seed: only the events of these numbers (0,3,...)")
    parser.add_argument("--log", action="store_true", help="with --seed: what the switches log")
    args = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.execve(
            sys.executable, [sys.executable, "-m", "tests.sim", *sys.argv[1:]], os.environ | {"PYTHONHASHSEED": "0"}
        )
    if not args.log:
        logging.disable()
    if args.seed is not None:
        return one(args.seed, args.only, tell if args.log else None)
    return many(range(args.first, args.first + args.seeds), args.jobs)


def one(seed: int, only: str | None, watch: Callable[[World], None] | None) -> int:
    """One seed again."""
    numbers = None if only is None else tuple(int(word) for word in only.split(",") if word)
    outcome = run(seed, numbers, watch)
    print(report(outcome) if outcome.wrong else f"seed {seed}: nothing wrong")
    return bool(outcome.wrong)


def many(seeds: range, jobs: int) -> int:
    """All of these seeds."""
    began = time.monotonic()
    chunks = [seeds[at : at + CHUNK] for at in range(0, len(seeds), CHUNK)]
    failed, runs, pings, demanded = [], 0, 0, 0
    with multiprocessing.get_context("forkserver").Pool(jobs, logging.disable, maxtasksperchild=TASKS) as pool:
        for some, n, sent, owed in pool.imap_unordered(failures, chunks):
            failed += some
            runs, pings, demanded = runs + n, pings + sent, demanded + owed
    failed.sort()
    for outcome in failed[:SHOWN]:
        print(report(minimised(outcome)))
    print(f"failing seeds: {' '.join(str(outcome.seed) for outcome in failed)}" if failed else "all is well")
    seconds = time.monotonic() - began
    print(f"{runs} seeds, {len(failed)} failed; {pings} pings, {demanded} had to arrive; {seconds:.1f} s")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
