"""The propagation barrier: every live node of a network forwards by what stood in the store when it was asked.

The newest entry of the network's log says what stands; with each heartbeat a node tells the store how far its tables
have come. The barrier is passed when every live member has come that far. A node that dies meanwhile is no member that
lives, so it holds up nobody for longer than its lease; one that lives and does not come along is named.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from vxswitch.control.patience import deadline, patiently
from vxswitch.control.views import Rooms
from vxswitch.errors import StoreUnavailableError
from vxswitch.store.base import Store

_PAUSE = 0.1  # seconds between two questions


@dataclass(frozen=True, slots=True)
class Propagated:
    """What was waited for, and who has not come that far: node -> its rev, None if it never said one."""

    rev: int
    laggards: dict[str, int | None]


async def propagated(rooms: Rooms, vni: int, until: float) -> Propagated:
    """Wait for all live members, until the loop's time ``until`` at most; StoreUnavailableError if it is away then."""
    asked: int | None = None
    while True:
        over = deadline(_PAUSE) >= until
        try:
            newest = await newest_change(rooms.store, vni, until)
            asked = newest if asked is None else min(asked, newest)  # a store that lost its data begins anew
            reached = await reached_by(rooms, vni, until)
            behind = {name: rev for name, rev in reached.items() if (rev or 0) < asked}
            if not behind or over:
                return Propagated(asked, behind)
        except StoreUnavailableError:
            if over:
                raise
        await asyncio.sleep(_PAUSE)


async def reached_by(rooms: Rooms, vni: int, until: float) -> dict[str, int | None]:
    """How far the tables of each live member have come: the others by their own word, ours as we know it."""
    acks = await patiently(rooms.store.acks(vni), until)
    names = rooms.peers.live_members(vni) | acks.keys() - {rooms.node.name}
    mirror = rooms.reconciler.mirrors.get(vni)
    return {rooms.node.name: mirror.rev if mirror is not None else None, **{name: acks.get(name) for name in names}}


async def newest_change(store: Store, vni: int, until: float) -> int:
    """The rev of the newest entry of the log that changes a table: a node that goes takes a rev and changes none."""
    entries = await patiently(store.history(vni), until)
    return max((entry.rev for entry in entries if entry.kind != "lapse"), default=0)
