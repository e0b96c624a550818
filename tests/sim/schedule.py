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

from tests.sim.checks import SETTLE
from tests.sim.world import RULES, World

SPAN = 8.0  # seconds in which faults begin


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
    """A schedule of up to ten events."""
    dice = random.Random(seed)
    names, weights = list(KINDS), [weight for _, _, weight in KINDS.values()]
    chosen = dice.choices(names, weights, k=dice.randint(1, 10))
    events = [Event(round(dice.uniform(0.0, SPAN), 3), name, KINDS[name][1](world, dice)) for name in chosen]
    return sorted(events, key=lambda event: event.at)


async def happen(world: World, events: list[Event], settle: float = SETTLE) -> None:
    """All of the schedule, then peace for a while, then the last look."""
    tasks = [asyncio.ensure_future(_one(world, event)) for event in events]
    for task in tasks:
        await task
    await asyncio.sleep(settle + (RULES.grace if any(not host.up for host in world.hosts.values()) else 0.0))
    world.witness.check_end()


async def _one(world: World, event: Event) -> None:
    await asyncio.sleep(event.at)
    await KINDS[event.kind][0](world, *event.args)
