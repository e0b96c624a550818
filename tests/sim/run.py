"""One seed, or many: run, and make the schedule of one that fails as small as it can be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from tests.sim import faults as faults  # their kinds, for the plan
from tests.sim.schedule import Event, happen, plan
from tests.sim.world import World

THOROUGH = 6  # every so many-th seed sees all of the peace after its faults


class Outcome(NamedTuple):
    """What came of one run. ``only``: the numbers of the events that happened, None = all of the schedule.

    ``mark``: how it ended, in one line; another one of the same seed means that the seed does not decide all.
    """

    seed: int
    only: tuple[int, ...] | None
    events: list[Event]
    wrong: list[str]
    pings: int
    demanded: int
    mark: str


def run(seed: int, only: Sequence[int] | None = None, watch: Callable[[World], None] | None = None) -> Outcome:
    """The schedule of a seed, or only some of its events; ``watch`` gets the world before it begins."""
    world = World(seed)
    if watch is not None:
        watch(world)
    events = plan(world, seed)
    chosen = [event for number, event in enumerate(events) if only is None or number in only]
    world.run(happen(world, chosen, thorough=seed % THOROUGH == 0))
    witness = world.witness
    tables = world.server.hub.tables
    mark = f"{witness.reached} " + " ".join(f"{vni}:{t.truth.rev}:{t.truth.digest:x}" for vni, t in tables.items())
    numbers = None if only is None else tuple(only)
    return Outcome(seed, numbers, chosen, witness.wrong, witness.pings, witness.demanded, mark)


def minimised(failed: Outcome) -> Outcome:
    """Leave out one event after the other, until none can be left out with something still wrong."""
    best, again = failed, True
    numbers = list(range(len(failed.events)) if failed.only is None else failed.only)
    while again:
        again = False
        for number in list(numbers):
            fewer = [n for n in numbers if n != number]
            outcome = run(failed.seed, fewer)
            if outcome.wrong:
                numbers, best, again = fewer, outcome, True
    return best


def failures(seeds: Iterable[int]) -> tuple[list[Outcome], int, int, int]:
    """Those of the seeds that fail; how many runs, pings, and pings that had to arrive."""
    failed: list[Outcome] = []
    runs = pings = demanded = 0
    for seed in seeds:
        outcome = run(seed)
        runs, pings, demanded = runs + 1, pings + outcome.pings, demanded + outcome.demanded
        if outcome.wrong:
            failed.append(outcome)
    return failed, runs, pings, demanded


def report(outcome: Outcome) -> str:
    """A failure for a human: what was wrong, the schedule, and how to see it again."""
    numbers = "" if outcome.only is None else f" --only {','.join(map(str, outcome.only))}"
    lines = [f"seed {outcome.seed}: {len(outcome.wrong)} wrong"]
    lines += [f"    {line}" for line in outcome.wrong[:8]]
    lines += ["  schedule (seconds after the boot):", *(f"    {event}" for event in outcome.events)]
    lines += [f"  again: PYTHONHASHSEED=0 python -m tests.sim --seed {outcome.seed}{numbers}"]
    return "\n".join(lines)
