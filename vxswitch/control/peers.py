"""The other VTEPs: which there are in each network, which of them live, and which one address means whom.

Members come from the store as node records, static peers from the configuration. A node has one VTEP for us: the first
of its own whose family is that of one of ours, tried in the order of ours. An address means one node: who has ours is
refused, and so is who has that of another live node; both loudly. Who was refused gets the address when its holder is
not live any more. A node that changed its name (same uid) takes its address along at once.

Liveness is the store's: a lease that ran out suspends its node (out of the flood lists, its rows stay), and ``grace``
seconds of that make it gone (its rows go too). While our own lease is not to be trusted nobody is judged, and the
grace of those who were suspended begins again. Static peers have no lease: they stay as long as they are configured.

``refresh`` writes the outcome into a table: whom to flood to, one copy each, and who may send into the network.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from vxswitch.control.doors import Clock
from vxswitch.fdb import Fdb, Peer
from vxswitch.model import LeaseState, NodeRecord, Vtep

log = logging.getLogger(__name__)

NodeState = Literal["live", "suspended", "gone"]


@dataclass(slots=True, eq=False)
class Remote:
    """Another node. ``peer`` None: refused, or no VTEP that we could reach; ``since``: suspended since, monotonic."""

    record: NodeRecord
    vnis: set[int] = field(default_factory=set)
    state: NodeState = "live"
    since: float | None = None
    peer: Peer | None = None


class Judged(NamedTuple):
    """What a heartbeat changed: nodes whose rows are to go, and nodes whose rows are to come back."""

    gone: list[str]
    back: list[str]


class Peers:
    """All remote VTEPs of this switch. ``own`` are our VTEPs, in order; ``grace`` is in seconds."""

    def __init__(self, fdb: Fdb, *, uid: str, own: Sequence[Vtep], grace: float, clock: Clock) -> None:
        self.fdb = fdb
        self.uid = uid
        self.own = tuple(own)
        self.grace = grace
        self.remotes: dict[str, Remote] = {}
        self._clock = clock
        self._members: dict[int, set[str]] = {}
        self._holder: dict[str, str] = {}  # address -> name of the node it means
        self._everywhere: tuple[Vtep, ...] = ()
        self._static: dict[int, tuple[Vtep, ...]] = {}
        self._lease: dict[str, float] = {}
        self._lease_read = clock()

    # -- who there is ----------------------------------------------------------------------------------------------

    def set_static(self, everywhere: Iterable[Vtep], by_vni: dict[int, tuple[Vtep, ...]]) -> None:
        """The configured VTEPs: of every network, and of single ones."""
        self._everywhere = tuple(everywhere)
        self._static = dict(by_vni)
        kept = {v for vteps in (self._everywhere, *self._static.values()) for v in vteps}
        for peer in [p for p in self.fdb.peers.values() if p.static and p.vtep not in kept]:
            peer.static = False
            self._let_go(peer)
        for vni in self.fdb.tables:
            self.refresh(vni)

    def join(self, vni: int, record: NodeRecord) -> bool:
        """A node is a member of ``vni``; true if what is known of its VTEP changed. ``refresh`` must follow."""
        if record.uid == self.uid:
            return False
        remote = self.remotes.get(record.name)
        if remote is None:
            remote = self.remotes[record.name] = Remote(record)
        elif record.epoch < remote.record.epoch and record.uid == remote.record.uid:
            record = remote.record
        remote.record = record
        remote.vnis.add(vni)
        self._members.setdefault(vni, set()).add(record.name)
        return self._settle(remote)

    def leave(self, vni: int, name: str) -> list[str]:
        """A node is no longer a member of ``vni``; the nodes that got a VTEP by that. ``refresh`` must follow."""
        self._members.get(vni, set()).discard(name)
        remote = self.remotes.get(name)
        if remote is None:
            return []
        remote.vnis.discard(vni)
        if remote.vnis:
            return []
        del self.remotes[name]
        return self._give_up(remote)

    def forget(self, vni: int) -> None:
        """We left the network ourselves."""
        for name in list(self._members.get(vni, ())):
            self.leave(vni, name)
        self._members.pop(vni, None)

    def members(self, vni: int) -> set[str]:
        """Names of the other nodes of a network."""
        return set(self._members.get(vni, ()))

    def networks(self, name: str) -> set[int]:
        """The networks that another node is a member of."""
        remote = self.remotes.get(name)
        return set(remote.vnis) if remote is not None else set()

    def peer(self, vni: int, name: str) -> Peer | None:
        """The VTEP behind which rows of this node stand in ``vni``; None if it is no member, gone or unreachable."""
        remote = self.remotes.get(name)
        if remote is None or vni not in remote.vnis or remote.state == "gone":
            return None
        return remote.peer

    # -- who lives -------------------------------------------------------------------------------------------------

    def judge(self, event: LeaseState) -> Judged:
        """What the store's leases say now; refreshes the networks that it changes."""
        judged = Judged([], [])
        now = self._clock()
        self._lease, self._lease_read = event.seconds_left, now
        changed: set[int] = set()
        for name, remote in self.remotes.items():
            if not event.trusted:
                remote.since = None
                continue
            was = remote.state
            self._judge(remote, event.seconds_left.get(name, 0.0) > 0.0, now)
            if remote.state != was:
                changed |= remote.vnis
                self._report(remote, was, judged)
        for vni in changed:
            self.refresh(vni)
        return judged

    def _judge(self, remote: Remote, leased: bool, now: float) -> None:
        if leased:
            remote.state, remote.since = "live", None
        elif remote.state != "gone":
            remote.since = now if remote.since is None else remote.since
            remote.state = "gone" if now - remote.since >= self.grace else "suspended"

    def _report(self, remote: Remote, was: NodeState, judged: Judged) -> None:
        name = remote.record.name
        log.log(
            logging.INFO if remote.state == "live" else logging.WARNING,
            "node %s is %s, was %s",
            name,
            remote.state,
            was,
        )
        if remote.state == "gone":
            judged.gone.append(name)
        elif was == "gone":
            judged.back.append(name)
        if remote.state == "live":
            self._settle(remote)
        else:
            judged.back.extend(self._settle_refused())

    @property
    def unreachable(self) -> int:
        """Nodes without a VTEP of a family of ours, or whose address was refused."""
        return sum(remote.peer is None for remote in self.remotes.values())

    # -- what one address means ------------------------------------------------------------------------------------

    def choose(self, vteps: Iterable[Vtep]) -> Vtep | None:
        """The VTEP of another node that we would send to, None without a family in common."""
        theirs = tuple(vteps)
        return next((v for own in self.own for v in theirs if v.family == own.family), None)

    def _settle(self, remote: Remote) -> bool:
        """Find the node's Peer by its record; true if it is another one than before."""
        before = remote.peer
        vtep = self.choose(remote.record.vteps)
        if vtep is None:
            log.warning("node %s: no VTEP of an address family of ours: %s", remote.record.name, remote.record.vteps)
        taken = vtep is not None and self._take_address(vtep.address, remote)
        remote.peer = self.fdb.peer(vtep, remote.record.name) if vtep is not None and taken else None
        if before is not None and before is not remote.peer:
            self._let_go(before)
        return before is not remote.peer

    def _take_address(self, address: str, remote: Remote) -> bool:
        name = remote.record.name
        if any(address == own.address for own in self.own):
            log.error("node %s says that it is at %s, which is our own VTEP: refused", name, address)
            return False
        holder = self.remotes.get(self._holder.get(address, name))
        if holder is not None and holder is not remote:
            if holder.state == "live" and holder.record.uid != remote.record.uid:
                log.error(
                    "nodes %s and %s both say they are at %s: %s refused", holder.record.name, name, address, name
                )
                return False
            holder.peer = None
        self._holder[address] = name
        return True

    def _give_up(self, remote: Remote) -> list[str]:
        """A node has left all networks: its address is free for whoever was refused."""
        if remote.peer is None:
            return []
        self._let_go(remote.peer)
        address = remote.peer.vtep.address
        if self._holder.get(address) == remote.record.name:
            del self._holder[address]
        return self._settle_refused()

    def _settle_refused(self) -> list[str]:
        """An address may be free now: the nodes that got their VTEP by that, which must be placed anew."""
        settled = [remote for remote in self.remotes.values() if remote.peer is None and self._settle(remote)]
        for vni in {vni for remote in settled for vni in remote.vnis}:
            self.refresh(vni)
        return [remote.record.name for remote in settled]

    def _let_go(self, peer: Peer) -> None:
        """No node is behind this VTEP any more (unless another one has taken it over)."""
        if any(remote.peer is peer for remote in self.remotes.values()):
            return
        if peer.static:
            peer.node, peer.live = None, True
        else:
            self.fdb.peers.pop(peer.vtep, None)

    # -- what the tables are told ----------------------------------------------------------------------------------

    def refresh(self, vni: int) -> None:
        """Write the flood list and the senders of one network into its table."""
        table = self.fdb.tables.get(vni)
        if table is None:
            return
        senders: dict[str, Peer] = {}
        for name in sorted(self._members.get(vni, ())):
            remote = self.remotes[name]
            if remote.peer is not None:
                senders[remote.peer.vtep.address] = remote.peer
                remote.peer.live = remote.state == "live" or remote.peer.static
        for vtep in (*self._everywhere, *self._static.get(vni, ())):
            self._add_static(senders, vtep)
        flood = [peer for peer in senders.values() if peer.live]
        table.set_peers(flood, len(senders) - len(flood), senders)

    def _add_static(self, senders: dict[str, Peer], vtep: Vtep) -> None:
        if any(vtep.address == own.address for own in self.own):
            log.info("static peer %s is this node itself: left out", vtep)
        elif all(vtep.family != own.family for own in self.own):
            log.warning("static peer %s: this node has no VTEP of its address family: left out", vtep)
        elif vtep.address not in senders:
            senders[vtep.address] = self.fdb.peer(vtep, static=True)
        elif senders[vtep.address].vtep == vtep:
            senders[vtep.address].static = senders[vtep.address].live = True
        else:
            log.warning("static peer %s: a node is at %s: left out", vtep, senders[vtep.address].vtep)

    # -- what is shown ---------------------------------------------------------------------------------------------

    def view(self, network_name: Callable[[int], str | None]) -> list[dict[str, Any]]:
        """The rows of ``vxswitch peers``: nodes by name, then static VTEPs."""
        nodes = [self._node_view(r, network_name) for _, r in sorted(self.remotes.items())]
        known = {r.peer for r in self.remotes.values()}
        static = [p for p in self.fdb.peers.values() if p.static and p not in known]
        return nodes + [self._static_view(p, network_name) for p in sorted(static, key=lambda p: str(p.vtep))]

    def _node_view(self, remote: Remote, network_name: Callable[[int], str | None]) -> dict[str, Any]:
        vtep = remote.peer.vtep if remote.peer else self.choose(remote.record.vteps)
        lease = self._lease.get(remote.record.name)
        left = None if lease is None else max(0.0, lease - (self._clock() - self._lease_read))
        networks = sorted(filter(None, map(network_name, remote.vnis)))
        return _view(remote.record.name, vtep, networks, remote.state, left)

    def _static_view(self, peer: Peer, network_name: Callable[[int], str | None]) -> dict[str, Any]:
        vnis = [vni for vni, table in self.fdb.tables.items() if peer in table.senders.values()]
        return _view(None, peer.vtep, sorted(filter(None, map(network_name, vnis))), "unprobed", None)


def _view(node: str | None, vtep: Vtep | None, networks: list[str], state: str, lease: float | None) -> dict[str, Any]:
    return {
        "node": node,
        "vtep": None if vtep is None else str(vtep),
        "networks": networks,
        "state": state,
        "lease": None if lease is None else round(lease, 3),
        "rtt_us": None,
        "loss": None,
        "mtu": None,
        "encrypted": False,
        "key_age": None,
    }
