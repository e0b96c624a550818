"""Rows from disk whose owners the store has not heard of: kept until they had the time to come back.

A node that started without the store forwards by what its file says. The store's first snapshot may lack some of that:
because it was released meanwhile, or because the store came back without its data, and then each owner still has to
claim again. Nobody can tell which. So what the snapshot lacks stays, marked stale, as long as any other node would
wait for it after the store lost its data, and goes then unless its owner has claimed it.

That is what a mirror of the store does for the nodes that were there all the time; the same class does it here, fed
with the same events, for the few seconds that it takes.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from vxswitch.control.doors import Clock
from vxswitch.model import Claimed, Event, LeaseState, Snapshot
from vxswitch.store.base import deaf
from vxswitch.store.mirror import Mark, Mirror


class Vouching:
    """``come_back``: seconds from the first snapshot on."""

    def __init__(self, clock: Clock, come_back: float) -> None:
        self._clock = clock
        self._come_back = come_back
        self._mirrors: dict[int, Mirror] = {}
        self._until: dict[int, float] = {}  # by VNI, from its first snapshot on

    def begin(self, saved: Snapshot) -> None:
        """These rows and members were on disk, and the store has not answered yet."""
        mirror = self._mirrors[saved.vni] = Mirror(saved.vni, Counter())
        _load(mirror, saved, "start", 0.0)

    def through(self, event: Event) -> Event:
        """An event of the store on its way to the reconciler; a snapshot gets what it lacks and is vouched for."""
        if isinstance(event, LeaseState):
            return event
        mirror = self._mirrors.get(event.claim.vni if isinstance(event, Claimed) else event.vni)
        if mirror is None:
            return event
        if not isinstance(event, Snapshot):
            mirror.apply(event)
            return event
        first = event.vni not in self._until
        until = self._until.setdefault(event.vni, self._clock() + self._come_back)
        reason = "gen" if first else "start"  # "gen": whatever is missing is kept
        return replace(_load(mirror, event, reason, until), reason=event.reason)

    def give_up(self) -> list[Event]:
        """What was vouched for and did not come back in time, as the events that remove it."""
        now = self._clock()
        events: list[Event] = []
        for vni in [vni for vni, until in self._until.items() if now >= until]:
            mirror = self._mirrors[vni]
            events += mirror.give_up(now, self._come_back, deaf)
            if mirror.keeps:  # of owners who came back at the last moment
                self._until[vni] = now + self._come_back
            else:
                del self._mirrors[vni], self._until[vni]
        return events


def _load(mirror: Mirror, event: Snapshot, reason: str, until: float) -> Snapshot:
    rows = {claim.mac: claim for claim in event.rows}
    members = {record.name: record for record in event.members}
    return mirror.load(Mark("", event.rev, 0), rows, members, dict(event.groups), reason, until)
