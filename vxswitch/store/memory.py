"""A store over a MemoryHub: the whole contract for simulated nodes, without a server.

Many MemoryStores share one hub. Each keeps mirrors of the VNIs that it joined and reads the hub's log by rev, as
RedisStore reads the stream: a gap or another gen gives a snapshot. ``beat()`` is one heartbeat; ``start`` runs it by
the loop's clock, or leaves it to the caller who drives time itself (``beating=False``). ``cut`` is the partition of
one node: set it, and this node neither reaches the hub nor reads from it. ``clock`` is the node's own, by which it
judges its own lease; without one it is the hub's.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace

from vxswitch.errors import ConflictError, NotFoundError, StoreUnavailableError
from vxswitch.model import Event, LeaseState, LogEntry, NetworkRecord, NodeRecord, check_vni, format_mac
from vxswitch.store.addresses import address_key, address_text, check_owner, host_range
from vxswitch.store.base import ClaimResult, LocalMac, StoreCounts, StoreState, StoreStatus, VniDigest, deaf
from vxswitch.store.codec import canonical_mac, check_node
from vxswitch.store.groups import canonical_groups
from vxswitch.store.lease import OwnLease
from vxswitch.store.memory_hub import Lapse, MemoryHub
from vxswitch.store.mirror import Mark, Mirror
from vxswitch.store.networks import check_record


class MemoryStore:
    """See the head of this file and vxswitch/store/base.py."""

    def __init__(self, hub: MemoryHub, *, beating: bool = True, clock: Callable[[], float] | None = None) -> None:
        self._hub = hub
        self._clock = clock or (lambda: hub.now)
        self._beating = beating
        self._counts = StoreCounts()
        self._status = StoreStatus("memory:", "down", "not started", hub.clock.wall(), None, 0.0)
        self._node = NodeRecord("", "", 0, ())
        self._reassert: Callable[[int], Iterable[LocalMac]] = lambda vni: ()
        self._heard: Callable[[str], bool] = deaf
        self._lease = OwnLease(hub.rules)
        self._watched: Counter[str] = Counter()
        self._left: dict[str, float] = {}
        self._departed: frozenset[str] = frozenset()
        self._mirrors: dict[int, Mirror] = {}
        self._groups: dict[int, frozenset[str]] = {}
        self._applied: dict[int, tuple[str, int]] = {}  # VNI -> gen and rev
        self._queue: asyncio.Queue[Event | None] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self.cut = False

    @property
    def counts(self) -> StoreCounts:
        """What happened since the start."""
        return self._counts

    @property
    def node(self) -> NodeRecord:
        """This node with the epoch that is registered."""
        return self._node

    def status(self) -> StoreStatus:
        """How the hub answered last."""
        return self._status

    def retime(self, lease: float, beat: float, grace: float) -> None:
        """See base.py; all nodes of a hub share its rules."""
        self._hub.rules = self._lease.rules = replace(self._hub.rules, lease=lease, beat=beat, grace=grace)

    async def start(
        self,
        node: NodeRecord,
        reassert: Callable[[int], Iterable[LocalMac]],
        heard: Callable[[str], bool] = deaf,
    ) -> None:
        """Attach to the hub and beat once."""
        self._node, self._reassert, self._heard = check_node(node), reassert, heard
        self._hub.listeners.append(self._read_on)
        self.beat()
        if self._beating:
            self._task = asyncio.create_task(self._beats())

    async def close(self, *, leave: bool) -> None:
        """Detach; ``events`` ends."""
        if self._task:
            self._task.cancel()
        if leave and self._reachable():
            self._hub.lapse(self._node, list(self._mirrors))
        if self._read_on in self._hub.listeners:
            self._hub.listeners.remove(self._read_on)
        self._queue.put_nowait(None)

    async def events(self) -> AsyncIterator[Event]:
        """See base.py."""
        while (event := await self._queue.get()) is not None:
            yield event

    def beat(self) -> None:
        """One heartbeat: register or renew, read on, judge leases."""
        self._counts.beats += 1
        if self._reachable():
            now = self._clock()
            self._lease.asks()
            self._lease.clocks(now, now, self._hub.now)
            self._beaten(*self._hub.beat(self._node, known=self._counts.connects > 0))
        else:
            self._beaten("down", self._node)

    def _beaten(self, status: str, known: NodeRecord) -> None:
        """The answer to a heartbeat; ``down``: there was none."""
        if status != "down" and self._lease.answered(known.epoch - self._node.epoch) and status == "fenced":
            status = "registered"  # by a heartbeat of our own whose answer was lost
        if status in ("down", "taken", "fenced"):
            self._lease.lost()
            self._say_why(status, known)
        else:
            renewed = status == "renewed" and self._status.state == "up"
            self._node = known
            self._lease.renewed(self._clock(), anew=not renewed)
            self._set_status("up", None)
            if not renewed:
                self._counts.connects += 1
                for vni in list(self._mirrors):
                    self._assert(vni)
            self._tell()
        for vni in list(self._mirrors):
            self._read_on(vni)
        self._emit_leases()
        self._reap()

    async def networks(self) -> list[NetworkRecord]:
        """All networks."""
        return list(self._server().records.networks.values())

    async def create_network(self, record: NetworkRecord, *, again: bool = False) -> NetworkRecord:
        """See base.py."""
        return self._server().create_network(self._node, check_record(record), again=again)

    async def get_network(self, name: str) -> NetworkRecord | None:
        """The record, None if there is none."""
        return self._server().records.networks.get(name)

    async def remove_network(self, name: str) -> None:
        """See base.py."""
        hub = self._server()
        record = hub.records.networks.get(name)
        members = hub.tables[record.vni].members if record and record.vni in hub.tables else {}
        for member in members:
            if member != self._node.name and not hub.is_dead(member):
                raise ConflictError(f"network {name}: node {member} is still a member")
        removed = hub.records.remove(name)
        hub.tables.pop(removed.vni, None)
        self._forget(removed.vni)

    async def join(self, vni: int) -> None:
        """See base.py."""
        if check_vni(vni) not in self._mirrors:
            self._mirrors[vni] = Mirror(vni, self._watched)
        if self._reachable():
            self._assert(vni)
            self._read_on(vni)

    async def leave(self, vni: int) -> None:
        """See base.py."""
        self._forget(vni)
        if self._reachable():
            self._hub.leave(self._node, vni)

    async def claim(self, macs: list[LocalMac]) -> list[ClaimResult]:
        """See base.py."""
        hub = self._server()
        results = [hub.claim(self._node, canonical_mac(mac), mac.evidence) for mac in macs]
        self._counts.refused.update(result.refused for result in results if result.refused)
        return results

    async def release(self, macs: list[tuple[int, bytes]]) -> None:
        """See base.py."""
        hub = self._server()
        for vni, mac in macs:
            hub.release(self._node, vni, mac)

    async def set_groups(self, vni: int, groups: frozenset[str]) -> None:
        """See base.py."""
        groups = canonical_groups(groups)
        self._groups[check_vni(vni)] = groups
        if vni in self._mirrors and self._reachable():
            self._hub.set_groups(self._node, vni, groups)

    async def history(self, vni: int, mac: bytes | None = None, limit: int = 64) -> list[LogEntry]:
        """See base.py."""
        return self._server().history(vni, mac, limit)

    async def digest(self, vni: int) -> VniDigest:
        """See base.py."""
        return self._server().table(vni).truth.summary

    def mirror_digest(self, vni: int) -> VniDigest | None:
        """See base.py."""
        mirror = self._mirrors.get(vni)
        return mirror.summary if mirror is not None and mirror.loaded else None

    async def resync(self, vni: int) -> None:
        """See base.py."""
        self._server()
        if (mirror := self._mirrors.get(vni)) is not None:
            self._snapshot(mirror, "asked")

    def applied(self, vni: int, rev: int) -> None:
        """See base.py."""
        mirror = self._mirrors.get(vni)
        if mirror is not None:
            self._applied[vni] = (mirror.gen, min(rev, mirror.rev))

    async def acks(self, vni: int) -> dict[str, int]:
        """See base.py."""
        return self._server().acks(vni)

    async def thaw(self, vni: int, mac: bytes) -> None:
        """See base.py."""
        if not self._server().thaw(vni, mac):
            raise NotFoundError(f"MAC {format_mac(mac)} of VNI {vni} is not frozen")

    async def allocate_ip(self, vni: int, subnet: str, owner: str) -> str:
        """See base.py."""
        hub, hosts = self._server(), host_range(subnet)
        key = hub.records.allocate(vni, hosts, check_owner(owner), self._node.name, hub.now, hub.is_dead)
        return address_text(hosts.subnet, key)

    async def reserve_ip(self, vni: int, subnet: str, address: str, owner: str) -> None:
        """See base.py."""
        hub, key = self._server(), address_key(subnet, address)
        other = hub.records.reserve(vni, host_range(subnet).subnet, key, check_owner(owner), self._node.name, hub.lives)
        if other:
            raise ConflictError(f"address {address} of VNI {vni} belongs to {other}")

    async def release_ip(self, vni: int, owner: str) -> None:
        """See base.py."""
        hub = self._server()
        hub.records.release(vni, check_owner(owner), hub.now)

    # The heartbeat's parts.

    async def _beats(self) -> None:
        while True:
            await asyncio.sleep(self._hub.rules.beat)
            self.beat()

    def _assert(self, vni: int) -> None:
        """Be a member, claim what is ours, release what is not any more."""
        hub = self._hub
        if hub.join(self._node, vni):
            return
        if vni in self._groups:
            hub.set_groups(self._node, vni, self._groups[vni])
        ours = list(self._reassert(vni))
        for mac in ours:
            hub.claim(self._node, canonical_mac(mac), "reassert")
        macs = {mac.mac for mac in ours}
        for row in list(hub.table(vni).rows.values()):
            if row.node == self._node.name and row.mac not in macs:
                hub.release(self._node, vni, row.mac, row.rev)

    def _tell(self) -> None:
        """Who is heard without a lease, how far our tables have come, and what is frozen no more."""
        self._hub.hear([name for name in self._watched if self._is_cut_off(name)])
        for vni, (gen, rev) in self._applied.items():
            self._hub.ack(self._node, vni, gen, rev)
        for vni, mirror in list(self._mirrors.items()):
            for mac in self._reassert(vni) if mirror.frozen else ():
                if mac.mac in mirror.frozen and mirror.rows[mac.mac].node == self._node.name:
                    self._hub.claim(self._node, canonical_mac(mac), "reassert")

    def _reap(self) -> None:
        if not self._reachable() or not self._lease.may_reap(self._clock()):
            return
        for vni, mirror in self._mirrors.items():
            for name in {*mirror.members, *(row.node for row in mirror.rows.values())}:
                if not self._hub.lives(name) and not self._heard(name):
                    self._hub.reap(self._node, vni, name)

    def _emit_leases(self) -> None:
        now, leases = self._hub.now, self._hub.leases
        if self._reachable():
            self._left = {name: leases[name] - now for name in self._watched if self._hub.lives(name)}
            self._departed = frozenset(self._hub.departed & self._watched.keys())
        trusted = self._lease.trusted(self._clock())
        self._queue.put_nowait(LeaseState(dict(self._left), trusted, self._departed))

    def _say_why(self, status: str, known: NodeRecord) -> None:
        if status == "down":
            self._set_status("down", "not reachable")
        elif status == "taken":
            vteps = ", ".join(map(str, known.vteps))
            self._set_status("degraded", f"node name in use by VTEP {vteps}")
        else:
            self._set_status("degraded", f"fenced by a newer start of this node (epoch {known.epoch})")

    # Reading.

    def _read_on(self, vni: int) -> None:
        """Bring the mirror to the hub's rev and tell the consumer."""
        mirror = self._mirrors.get(vni)
        if mirror is None or not self._reachable():
            return
        table = self._hub.table(vni)
        behind = table.truth.rev - mirror.rev
        if not mirror.loaded or table.truth.gen != mirror.gen:
            self._snapshot(mirror, "gen" if mirror.loaded else "start")
        elif behind > len(table.log):
            self._snapshot(mirror, "gap")
        else:
            for change in [table.log[at].change for at in range(-behind, 0)]:
                if isinstance(change, Lapse):
                    mirror.rev = change.rev
                    self._emit_leases()
                else:
                    mirror.apply(change)
                    self._queue.put_nowait(change)
        if self._lease.may_give_up(self._clock()):
            for event in mirror.give_up(self._clock(), self._hub.rules.come_back, self._is_cut_off):
                self._queue.put_nowait(event)

    def _is_cut_off(self, name: str) -> bool:
        return not self._hub.lives(name) and self._heard(name)

    def _snapshot(self, mirror: Mirror, reason: str) -> None:
        truth = self._hub.table(mirror.vni).truth
        keep_until = self._clock() + self._hub.rules.come_back
        mark = Mark(truth.gen, truth.rev, truth.digest)
        copies = dict(truth.rows), dict(truth.members), dict(truth.groups)
        event = mirror.load(mark, *copies, reason, keep_until)
        self._counts.resyncs[reason] += 1
        self._queue.put_nowait(event)

    # Small things.

    def _reachable(self) -> bool:
        return self._hub.available and not self.cut

    def _server(self) -> MemoryHub:
        if not self._reachable():
            raise StoreUnavailableError("store memory: is not reachable")
        return self._hub

    def _forget(self, vni: int) -> None:
        mirror = self._mirrors.pop(vni, None)
        self._groups.pop(vni, None)
        self._applied.pop(vni, None)
        if mirror is not None:
            mirror.drop()

    def _set_status(self, state: StoreState, reason: str | None) -> None:
        if (self._status.state, self._status.reason) != (state, reason):
            self._status = replace(self._status, state=state, reason=reason, since=self._hub.clock.wall())
