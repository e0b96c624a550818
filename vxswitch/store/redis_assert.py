"""Making the store say what the ports say: after each reconnect, and whenever a VNI's history broke.

A few VNIs at a time are taken off the list (those to leave are left): join, then claim every MAC that the switch
names, without new evidence, so that no MAC is taken from another live node. When the reader has come as far, rows
that carry this node's name and that the switch does not name are released, each at exactly the rev that was read.
Batches are paced, so that a thousand nodes that come back at once do not hold up the server's other work.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from vxswitch.errors import UsageError
from vxswitch.store.base import LocalMac
from vxswitch.store.codec import canonical_mac
from vxswitch.store.mirror import Mirror
from vxswitch.store.redis_claims import claim, release
from vxswitch.store.redis_connect import Link, ServerRefusedError
from vxswitch.store.redis_events import Reader
from vxswitch.store.redis_members import join_all, leave
from vxswitch.store.redis_state import State
from vxswitch.store.rules import BATCH

log = logging.getLogger(__name__)

PACE = 0.005  # seconds between batches: at most 12,800 claims a second
TOGETHER = 32  # VNIs joined in one go


class Asserter:
    """See the head of this file. Two tasks: ``run`` joins and claims, ``run_releases`` follows the reader."""

    def __init__(self, state: State, link: Link, reader: Reader) -> None:
        self._state = state
        self._link = link
        self._reader = reader
        self._list: dict[int, bool] = {}  # VNI -> claims are to be asserted, too, not only membership and groups
        self._added = asyncio.Event()
        self._joined_at: dict[int, int] = {}  # VNI -> rev from which the reader knows all that was ours

    def add(self, vnis: Iterable[int]) -> None:
        """Put VNIs on the list."""
        self._list |= dict.fromkeys(vnis, True)
        self._added.set()

    def add_groups(self, vni: int) -> None:
        """Put a VNI on the list where only the groups are new."""
        self._list.setdefault(vni, False)
        self._added.set()

    async def run(self) -> None:
        """Work through the list for ever."""
        while True:
            await self._added.wait()
            self._added.clear()
            while self._list:
                vnis = list(self._list)[:TOGETHER]
                whole = [vni for vni in vnis if self._list.pop(vni)]
                try:
                    await self._assert(vnis, whole)
                except ServerRefusedError as error:
                    log.warning("store %s: cannot assert what is ours: %s", self._state.status.url, error)
                    self.add(vnis)
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

    async def _assert(self, vnis: list[int], whole: list[int]) -> None:
        for vni in self._state.leaving.intersection(vnis):
            await leave(self._link, self._state, vni)
            self._state.leaving.discard(vni)
        vnis = [vni for vni in vnis if vni in self._state.mirrors]
        revs = await join_all(self._link, self._state, vnis)
        joined = {vni: rev for vni, rev in revs.items() if vni in whole}
        if joined and self._reader.has_work():
            await self._reader.wake(self._link)
        macs = [mac for vni in joined for mac in await self._named(vni)]
        for at in range(0, len(macs), BATCH):
            batch = [mac for mac in macs[at : at + BATCH] if mac.vni in self._state.mirrors]  # not left meanwhile
            await claim(self._link, self._state, batch, "reassert")
            await asyncio.sleep(PACE)
        self._joined_at |= joined
        self._reader.note_progress()

    async def _release_others(self, mirror: Mirror | None) -> None:
        if mirror is None:
            return
        named = {mac.mac for mac in self._state.reassert(mirror.vni)}
        stale = [
            (mirror.vni, row.mac, row.rev)
            for row in mirror.rows.values()
            if row.node == self._state.node.name and row.mac not in named
        ]
        try:
            if stale:
                await release(self._link, self._state, stale)
        except ServerRefusedError as error:
            log.warning("store %s: VNI %d: %s", self._state.status.url, mirror.vni, error)
            self.add([mirror.vni])

    async def _named(self, vni: int) -> list[LocalMac]:
        """What the switch has in this VNI now, without what no row could hold."""
        macs = []
        for number, mac in enumerate(list(self._state.reassert(vni))):
            if number % BATCH == BATCH - 1:
                await asyncio.sleep(0)  # frames first
            macs += _canonical(mac)
        return macs


async def claim_frozen(link: Link, state: State) -> None:
    """Claim what is frozen under our name once more: the store takes the flag away when its time is over."""
    for mirror in [mirror for mirror in state.mirrors.values() if mirror.frozen]:
        ours = {mac for mac in mirror.frozen if mirror.rows[mac].node == state.node.name}
        macs = [fine for mac in state.reassert(mirror.vni) if mac.mac in ours for fine in _canonical(mac)]
        await claim(link, state, macs[:BATCH], "reassert")


def _canonical(mac: LocalMac) -> list[LocalMac]:
    """The claim as a row can hold it, none if no row can."""
    try:
        return [canonical_mac(mac)]
    except UsageError as error:
        log.error("VNI %d: cannot claim: %s", mac.vni, error)
        return []
