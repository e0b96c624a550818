"""What a fault is: how it strikes, how it is healed, and what must be seen of it meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.faults.world import Network

Act = Callable[..., None]  # of the kind of Network that the fault strikes
Sight = Callable[..., str | None]


def nothing(_: Network) -> None:
    """The fault passes by itself, or is over at once."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One row of the behaviour table.

    ``seen`` tells in words how the fault shows, None as long as it does not on every node; a fault without it is over
    before anybody could see it, and what it destroyed must be noticed all the same. ``blows``: how many recoveries it
    takes, because it strikes several keys that heal one after the other. ``within``: seconds until it must be seen.
    """

    name: str
    title: str
    strike: Act
    heal: Act = nothing
    seen: Sight | None = None
    blows: int = 1
    within: float = 10.0
