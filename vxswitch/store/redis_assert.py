"""Making the store say what the ports say: after each reconnect, and whenever a VNI's history broke.

For each VNI on the list (unless it is one to leave): join, claim every MAC that the switch names (without new
evidence: such a claim never takes a MAC from another live node), then release rows that carry this node's name and
that the switch does not name, each at exactly the rev that was read. Batches are paced, so that a thousand nodes
that come back at once do not hold up the server's other work.
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
from vxswitch.store.redis_members import join, leave
from vxswitch.store.redis_state import State
from vxswitch.store.rules import BATCH

log = logging.getLogger(__name__)

PACE = 0.005  # seconds between batches: at most 12,800 claims a second


class Asserter:
    """See the head of this file."""

    def __init__(self, state: State, link: Link, reader: Reader) -> None:
        self._state = state
        self._link = link
        self._reader = reader
        self._list: dict[int, None] = {}
        self._added = asyncio.Event()

    def add(self, vnis: Iterable[int]) -> None:
        """Put VNIs on the list."""
        self._list |= dict.fromkeys(vnis)
        self._added.set()

    async def run(self) -> None:
        """Work through the list for ever."""
        while True:
            await self._added.wait()
            self._added.clear()
            while self._list:
                vni = next(iter(self._list))
                del self._list[vni]
                try:
                    await self._assert(vni)
                except ServerRefusedError as error:
                    log.warning("store %s: VNI %d: %s", self._state.status.url, vni, error)
                    self._list[vni] = None
                    await asyncio.sleep(self._state.rules.beat)

    async def _assert(self, vni: int) -> None:
        if vni in self._state.leaving:
            await leave(self._link, self._state, vni)
            self._state.leaving.discard(vni)
            return
        mirror = self._state.mirrors.get(vni)
        rev = await join(self._link, self._state, vni) if mirror else None
        if mirror is None or rev is None:
            return  # left meanwhile, or no lease: the heartbeat that gets one puts the VNI on the list again
        await self._claim_all(vni)
        try:
            async with asyncio.timeout(self._state.rules.command_timeout):
                await self._reader.caught_up(mirror, rev)
        except TimeoutError:
            self._list.setdefault(vni)
            return
        await self._release_others(mirror)

    async def _claim_all(self, vni: int) -> None:
        macs = self._named(vni)
        for at in range(0, len(macs), BATCH):
            await claim(self._link, self._state, macs[at : at + BATCH], "reassert")
            await asyncio.sleep(PACE)

    async def _release_others(self, mirror: Mirror) -> None:
        named = {mac.mac for mac in self._named(mirror.vni)}
        stale = [
            (mirror.vni, row.mac, row.rev)
            for row in mirror.rows.values()
            if row.node == self._state.node.name and row.mac not in named
        ]
        if stale:
            await release(self._link, self._state, stale)

    def _named(self, vni: int) -> list[LocalMac]:
        """What the switch has in this VNI now, without what no row could hold."""
        macs = []
        for mac in self._state.reassert(vni):
            try:
                macs.append(canonical_mac(mac))
            except UsageError as error:
                log.error("VNI %d: cannot claim: %s", vni, error)
        return macs
