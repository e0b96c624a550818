"""The other VTEPs: which there are in each network, which of them live, and which one address means whom.

Members come from the store as node records, static peers from the configuration. A node has one VTEP for us: the first
of its own whose family is that of one of ours, tried in the order of ours. An address means one node: who has ours is
refused, and so is who has that of another live node; both loudly. Who was refused gets the address when its holder is
not live any more. A node that changed its name (same uid) takes its address along at once.

A node lives by its answers to probes (``prober``) and by its lease in the store; either may be lost alone:

    probe      lease out   lease live   leases not to be trusted (our own could not be renewed)
    answers    live        live         live
    dead       suspended   suspended    suspended
    unprobed   suspended   live         as it was

Suspended: out of the flood lists, its rows stay. ``grace`` seconds with the lease out and without answers make it gone,
and its rows go too; what was not to be trusted does not count. A node that took its lease back itself is suspended at
once, whatever its last answer was, until it has a lease again or another start of it answers. If all probes are dead
it is our own underlay: all are suspended, so nothing is flooded that could not arrive, and nobody is gone by that.
Static peers have no lease: they stay as long as they are configured, suspended while their probe is dead.

``refresh`` writes the outcome into a table: whom to flood to, one copy each, and who may send into the network.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from vxswitch.control.doors import Clock
from vxswitch.control.events import Tell, nobody
from vxswitch.control.heard import Heard, ip_udp_headers
from vxswitch.fdb import Fdb, Peer
from vxswitch.model import LeaseState, NodeRecord, Vtep
from vxswitch.wire.probe import node_of

log = logging.getLogger(__name__)

NodeState = Literal["live", "suspended", "gone"]


@dataclass(slots=True, eq=False)
class Remote:
    """Another node. ``peer`` None: refused, or no VTEP that we could reach; ``since``: no sign of it since, monotonic.

    ``left``: it took its lease back itself, in the life (``wire.probe``) that its last answer named, 0 without one.
    """

    record: NodeRecord
    vnis: set[int] = field(default_factory=set)
    state: NodeState = "live"
    since: float | None = None
    peer: Peer | None = None
    left: int | None = None


class Judged(NamedTuple):
    """What was found: nodes whose rows are to go, and nodes whose rows are to come back."""

    gone: list[str]
    back: list[str]


class Peers:
    """All remote VTEPs of this switch. ``own`` are our VTEPs, in order; ``grace`` is in seconds."""

    def __init__(
        self, fdb: Fdb, *, uid: str, own: Sequence[Vtep], grace: float, clock: Clock, tell: Tell = nobody
    ) -> None:
        self.fdb = fdb
        self.uid = uid
        self.own = tuple(own)
        self.grace = grace
        self.remotes: dict[str, Remote] = {}
        self.probes: Mapping[Peer, Heard] = {}
        self._clock = clock
        self._tell = tell
        self._members: dict[int, set[str]] = {}
        self._holder: dict[str, str] = {}  # address -> name of the node it means
        self._everywhere: tuple[Vtep, ...] = ()
        self._static: dict[int, tuple[Vtep, ...]] = {}
        self._lease: dict[str, float] = {}
        self._lease_read = clock()
        self._trusted = False

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
        """A node is a member of ``vni``: ``refresh`` must follow.

        True if its VTEP changed; its other networks are refreshed then.
        """
        if record.uid == self.uid:
            taken_over = record.name in self._members.get(vni, ())
            if taken_over:  # who had our name before us is no more
                self.leave(vni, record.name)
            return taken_over
        remote = self.remotes.get(record.name)
        if remote is None:
            remote = self.remotes[record.name] = Remote(record)
            self._tell("peer.joined", node=record.name, vteps=[str(vtep) for vtep in record.vteps])
        elif record.epoch < remote.record.epoch and record.uid == remote.record.uid:
            record = remote.record
        if record.epoch > remote.record.epoch:
            self._forget_death(remote)
        remote.record = record
        remote.vnis.add(vni)
        self._members.setdefault(vni, set()).add(record.name)
        changed = self._settle(remote)
        for other in remote.vnis - {vni} if changed else ():
            self.refresh(other)
        return changed

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
        self._tell("peer.left", node=name)
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

    def live_members(self, vni: int) -> set[str]:
        """Those of them that live."""
        return {name for name in self._members.get(vni, ()) if self.remotes[name].state == "live"}

    def peer(self, vni: int, name: str) -> Peer | None:
        """The VTEP behind which rows of this node stand in ``vni``; None if it is no member, gone or unreachable."""
        remote = self.remotes.get(name)
        if remote is None or vni not in remote.vnis or remote.state == "gone":
            return None
        return remote.peer

    # -- who lives -------------------------------------------------------------------------------------------------

    def judge(self, event: LeaseState) -> Judged:
        """What the store's leases say now; see ``look_again``."""
        self._lease, self._lease_read, self._trusted = event.seconds_left, self._clock(), event.trusted
        for name, remote in self.remotes.items():
            if name not in event.left:
                remote.left = None
            elif remote.left is None:
                heard = self._heard(remote)
                remote.left = heard.sender.life if heard is not None else 0
        return self.look_again()

    def look_again(self) -> Judged:
        """Judge by the leases as they were told last, and by what probes say now; refreshes what that changes."""
        judged = Judged([], [])
        now = self._clock()
        changed: set[int] = set()
        for name, remote in self.remotes.items():
            was = remote.state
            self._judge(remote, self._lease.get(name, 0.0) > 0.0, now)
            if remote.state != was:
                changed |= remote.vnis
                self._report(remote, was, judged)
        for peer in self.fdb.peers.values():
            if peer.static and peer.live is not self._static_live(peer):
                log.warning("static peer %s %s", peer.vtep, "answers no probes" if peer.live else "is live again")
                changed.update(self.fdb.tables)
        for vni in changed:
            self.refresh(vni)
        return judged

    def _judge(self, remote: Remote, leased: bool, now: float) -> None:
        heard = self._heard(remote)
        answers = heard is not None and heard.answers(now)
        if answers and not self._has_left(remote, heard):
            remote.state, remote.since = "live", None
        elif leased or not self._trusted:
            remote.since = None
            if remote.left is None and (heard is None or heard.alive is not False):
                remote.state = "live" if leased and self._trusted else remote.state
            elif leased or remote.state != "gone":
                remote.state = "suspended"
        elif remote.state != "gone":
            remote.since = now if remote.since is None else remote.since
            remote.state = "gone" if now - remote.since >= self.grace else "suspended"

    def _heard(self, remote: Remote) -> Heard | None:
        """What its VTEP has answered, if it was this node that did."""
        heard = self.probes.get(remote.peer) if remote.peer is not None else None
        return heard if heard is not None and heard.sender.node == node_of(remote.record.uid) else None

    @staticmethod
    def _has_left(remote: Remote, heard: Heard | None) -> bool:
        """It said that it goes, and this is not another start of it."""
        return remote.left is not None and (not remote.left or heard is None or heard.sender.life == remote.left)

    def _forget_death(self, remote: Remote) -> None:
        """A new start of a node: that the one before is dead says nothing of it."""
        heard = self._heard(remote)
        if heard is not None and heard.alive is False:
            heard.forget()

    def heard(self, name: str) -> bool:
        """The node answers probes, so it is not for us to delete what it has, whatever the store says of its lease."""
        remote = self.remotes.get(name)
        heard = self._heard(remote) if remote is not None else None
        return remote is not None and heard is not None and heard.answers(self._clock()) and remote.left is None

    def _lives(self, remote: Remote) -> bool:
        peer = remote.peer
        return peer is not None and (self._static_live(peer) if peer.static else remote.state == "live")

    def _static_live(self, peer: Peer) -> bool:
        heard = self.probes.get(peer)
        return heard is None or heard.alive is not False

    def _report(self, remote: Remote, was: NodeState, judged: Judged) -> None:
        name = remote.record.name
        level = logging.INFO if remote.state == "live" else logging.WARNING
        log.log(level, "node %s is %s, was %s", name, remote.state, was)
        self._tell(f"peer.{remote.state}", node=name, was=was)
        if remote.state == "gone":
            judged.gone.append(name)
        elif was == "gone":
            judged.back.append(name)
        if remote.state == "live":
            judged.back.extend([name] if self._settle(remote) else [])
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
            if not _gives_way(holder, remote):
                if holder.record.uid != remote.record.uid:
                    both = holder.record.name, name
                    log.error("nodes %s and %s both say they are at %s: %s refused", *both, address, name)
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
            peer.node, peer.live = None, self._static_live(peer)
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
                remote.peer.live = self._lives(remote)
        for vtep in (*self._everywhere, *self._static.get(vni, ())):
            self._add_static(senders, vtep)
        flood = [peer for peer in senders.values() if peer.live]
        table.set_peers(flood, len(senders) - len(flood), senders)

    def _add_static(self, senders: dict[str, Peer], vtep: Vtep) -> None:
        if any(vtep.address == own.address for own in self.own):
            log.info("static peer %s is this node itself: left out", vtep)
        elif all(vtep.family != own.family for own in self.own):
            log.warning("static peer %s: this node has no VTEP of its address family: left out", vtep)
        elif vtep.address not in senders or senders[vtep.address].vtep == vtep:
            peer = senders[vtep.address] = self.fdb.peer(vtep, static=True)
            peer.live = self._static_live(peer)
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
        return _view(remote.record.name, vtep, networks, remote.state, left, self._heard(remote))

    def _static_view(self, peer: Peer, network_name: Callable[[int], str | None]) -> dict[str, Any]:
        vnis = [vni for vni, table in self.fdb.tables.items() if peer in table.senders.values()]
        heard = self.probes.get(peer)
        state = "unprobed" if heard is None or heard.alive is None else "live" if heard.alive else "suspended"
        return _view(None, peer.vtep, sorted(filter(None, map(network_name, vnis))), state, None, heard)


def _gives_way(holder: Remote, other: Remote) -> bool:
    """Whether a node loses its address to another one that says it is there.

    Of two names of one node the later start is right, however long the earlier one is remembered. Of two nodes the one
    that lives; a node that is only suspended gives way to none that lives no more than itself.
    """
    if holder.record.uid == other.record.uid:
        return other.record.epoch >= holder.record.epoch
    return holder.state == "gone" or (holder.state == "suspended" and other.state == "live")


def _view(
    node: str | None, vtep: Vtep | None, networks: list[str], state: str, lease: float | None, heard: Heard | None
) -> dict[str, Any]:
    limit = heard.path.limit if heard is not None else None
    loss = heard.loss if heard is not None else None
    return {
        "node": node,
        "vtep": None if vtep is None else str(vtep),
        "networks": networks,
        "state": state,
        "lease": None if lease is None else round(lease, 3),
        "rtt_us": _microseconds(heard.srtt if heard is not None else None),
        "rtt_last_us": _microseconds(heard.rtt if heard is not None else None),
        "loss": None if loss is None else round(loss, 3),
        "mtu": None if limit is None or vtep is None else limit + ip_udp_headers(vtep.family),
        "encrypted": False,
        "key_age": None,
    }


def _microseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1e6)
