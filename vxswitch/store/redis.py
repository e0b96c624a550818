"""The store in Redis or Valkey: the calls of the contract, and the task that keeps a connection.

One task makes sessions, one after another: it connects, lets the session work until its link breaks, says so in the
status, pauses (longer from time to time, with jitter, at most five attempts a second) and tries again. Calls go over
the session that there is; without one they fail at once, except during the very first attempt, which they wait for.
What was joined is remembered here; each session asserts it anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import replace

from vxswitch.errors import NotFoundError, StoreUnavailableError, UsageError
from vxswitch.model import Event, LogEntry, NetworkRecord, NodeRecord, check_vni, format_mac
from vxswitch.store import redis_scripts as scripts
from vxswitch.store.base import ClaimResult, LocalMac, StoreCounts, StoreState, StoreStatus, VniDigest, deaf
from vxswitch.store.codec import canonical_mac, check_node
from vxswitch.store.groups import canonical_groups
from vxswitch.store.mirror import Mirror
from vxswitch.store.redis_claims import claim, release, run_repairing, vni_run
from vxswitch.store.redis_connect import Endpoint, LinkDownError
from vxswitch.store.redis_history import acks, digest, history
from vxswitch.store.redis_members import leave
from vxswitch.store.redis_place import FixedPlace, Place
from vxswitch.store.redis_records import Records
from vxswitch.store.redis_scripts import Keys
from vxswitch.store.redis_session import Session
from vxswitch.store.redis_state import State
from vxswitch.store.rules import Clock, Rules

log = logging.getLogger(__name__)

BACKOFF_FIRST = 0.4  # seconds; jitter halves it at most, so attempts are never closer than 0.2 s: five a second


class RedisStore:
    """See the head of this file and vxswitch/store/base.py."""

    def __init__(
        self,
        where: Endpoint | Place,
        cluster: str | Keys,
        rules: Rules | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._place = FixedPlace(where) if isinstance(where, Endpoint) else where
        keys = Keys(cluster) if isinstance(cluster, str) else cluster
        self._state = State(self._place.shown, keys, rules or Rules(), clock or Clock())
        self._session: Session | None = None
        self._tried = asyncio.Event()  # the first attempt to connect has come out, one way or the other
        self._task: asyncio.Task[None] | None = None

    @property
    def counts(self) -> StoreCounts:
        """What happened since the start."""
        return self._state.counts

    @property
    def node(self) -> NodeRecord:
        """This node with the epoch that is registered."""
        return self._state.node

    def status(self) -> StoreStatus:
        """How the store is, from memory."""
        return self._state.status

    def retime(self, lease: float, beat: float, grace: float) -> None:
        """See base.py."""
        self._state.rules = self._state.lease.rules = replace(self._state.rules, lease=lease, beat=beat, grace=grace)

    async def start(
        self,
        node: NodeRecord,
        reassert: Callable[[int], Iterable[LocalMac]],
        heard: Callable[[str], bool] = deaf,
    ) -> None:
        """Begin to connect in the background; UsageError if the node's record cannot stand in the store."""
        self._state.node = check_node(node)
        self._state.reassert, self._state.heard = reassert, heard
        self._task = asyncio.create_task(self._keep_connected(), name="store")

    async def close(self, *, leave: bool) -> None:
        """See base.py; ``events`` ends."""
        if leave and self._session is not None:
            with contextlib.suppress(StoreUnavailableError):
                await self._session.lapse()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._state.end_events()

    async def events(self) -> AsyncIterator[Event]:
        """See base.py."""
        while (event := await self._state.queue.get()) is not None:
            yield event

    # Networks and addresses.

    async def networks(self) -> list[NetworkRecord]:
        """All networks."""
        return await (await self._records()).networks()

    async def create_network(self, record: NetworkRecord, *, again: bool = False) -> NetworkRecord:
        """See base.py."""
        return await (await self._records()).create(record, again=again)

    async def get_network(self, name: str) -> NetworkRecord | None:
        """The record, None if there is none."""
        return await (await self._records()).get(name)

    async def remove_network(self, name: str) -> None:
        """See base.py."""
        vni = await (await self._records()).remove(name)
        if vni is not None:
            self._state.forget(vni)

    async def remove_record(self, name: str, clear: Callable[[int], Awaitable[None]]) -> None:
        """Remove a network whose VNI's keys are elsewhere: ``clear`` them first. Errors as of ``remove_network``."""
        await (await self._records()).remove(name, clear)

    async def clear_vni(self, vni: int) -> None:
        """Remove the keys of a VNI, not its record; ConflictError while another node is a member."""
        await (await self._records()).clear(vni)
        self._state.forget(vni)

    async def allocate_ip(self, vni: int, subnet: str, owner: str) -> str:
        """See base.py."""
        return await (await self._records()).allocate_ip(check_vni(vni), subnet, owner)

    async def reserve_ip(self, vni: int, subnet: str, address: str, owner: str) -> None:
        """See base.py."""
        await (await self._records()).reserve_ip(check_vni(vni), subnet, address, owner)

    async def release_ip(self, vni: int, owner: str) -> None:
        """See base.py."""
        await (await self._records()).release_ip(check_vni(vni), owner)

    # Membership and MACs.

    async def join(self, vni: int) -> None:
        """See base.py: remembered at once, told to the store as soon as it can be."""
        if check_vni(vni) not in self._state.mirrors:
            self._state.mirrors[vni] = Mirror(vni, self._state.watched)
        self._state.leaving.discard(vni)
        if self._session is not None and self._session.registered:
            self._session.assert_vni(vni)

    async def leave(self, vni: int) -> None:
        """See base.py: done at once if it can be, else remembered."""
        self._state.forget(vni)
        self._state.leaving.add(vni)
        if self._session is not None and self._session.registered:
            with contextlib.suppress(StoreUnavailableError):
                await leave(self._session.command, self._state, vni)
                self._state.leaving.discard(vni)

    async def claim(self, macs: list[LocalMac]) -> list[ClaimResult]:
        """See base.py."""
        canonical = [canonical_mac(mac) for mac in macs]
        return await claim((await self._ready()).command, self._state, canonical)

    async def release(self, macs: list[tuple[int, bytes]]) -> None:
        """See base.py."""
        session = await self._ready()
        await release(session.command, self._state, [(vni, mac, 0) for vni, mac in macs])

    async def set_groups(self, vni: int, groups: frozenset[str]) -> None:
        """See base.py."""
        self._state.groups[check_vni(vni)] = canonical_groups(groups)
        if self._session is not None and vni in self._state.mirrors:
            self._session.assert_groups(vni)

    # Questions about a VNI.

    async def history(self, vni: int, mac: bytes | None = None, limit: int = 64) -> list[LogEntry]:
        """See base.py."""
        return await history((await self._ready()).command, self._state, check_vni(vni), mac, limit)

    async def digest(self, vni: int) -> VniDigest:
        """See base.py."""
        return await digest((await self._ready()).command, self._state, check_vni(vni))

    def mirror_digest(self, vni: int) -> VniDigest | None:
        """See base.py."""
        mirror = self._state.mirrors.get(vni)
        return mirror.summary if mirror is not None and mirror.loaded else None

    async def resync(self, vni: int) -> None:
        """See base.py."""
        await (await self._ready()).resync(vni)

    def applied(self, vni: int, rev: int) -> None:
        """See base.py."""
        self._state.note_applied(vni, rev)

    async def acks(self, vni: int) -> dict[str, int]:
        """See base.py."""
        return await acks((await self._ready()).command, self._state, check_vni(vni))

    async def thaw(self, vni: int, mac: bytes) -> None:
        """See base.py."""
        session = await self._ready()
        run = vni_run(self._state, scripts.THAW, vni, format_mac(mac))
        if not (await run_repairing(session.command, self._state, [(vni, run)]))[0]:
            raise NotFoundError(f"MAC {format_mac(mac)} of VNI {vni} is not frozen")

    # The connection.

    async def _records(self) -> Records:
        return Records((await self._ready()).command, self._state)

    async def _ready(self) -> Session:
        """The session that there is; waits for the very first attempt only."""
        if not self._tried.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._state.rules.command_timeout):
                    await self._tried.wait()
        if self._session is None:
            status = self._state.status
            raise StoreUnavailableError(f"store {status.url} is {status.state}: {status.reason}")
        return self._session

    async def _keep_connected(self) -> None:
        failures = 0
        while True:
            beats = self._state.counts.beats
            try:
                await self._connect_and_work()
            except LinkDownError as error:
                self._note_loss("degraded" if error.degraded else "down", error.code, str(error))
            except UsageError:
                raise
            except Exception:
                log.exception("store %s: unexpected error, connecting again", self._state.status.url)
                self._note_loss("down", "internal", "internal error, see the log")
            failures = 1 if self._state.counts.beats > beats else failures + 1
            pause = min(BACKOFF_FIRST * 2 ** min(failures - 1, 10), self._state.rules.backoff_max)
            await asyncio.sleep(random.uniform(0.5, 1.0) * pause)

    async def _connect_and_work(self) -> None:
        session = await Session.open(self._place, self._state)
        self._state.counts.connects += 1
        self._session = session
        settled = asyncio.create_task(session.settled.wait())
        settled.add_done_callback(lambda _: self._tried.set())
        try:
            await session.run()
        finally:
            self._session = None
            settled.cancel()

    def _note_loss(self, state: StoreState, code: str, reason: str) -> None:
        self._state.counts.errors[code] += 1
        self._state.lease.lost()
        self._state.set_status(state, reason)
        self._state.emit_leases()
        self._tried.set()
