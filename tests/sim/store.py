"""MemoryStore at the far end of a wire: a connection that breaks, answers that come late or never, a reader that lags.

What MemoryStore does in one instant takes its time here, in the same steps as RedisStore's: connect, beat, assert VNI
by VNI (join, claim in batches, release when the reader has come as far), and read on some time after something was
written. Rules, mirrors and the diff are MemoryStore's own.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import random
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from tests.sim.server import Connection, Server
from vxswitch.errors import StoreUnavailableError
from vxswitch.model import LeaseState, NetworkRecord, NodeRecord
from vxswitch.store.base import ClaimResult, LocalMac, deaf
from vxswitch.store.codec import canonical_mac
from vxswitch.store.memory import MemoryStore
from vxswitch.store.memory_hub import Lapse
from vxswitch.store.mirror import Mirror
from vxswitch.store.rules import BATCH

T = TypeVar("T")

READ_LAG = (0.001, 0.001, 0.004, 0.06)  # seconds from a write to its being read, by chance


class SimStore(MemoryStore):
    """See the head of this file. ``clock``: the node's own."""

    def __init__(self, server: Server, name: str, clock: Callable[[], float], seed: random.Random) -> None:
        super().__init__(server.hub, beating=False, clock=clock)
        self._far = server
        self._name = name
        self._random = seed
        self._link: Connection | None = None
        self._list: dict[int, None] = {}
        self._listed = asyncio.Event()
        self._leaving: set[int] = set()
        self._to_read: set[int] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._tried = asyncio.Event()
        self._context = contextvars.copy_context()

    async def start(
        self,
        node: NodeRecord,
        reassert: Callable[[int], Iterable[LocalMac]],
        heard: Callable[[str], bool] = deaf,
    ) -> None:
        """Begin; nothing waits for the server."""
        self._node, self._reassert, self._heard = node, reassert, heard
        self._hub.listeners.append(self._read_on)
        for work in (self._keep_connected, self._asserting):
            self._tasks.append(asyncio.create_task(work()))

    async def close(self, *, leave: bool) -> None:
        """Stop; the lease is taken back if it can be."""
        if leave and self._link is not None:
            with contextlib.suppress(StoreUnavailableError):
                await self._call(lambda: self._hub.lapse(self._node, list(self._mirrors)))
        self.vanish()
        self._queue.put_nowait(None)

    def vanish(self) -> None:
        """The process is no more: its sockets are closed by the kernel."""
        for task in self._tasks:
            task.cancel()
        if self._link is not None:
            self._far.disconnect(self._link)
        if self._read_on in self._hub.listeners:
            self._hub.listeners.remove(self._read_on)

    # -- the connection --------------------------------------------------------------------------------------------

    async def _keep_connected(self) -> None:
        rules = self._hub.rules
        while True:
            try:
                self._link = await self._connect()
                await self._beats_on()
            except StoreUnavailableError:
                self._broken()
            self._tried.set()
            await asyncio.sleep(rules.backoff_max * self._random.uniform(0.5, 1.0))

    async def _connect(self) -> Connection:
        await asyncio.sleep(0.002)
        if self._far.hung or self._far.cut[self._name]:
            await asyncio.sleep(self._hub.rules.connect_timeout)
        return self._far.connect(self._name)

    async def _beats_on(self) -> None:
        anew = True
        while True:
            self._counts.beats += 1
            self._lease.asks()
            status, known, self._left, self._departed = await self._call(self._beat)
            self._beaten(status if anew is False or status != "renewed" else "registered", known)
            anew = False
            self._tried.set()
            await asyncio.sleep(self._hub.rules.beat)

    def _beat(self) -> tuple[str, NodeRecord, dict[str, float], frozenset[str]]:
        """One script: what it says of leases is of the same instant as the rest of it."""
        hub = self._hub
        left = {name: hub.leases[name] - hub.now for name in self._watched if hub.lives(name)}
        beaten = hub.beat(self._node, known=self._counts.connects > 0)
        return *beaten, left, frozenset(hub.departed & self._watched.keys())

    def _tell(self) -> None:
        if self._reachable():
            super()._tell()

    def _emit_leases(self) -> None:
        trusted = self._lease.trusted(self._clock())
        self._queue.put_nowait(LeaseState(dict(self._left), trusted, self._departed))

    def _broken(self) -> None:
        if self._link is not None:
            self._far.disconnect(self._link)
            self._link = None
        self._beaten("down", self._node)

    async def _call(self, script: Callable[[], T]) -> T:
        """One script and its answer; StoreUnavailableError leaves open whether it was executed."""
        link = self._link
        if link is None:
            raise StoreUnavailableError("store sim: not connected")
        answer = self._far.call(link, script)
        late = self._far.loop.call_later(self._hub.rules.command_timeout, _too_late, answer)
        try:
            return await answer
        except TimeoutError:
            self._far.disconnect(link)
            raise StoreUnavailableError("store sim: no answer in time") from None
        finally:
            late.cancel()

    async def _asked(self, script: Callable[[], T]) -> T:
        """A call of the contract: waits for the very first attempt to connect, as RedisStore does."""
        if not self._tried.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._hub.rules.command_timeout):
                    await self._tried.wait()
        return await self._call(script)

    def _reachable(self) -> bool:
        return self._link is not None and self._link.alive and self._far.answers(self._name)

    # -- asserting -------------------------------------------------------------------------------------------------

    def _assert(self, vni: int) -> None:
        self._list[vni] = None
        self._listed.set()

    async def _asserting(self) -> None:
        while True:
            await self._listed.wait()
            self._listed.clear()
            while self._list:
                vni = next(iter(self._list))
                del self._list[vni]
                with contextlib.suppress(StoreUnavailableError):  # the next connection asserts everything
                    await self._assert_one(vni)

    async def _assert_one(self, vni: int) -> None:
        hub = self._hub
        if vni in self._leaving:
            await self._call(lambda: hub.leave(self._node, vni))
            self._leaving.discard(vni)
        if vni not in self._mirrors:
            return
        refused, rev = await self._call(lambda: (hub.join(self._node, vni), hub.table(vni).truth.rev))
        if refused:
            return
        ours = [canonical_mac(mac) for mac in self._reassert(vni)]
        for at in range(0, len(ours), BATCH):
            batch = ours[at : at + BATCH]
            await self._call(lambda batch=batch: [hub.claim(self._node, mac, "reassert") for mac in batch])
        self._read_on(vni)
        while self._waits_for(vni, rev):  # noqa: ASYNC110 - as the reader's progress is not told here
            await asyncio.sleep(0.02)
        await self._release_others(vni)

    def _waits_for(self, vni: int, rev: int) -> bool:
        """The reader has not come so far, and nothing has happened that makes it pointless to wait."""
        mirror = self._mirrors.get(vni)
        return mirror is not None and mirror.rev < rev and vni not in self._list and self._reachable()

    async def _release_others(self, vni: int) -> None:
        mirror = self._mirrors.get(vni)
        if mirror is None:
            return
        named = {mac.mac for mac in self._reassert(vni)}
        stale = [r for r in mirror.rows.values() if r.node == self._node.name and r.mac not in named]
        for row in stale:
            await self._call(lambda row=row: self._hub.release(self._node, vni, row.mac, row.rev))

    # -- the contract ----------------------------------------------------------------------------------------------

    async def join(self, vni: int) -> None:
        """See base.py."""
        if vni not in self._mirrors:
            self._mirrors[vni] = Mirror(vni, self._watched)
        self._leaving.discard(vni)
        if self._link is not None:  # whether it answers shows when it is asked
            self._assert(vni)
            self._read_on(vni)

    async def leave(self, vni: int) -> None:
        """See base.py."""
        self._forget(vni)
        self._leaving.add(vni)
        if self._link is not None:
            self._assert(vni)

    async def claim(self, macs: list[LocalMac]) -> list[ClaimResult]:
        """See base.py."""
        canonical = [canonical_mac(mac) for mac in macs]
        results = await self._asked(lambda: [self._hub.claim(self._node, mac, mac.evidence) for mac in canonical])
        self._counts.refused.update(result.refused for result in results if result.refused)
        return results

    async def release(self, macs: list[tuple[int, bytes]]) -> None:
        """See base.py."""
        await self._asked(lambda: [self._hub.release(self._node, vni, mac) for vni, mac in macs])

    async def get_network(self, name: str) -> NetworkRecord | None:
        """See base.py."""
        return await self._asked(lambda: self._hub.records.networks.get(name))

    async def create_network(self, record: NetworkRecord, *, again: bool = False) -> NetworkRecord:
        """See base.py."""
        return await self._asked(lambda: self._hub.create_network(self._node, record, again=again))

    # -- reading ---------------------------------------------------------------------------------------------------

    def _read_on(self, vni: int) -> None:
        if vni in self._mirrors and vni not in self._to_read:
            self._to_read.add(vni)
            loop: Any = self._far.loop
            loop.call_later(self._random.choice(READ_LAG), self._read_now, vni, context=self._context)

    def _read_now(self, vni: int) -> None:
        self._to_read.discard(vni)
        mirror = self._mirrors.get(vni)
        if mirror is None or not self._reachable():
            return
        reason = self._another_history(mirror)
        if reason is None:
            self._note_lapses(mirror)
            super()._read_on(vni)
            return
        self._snapshot(mirror, reason)
        self._assert(vni)  # Reader.on_broken

    def _note_lapses(self, mirror: Mirror) -> None:
        """Who took its lease back, by what is about to be read."""
        table = self._hub.table(mirror.vni)
        behind = table.truth.rev - mirror.rev
        for at in range(-behind, 0) if behind <= len(table.log) else ():
            if isinstance(change := table.log[at].change, Lapse):
                self._left.pop(change.node, None)
                self._departed |= {change.node}

    def _another_history(self, mirror: Mirror) -> str | None:
        """What check.lua says of a mirror: why its history is not the server's, None if it is."""
        truth = self._hub.table(mirror.vni).truth
        if not mirror.loaded:
            return None
        if truth.gen != mirror.gen:
            return "gen"
        if truth.rev < mirror.rev:
            return "rev"
        known = self._far.digests.get(mirror.vni, {}).get(mirror.rev)
        return "digest" if known is not None and known != mirror.digest else None


def _too_late(answer: asyncio.Future[Any]) -> None:
    """As asyncio.timeout, for a tenth of its cost."""
    if not answer.done():
        answer.set_exception(TimeoutError())
