"""Seeds in a few processes, each replaced after a while: what a thousand dead worlds leave behind goes with it.

A process may die: the interpreter, or a library, may fail, too. That is told, with its stack, and what it had not done
is done anew, once.
"""

from __future__ import annotations

import faulthandler
import logging
import multiprocessing
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool

from tests.sim.run import Outcome, failures

CHUNK = 50  # seeds that a process takes at once
TASKS = 10  # chunks that a process has until it is replaced, on average
QUIET = logging.WARNING  # errors are looked at (``bugs``)

Result = tuple[list[Outcome], int, int, int]


def in_processes(seeds: range, jobs: int, work: Callable[[range], Result] = failures) -> Iterator[Result]:
    """What ``work`` says of each chunk, in any order; nothing of those whose processes died twice."""
    size = CHUNK * TASKS * jobs
    for block in (seeds[at : at + size] for at in range(0, len(seeds), size)):
        left = [block[at : at + CHUNK] for at in range(0, len(block), CHUNK)]
        for what in ("they run again", "they are left out"):
            left = yield from _some(left, jobs, work)
            if not left:
                break
            print(f"a process died at one of {len(left) * CHUNK} seeds from {left[0][0]} to {left[-1][-1]}: {what}")


def _some(chunks: list[range], jobs: int, work: Callable[[range], Result]) -> Generator[Result, None, list[range]]:
    """In processes of their own; returns what was not done because one of them died."""
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("forkserver"), _prepare) as pool:
        asked = {pool.submit(work, chunk): chunk for chunk in chunks}
        try:
            for done in as_completed(list(asked)):
                yield done.result()
                del asked[done]
        except BrokenProcessPool:
            return list(asked.values())
        finally:
            pool.shutdown(cancel_futures=True)
    return []


def _prepare() -> None:
    logging.disable(QUIET)
    faulthandler.enable()
