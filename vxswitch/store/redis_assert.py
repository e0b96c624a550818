"""Making the store say what the ports say: after each reconnect, and whenever a VNI's history broke.

A few VNIs at a time are taken off the list (those to leave are left): join, then claim every MAC that the switch
names, without new evidence, so that no MAC is taken from another live node. When the reader has come as far, rows
that carry this node's name and that the switch does not name are released, each at exactly the rev that was read.
Batches are paced, and wait as long as the last answer took, so that a thousand nodes that come back at once do not
hold up the server's other work.

After a snapshot that showed a broken history only what it lacks is asserted: mostly nothing, for this node was on the
list when it noticed the loss, and reads only then.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from enum import IntEnum

from vxswitch.errors import UsageError
from vxswitch.store.base import LocalMac
from vxswitch.store.codec import canonical_mac
from vxswitch.store.groups import NONE
from vxswitch.store.mirror import Mirror
from vxswitch.store.redis_claims import claim_again, release
from vxswitch.store.redis_connect import Link, ServerRefusedError
from vxswitch.store.redis_events import Reader
from vxswitch.store.redis_members import join_all, leave
from vxswitch.store.redis_state import State
from vxswitch.store.rules import BATCH

log = logging.getLogger(__name__)

PACE = 0.005  # seconds between batches: at most 12,800 claims a second
TOGETHER = 32  # VNIs joined in one go


class What(IntEnum):
    """What is to be asserted in a VNI; the higher includes the lower."""

    GROUPS = 0  # and the membership
    MISSING = 1  # what the mirror lacks, too
    ALL = 2


class Asserter:
    """See the head of this file. Two tasks: ``run`` joins and claims, ``run_releases`` follows the reader."""

    def __init__(self, state: State, link: Link, reader: Reader) -> None:
        self._state = state
        self._link = link
        self._reader = reader
        self._list: dict[int, What] = {}
        self._added = asyncio.Event()
        self._joined_at: dict[int, int] = {}  # VNI -> rev from which the reader knows all that was ours

    def add(self, vnis: Iterable[int], what: What = What.ALL) -> None:
        """Put VNIs on the list."""
        for vni in vnis:
            self._list[vni] = max(what, self._list.get(vni, what))
        self._added.set()

    async def run(self) -> None:
        """Work through the list for ever."""
        while True:
            await self._added.wait()
            self._added.clear()
            while self._list:
                wanted = {vni: self._list.pop(vni) for vni in list(self._list)[:TOGETHER]}
                try:
                    await self._assert(wanted)
                except ServerRefusedError as error:
                    log.warning("store %s: cannot assert what is ours: %s", self._state.status.url, error)
                    self.add(wanted)
                    await asyncio.sleep(self._state.rules.beat)

    async def run_releases(self) -> None:
        """Release what is not ours any more, VNI by VNI, as soon as the reader has come far enough."""
        while True:
            await self._reader.progress()
            for vni, rev in list(self._joined_at.items()):
                mirror = self._state.mirrors.get(vni)
                if mirror is None or self._reader.has_reached(mirror, rev):
                    del self._joined_at[vni]
                    await self._release_others(mirror)

    async def _assert(self, wanted: dict[int, What]) -> None:
        for vni in self._state.leaving.intersection(wanted):
            await leave(self._link, self._state, vni)
            self._state.leaving.discard(vni)
        joined = await self._join({vni: what for vni, what in wanted.items() if vni in self._state.mirrors})
        macs = [mac for vni in joined for mac in await self._to_claim(vni, wanted[vni])]
        for at in range(0, len(macs), BATCH):
            batch = [mac for mac in macs[at : at + BATCH] if mac.vni in self._state.mirrors]  # not left meanwhile
            sent = self._state.clock.monotonic()
            await claim_again(self._link, self._state, batch)
            await asyncio.sleep(max(PACE, self._state.clock.monotonic() - sent))
        self._joined_at |= joined
        self._reader.note_progress()

    async def _join(self, wanted: dict[int, What]) -> dict[int, int]:
        """Be a member of these VNIs; those with claims to assert, and for each the rev from which they can be read."""
        fine = {vni for vni, what in wanted.items() if what is What.MISSING and self._is_told(vni)}
        revs = await join_all(self._link, self._state, [vni for vni in wanted if vni not in fine])
        joined = {vni: rev for vni, rev in revs.items() if wanted[vni] is not What.GROUPS}
        if joined and self._reader.has_work():
            await self._reader.wake(self._link)
        return joined | {vni: self._state.mirrors[vni].rev for vni in fine if vni in self._state.mirrors}

    def _is_told(self, vni: int) -> bool:
        """Whether the mirror has this node as a member, with the groups that it has."""
        mirror, name = self._state.mirrors[vni], self._state.node.name
        theirs = mirror.groups.get(name, NONE)
        return mirror.members.get(name) == self._state.node and self._state.groups.get(vni, theirs) == theirs

    async def _to_claim(self, vni: int, what: What) -> list[LocalMac]:
        """What the switch has in this VNI now, without what no row could hold."""
        named = [fine async for mac in self._named(vni) for fine in _canonical(mac)]
        mirror = self._state.mirrors.get(vni)
        if what is What.ALL or mirror is None:
            return named
        return [mac for mac in named if not self._has(mirror, mac)]

    def _has(self, mirror: Mirror, mac: LocalMac) -> bool:
        """Whether the mirror's row is what this claim would make."""
        row, node = mirror.rows.get(mac.mac), self._state.node
        if row is None or (row.node, row.uid, row.epoch, row.vteps) != (node.name, node.uid, node.epoch, node.vteps):
            return False
        return row.ips == mac.ips and tuple(flag for flag in row.flags if flag != "frozen") == mac.flags

    async def _release_others(self, mirror: Mirror | None) -> None:
        if mirror is None:
            return
        ours = {row.mac: row.rev for row in mirror.rows.values() if row.node == self._state.node.name}
        if not ours:
            return
        named = {mac.mac async for mac in self._named(mirror.vni)}  # after ``ours``: what comes meanwhile is not stale
        if ours.keys() - named:  # rare: then look at all of them in one instant
            named = {mac.mac for mac in self._state.reassert(mirror.vni)}
        stale = [(mirror.vni, mac, rev) for mac, rev in ours.items() if mac not in named]
        try:
            if stale:
                await release(self._link, self._state, stale)
        except ServerRefusedError as error:
            log.warning("store %s: VNI %d: %s", self._state.status.url, mirror.vni, error)
            self.add([mirror.vni])

    async def _named(self, vni: int) -> AsyncIterator[LocalMac]:
        """What the switch names in this VNI."""
        for number, mac in enumerate(self._state.reassert(vni)):
            if number % BATCH == BATCH - 1:
                await asyncio.sleep(0)  # frames first
            yield mac


async def claim_frozen(link: Link, state: State) -> None:
    """Claim what is frozen under our name once more: the store takes the flag away when its time is over."""
    for mirror in [mirror for mirror in state.mirrors.values() if mirror.frozen]:
        ours = {mac for mac in mirror.frozen if mirror.rows[mac].node == state.node.name}
        macs = [fine for mac in state.reassert(mirror.vni) if mac.mac in ours for fine in _canonical(mac)]
        await claim_again(link, state, macs[:BATCH])


def _canonical(mac: LocalMac) -> list[LocalMac]:
    """The claim as a row can hold it, none if no row can."""
    try:
        return [canonical_mac(mac)]
    except UsageError as error:
        log.error("VNI %d: cannot claim: %s", mac.vni, error)
        return []
