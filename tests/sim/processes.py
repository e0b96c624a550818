"""Seeds in a few processes, each replaced after a while: what a thousand dead worlds leave behind goes with it.

A process may die: the interpreter, or a library, may be what fails. That is told, with its stack, and counts as a
failure, but the others go on.
"""

from __future__ import annotations

import faulthandler
import logging
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool

from tests.sim.run import Outcome, failures

CHUNK = 50  # seeds that a process takes at once
TASKS = 10  # chunks that a process has until it is replaced, on average
QUIET = logging.WARNING  # errors are looked at (``bugs``)


def in_processes(seeds: range, jobs: int) -> Iterator[tuple[list[Outcome], int, int, int]]:
    """What ``failures`` says of each chunk, in any order; nothing of those that went with a process that died."""
    size = CHUNK * TASKS * jobs
    for block in (seeds[at : at + size] for at in range(0, len(seeds), size)):
        chunks = [block[at : at + CHUNK] for at in range(0, len(block), CHUNK)]
        with ProcessPoolExecutor(jobs, multiprocessing.get_context("forkserver"), _prepare) as pool:
            try:
                for done in as_completed([pool.submit(failures, chunk) for chunk in chunks]):
                    yield done.result()
            except BrokenProcessPool:
                print(f"a process died at one of the seeds {block[0]} to {block[-1]}: some of them were left out")
            finally:
                pool.shutdown(cancel_futures=True)


def _prepare() -> None:
    logging.disable(QUIET)
    faulthandler.enable()
