"""What outlives a connection: who we are, what we joined, the mirrors, the status, the queue of events.

One ``State`` per RedisStore. A Session and its Reader come and go with each connection and work on it; all of them
run in one event loop, so nothing here is locked.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace

from vxswitch.model import Event, LeaseState, NodeRecord
from vxswitch.store.base import LocalMac, StoreCounts, StoreState, StoreStatus, deaf
from vxswitch.store.lease import OwnLease
from vxswitch.store.mirror import Mirror
from vxswitch.store.redis_connect import Word
from vxswitch.store.redis_scripts import Keys
from vxswitch.store.rules import Clock, Rules

log = logging.getLogger(__name__)

QUEUE_LENGTH = 4096  # events; a full queue stops the reader, and what it then misses comes as a snapshot


class State:
    """See the head of this file."""

    def __init__(self, shown_url: str, keys: Keys, rules: Rules, clock: Clock) -> None:
        self.keys = keys
        self.rules = rules
        self.clock = clock
        self.node = NodeRecord("", "", 0, ())
        self.reassert: Callable[[int], Iterable[LocalMac]] = lambda vni: ()
        self.heard: Callable[[str], bool] = deaf
        self.mirrors: dict[int, Mirror] = {}
        self.groups: dict[int, frozenset[str]] = {}  # of our ports, where they were set
        self.applied: dict[int, tuple[str, int]] = {}  # gen and rev that our tables have come to
        self.untold: dict[int, tuple[str, int]] = {}  # of these what the store does not know yet
        self.leaving: set[int] = set()  # left here, not yet in the store
        self.watched: Counter[str] = Counter()
        self.counts = StoreCounts()
        self.known = False  # registered once: a store that does not know us has lost data
        self.lease = OwnLease(rules)
        self.left: dict[str, float] = {}  # when leases end
        self.departed: set[str] = set()  # took their lease back themselves, and have none since
        self.server: tuple[str, str] | None = None  # run_id and master_replid of the server read last
        self.queue: asyncio.Queue[Event | None] = asyncio.Queue(QUEUE_LENGTH)
        self.status = StoreStatus(shown_url, "down", "not connected yet", clock.wall(), None)

    def caller(self) -> list[Word]:
        """ARGV[1..3] of every script."""
        return [self.node.name, self.node.uid, self.node.epoch]

    def set_status(self, state: StoreState, reason: str | None) -> None:
        """Note and log a change of state."""
        if (self.status.state, self.status.reason) == (state, reason):
            return
        level = logging.INFO if state == "up" else logging.WARNING
        log.log(level, "store %s is %s%s", self.status.url, state, f": {reason}" if reason else "")
        self.status = replace(self.status, state=state, reason=reason, since=self.clock.wall())

    def set_rtt(self, seconds: float, time: float) -> None:
        """What the last heartbeat took, and the store's time in the middle of that (seconds since 1970)."""
        offset = time - (self.clock.wall() - seconds / 2)
        self.status = replace(self.status, rtt_ms=round(seconds * 1000, 3), offset=offset)

    def poisoned(self, what: object) -> None:
        """Count a value that makes no sense; it is ignored."""
        self.counts.poisoned += 1
        log.debug("store %s: ignored a poisoned value: %s", self.status.url, what)

    def absent(self, now: float) -> list[str]:
        """The other nodes that are watched and have no lease that we know of."""
        return [name for name in self.watched if self.left.get(name, 0.0) <= now and name != self.node.name]

    def note_applied(self, vni: int, rev: int) -> None:
        """Our tables have come to this rev, but never further than what was read."""
        mirror = self.mirrors.get(vni)
        if mirror is None:
            return
        reached = (mirror.gen, min(rev, mirror.rev))
        if self.applied.get(vni) != reached:
            self.applied[vni] = self.untold[vni] = reached

    def forget(self, vni: int) -> None:
        """A VNI that was left."""
        mirror = self.mirrors.pop(vni, None)
        if mirror is not None:
            mirror.drop()
        for of_vni in (self.groups, self.applied, self.untold):
            of_vni.pop(vni, None)

    async def emit(self, event: Event) -> None:
        """Hand an event to the consumer; waits while the queue is full."""
        await self.queue.put(event)

    def emit_leases(self) -> None:
        """Hand over how the leases stand, unless the consumer is far behind: the next heartbeat says it again."""
        now = self.clock.monotonic()
        left = {name: ends - now for name, ends in self.left.items() if name in self.watched and ends > now}
        if not self.queue.full():
            self.departed = (self.departed & self.watched.keys()) - left.keys()
            self.queue.put_nowait(LeaseState(left, self.lease.trusted(now), frozenset(self.departed)))

    def note_live(self, name: str) -> None:
        """A node showed that its lease is live; the next heartbeat knows for how long."""
        ends = self.clock.monotonic() + self.rules.lease
        self.left[name] = max(ends, self.left.get(name, 0.0))
        self.emit_leases()

    def end_events(self) -> None:
        """No event follows."""
        if self.queue.full():
            self.queue.get_nowait()
        self.queue.put_nowait(None)
