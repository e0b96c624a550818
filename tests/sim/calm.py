"""What has been left in peace, and since when: the conditions under which the overlay owes anybody a delivery.

A thing (a host, a MAC's place, a link, the store) is named by a tuple. A fault disturbs it, for an instant or from
``begin`` to ``end``; it is calm again from then on. Each kind of thing has its time until all it had to do with is
right again, so what was disturbed last need not be what is waited for longest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from tests.sim.rules import BOUND, CROSSED, MOVED

Thing = tuple[object, ...]

STORE: Thing = ("store",)
NETWORK: Thing = ("network",)  # the underlay as a whole

_BOUNDS = {"place": MOVED, "link": CROSSED, "network": CROSSED}  # seconds; all others: BOUND
_NEVER = float("inf")


def host(name: str) -> Thing:
    """A machine and the switch on it."""
    return ("host", name)


def place(vni: int, mac: bytes) -> Thing:
    """Where a MAC is."""
    return ("place", vni, mac)


def link(one: str, other: str) -> Thing:
    """The way between two hosts."""
    return ("link", one, other) if one < other else ("link", other, one)


def to_store(name: str) -> Thing:
    """The way from a host to the store."""
    return ("to_store", name)


def clock(name: str) -> Thing:
    """A host's clock: by a leap of it a switch takes its own lease to have lapsed."""
    return ("clock", name)


def long_cut(name: str) -> Thing:
    """The way from a host to the store, when it is cut for so long that the host may be taken for dead."""
    return ("long_cut", name)


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

    def last(self, thing: Thing) -> float:
        """When something began, ended or happened last."""
        return self._last.get(thing, 0.0)

    def since(self, things: Iterable[Thing]) -> float:
        """All of these are calm since this time; infinity: one is not."""
        latest, last, going_on = 0.0, self._last, self._going_on
        for thing in things:
            if going_on.get(thing, 0) > 0:
                return _NEVER
            if (at := last.get(thing, 0.0)) > latest:
                latest = at
        return latest

    def owed(self, things: Iterable[Thing]) -> float:
        """From this time on all has to be right that depends on these; infinity: one is not calm."""
        latest, last, going_on = 0.0, self._last, self._going_on
        for thing in things:
            if going_on.get(thing, 0) > 0:
                return _NEVER
            if (at := last.get(thing)) is not None:
                latest = max(latest, at + _BOUNDS.get(str(thing[0]), BOUND))
        return latest
