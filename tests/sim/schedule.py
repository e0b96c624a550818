"""Schedules of faults: drawn from a seed, carried out in virtual time.

An event is complete in itself: it says when, what and for how long, and takes back what it began. So any event can be
left out of a schedule and the rest still makes sense, which is how a failing schedule is made small. The kinds of
events are in ``faults``, where each says how often it happens and how its arguments are drawn.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from tests.sim.ending import Ending
from tests.sim.rules import NOTICED, RULES, SETTLE
from tests.sim.world import World

HEARD = 0.6  # seconds: an address that was just heard of the first time has been claimed by then
PACE = 0.4  # seconds for each event, within which it begins


class Event(NamedTuple):
    """``kind`` at ``at`` seconds after the boot, with its arguments."""

    at: float
    kind: str
    args: tuple[Any, ...]

    def __str__(self) -> str:
        return f"{self.at:6.3f} {self.kind}({', '.join(map(str, self.args))})"


Action = Callable[..., Coroutine[Any, Any, None]]
Draw = Callable[[World, random.Random], tuple[Any, ...]]
KINDS: dict[str, tuple[Action, Draw, int]] = {}


def kind(weight: int, draw: Draw) -> Callable[[Action], Action]:
    """An event of this name may happen, as often as ``weight`` says."""

    def note(action: Action) -> Action:
        KINDS[action.__name__] = (action, draw, weight)
        return action

    return note


def plan(world: World, seed: int) -> list[Event]:
    """A schedule of up to ten events, ``PACE`` seconds each."""
    dice = random.Random(seed)
    names, weights = list(KINDS), [weight for _, _, weight in KINDS.values()]
    chosen = dice.choices(names, weights, k=dice.randint(1, 10))
    span = PACE * len(chosen)
    events = [Event(round(dice.uniform(0.0, span), 3), name, KINDS[name][1](world, dice)) for name in chosen]
    return sorted(events, key=lambda event: event.at)


async def happen(world: World, events: list[Event], *, thorough: bool = True) -> None:
    """All of the schedule, then peace, then the last look: as soon as nothing is wrong, or thoroughly, after all of it.

    What goes wrong again after it was right is for the thorough ones to find; they cost twice as much.
    """
    tasks = [asyncio.ensure_future(_one(world, event)) for event in events]
    for task in tasks:
        await task
    peace = SETTLE + (RULES.grace + NOTICED if any(not host.up for host in world.hosts.values()) else 0.0)
    if thorough:
        await asyncio.sleep(peace)
    await Ending(world).check(HEARD if thorough else peace)


async def _one(world: World, event: Event) -> None:
    await asyncio.sleep(event.at)
    await KINDS[event.kind][0](world, *event.args)
