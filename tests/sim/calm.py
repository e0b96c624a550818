"""What has been left in peace, and since when: the conditions under which the overlay owes anybody a delivery.

A thing (a host, a MAC's place, a link, the store) is named by a tuple. A fault disturbs it, for an instant or from
``begin`` to ``end``; it is calm again from then on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

Thing = tuple[object, ...]

STORE: Thing = ("store",)
NETWORK: Thing = ("network",)  # the underlay as a whole


def host(name: str) -> Thing:
    """A machine and the switch on it."""
    return ("host", name)


def place(vni: int, mac: bytes) -> Thing:
    """Where a MAC is."""
    return ("place", vni, mac)


def link(one: str, other: str) -> Thing:
    """The way between two hosts."""
    return ("link", *sorted((one, other)))


def to_store(name: str) -> Thing:
    """The way from a host to the store."""
    return ("to_store", name)


class Calm:
    """See the head of this file."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last: dict[Thing, float] = {}
        self._going_on: Counter[Thing] = Counter()

    def disturb(self, *things: Thing) -> None:
        """Something happens to these now."""
        for thing in things:
            self._last[thing] = self._clock()

    def begin(self, *things: Thing) -> None:
        """Something begins."""
        self._going_on.update(things)
        self.disturb(*things)

    def end(self, *things: Thing) -> None:
        """And ends."""
        self._going_on.subtract(things)
        self.disturb(*things)

    def since(self, things: Iterable[Thing]) -> float:
        """All of these are calm since this time; infinity: one is not."""
        latest = 0.0
        for thing in things:
            if self._going_on[thing] > 0:
                return float("inf")
            latest = max(latest, self._last.get(thing, 0.0))
        return latest
