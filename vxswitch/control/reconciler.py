"""The store's events, turned into rows of the tables: one copy of every claim, and of it one row per MAC.

Each joined network has a ``Mirror``: the claims as the store has them, by MAC. An event changes the mirror first and
then that MAC's row. A snapshot is compared with the mirror and handled as the same changes: nothing is ever emptied.

Whose row it is decides:
- ours: the local row is confirmed (it gets the rev), or claimed again if the claim is of an earlier start; a MAC that
  is not here any more is released;
- another node's: it stands behind that node's VTEP, if the node is a member that can be reached; else it waits in the
  mirror until it is. A MAC that was local here has moved away, unless a claim of our own is still under way;
- another node's of our name (this host before it was installed anew): as the one before, but what is local here stays.
  Until that one's lease is over we may not claim, so that it still has the MAC says nothing of where the MAC is.

A snapshot may have claims whose rev is beyond its own: the store has lost them, and still vouches for them until their
owners had time to assert them again. They stand marked stale; our own among them are asserted at once.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator

from vxswitch.bindings import pack
from vxswitch.control.doors import Clock
from vxswitch.control.events import Tell, nobody
from vxswitch.control.peers import Judged, Peers
from vxswitch.control.reconciling import Announces, KnowsGroups, KnowsPorts, Mirror
from vxswitch.control.rownews import local_row, log_frozen, tell_row
from vxswitch.fdb import Fdb, Table
from vxswitch.model import (
    Claim,
    Claimed,
    Event,
    GroupsChanged,
    LeaseState,
    MemberJoined,
    MemberLeft,
    Snapshot,
    Withdrawn,
    format_mac,
)
from vxswitch.store.mirror import BROKEN_HISTORY

log = logging.getLogger(__name__)


SLICE = 512  # rows of a snapshot between two breaths of the loop, about 2 ms


class Reconciler:
    """Applies events, one at a time. ``uid`` and ``epoch`` say which claims are ours, ``node`` is our name.

    ``applied`` (VNI, rev) hears how far each network was applied, ``installed`` (``since``) of each row that is new.
    """

    ports: KnowsPorts
    groups: KnowsGroups | None = None

    def __init__(
        self,
        fdb: Fdb,
        peers: Peers,
        announcer: Announces,
        *,
        node: str,
        uid: str,
        epoch: int,
        clock: Clock,
        tell: Tell = nobody,
        applied: Callable[[int, int], None] = lambda vni, rev: None,
        installed: Callable[[float], None] = lambda since: None,
    ) -> None:
        self.mirrors: dict[int, Mirror] = {}
        self.resyncs: Counter[str] = Counter()  # snapshots after the first one, by reason
        self.freezes = 0  # MACs that became frozen as duplicates
        self._fdb = fdb
        self._peers = peers
        self._announcer = announcer
        self._node = node
        self._uid = uid
        self._epoch = epoch
        self._clock = clock
        self._tell = tell
        self._applied = applied
        self._installed = installed

    def join(self, vni: int) -> None:
        """Events of this network will come."""
        self.mirrors.setdefault(vni, Mirror())

    def leave(self, vni: int) -> None:
        """We left: forget the network's claims and members."""
        self.mirrors.pop(vni, None)
        self._peers.forget(vni)
        if self.groups is not None:
            self.groups.forget(vni)

    def apply(self, event: Event) -> None:
        """One event of the store, in one go."""
        for _ in self.steps(event):
            pass

    def steps(self, event: Event) -> Iterator[None]:
        """One event of the store; a large snapshot in steps, between which frames may be forwarded.

        Events of networks that are not joined (any more) are ignored. The next event must wait for the last step.
        """
        if isinstance(event, LeaseState):
            self._leases(event)
            return
        vni = event.claim.vni if isinstance(event, Claimed) else event.vni
        mirror, table = self.mirrors.get(vni), self._fdb.tables.get(vni)
        if mirror is None or table is None:
            return
        match event:
            case Claimed(claim):
                if not mirror.overtaken(claim.mac, claim.rev):
                    self._claimed(mirror, table, claim)
            case Withdrawn(_, mac, rev):
                if not mirror.overtaken(mac, rev):
                    self._withdrawn(mirror, table, mac, rev)
            case MemberJoined():
                self._joined(mirror, event)
            case MemberLeft():
                self._left(mirror, table, event.node)
            case GroupsChanged():
                mirror.rev = max(mirror.rev, event.rev)
                self._listens(vni, event.node, event.groups)
            case Snapshot():
                yield from self._snapshot(mirror, table, event)
        self._applied(vni, event.claim.rev if isinstance(event, Claimed) else event.rev)

    # -- rows ------------------------------------------------------------------------------------------------------

    def put_back(self, claim: Claim) -> None:
        """A claim of ours was refused: this is who has the MAC."""
        mirror, table = self.mirrors.get(claim.vni), self._fdb.tables.get(claim.vni)
        if mirror is not None and table is not None and claim.uid != self._uid:
            mirror.rows[claim.mac] = claim
            mirror.rev = max(mirror.rev, claim.rev)
            mirror.answered.add(claim.mac)
            table.bind(claim.mac, pack(claim.ips))
            row = local_row(table, claim.mac)
            if row is not None:
                row.rev = None  # whatever was confirmed, and in which history, is over
            if claim.node != self._node or row is None:
                self._place(mirror, table, claim)

    def _claimed(self, mirror: Mirror, table: Table, claim: Claim) -> None:
        known = mirror.rows.get(claim.mac)
        self._accept(mirror, table, claim)
        if claim.uid != self._uid and (known is None or known.since != claim.since):
            self._installed(claim.since)

    def _accept(self, mirror: Mirror, table: Table, claim: Claim, *, stale: bool = False) -> None:
        before = mirror.rows.get(claim.mac)
        tell_row(self._tell, table, before, claim)
        mirror.rows[claim.mac] = claim
        if not stale:
            mirror.rev = max(mirror.rev, claim.rev)
        if not table.claims:
            return
        table.bind(claim.mac, pack(claim.ips))
        if "frozen" in claim.flags and (before is None or "frozen" not in before.flags):
            self.freezes += 1
            log_frozen(table, claim, before)
        if claim.uid == self._uid:
            self._ours(table, claim)
        else:
            self._theirs(mirror, table, claim, stale)

    def _ours(self, table: Table, claim: Claim) -> None:
        row = local_row(table, claim.mac)
        if row is not None and claim.epoch >= self._epoch:
            row.rev, row.flags = claim.rev, claim.flags
        elif self._announcer.pending(claim.vni, claim.mac):
            return
        elif row is not None:
            self._announcer.announce(claim.vni, claim.mac)
        elif not self.ports.expects(claim.vni, claim.mac):
            self._announcer.release(claim.vni, claim.mac)

    def _theirs(self, mirror: Mirror, table: Table, claim: Claim, stale: bool) -> None:
        row = local_row(table, claim.mac)
        if row is not None:
            if stale or claim.node == self._node:
                return
            ahead = row.rev is not None and row.rev > max(claim.rev, mirror.snapshot)  # the log will come to ours
            if ahead or claim.mac in mirror.later:
                self._announcer.crossed(claim.vni, claim.mac)
                return
            if not self._announcer.gives_way(claim.vni, claim.mac):
                return
            log.info("MAC %s of network %s moved away to node %s", format_mac(claim.mac), table.name, claim.node)
            if not row.given:
                self._announcer.moved_away(claim.vni, claim.mac)
        self._place(mirror, table, claim, stale=stale)

    def _place(self, mirror: Mirror, table: Table, claim: Claim, *, stale: bool = False) -> None:
        """Another node's claim as a row, or into waiting while its node cannot be reached. A static row stays."""
        row = table.rows.get(claim.mac)
        if row is not None and row.source == "static":
            return
        peer = self._peers.peer(claim.vni, claim.node)
        if peer is None:
            mirror.unplaced.add(claim.mac)
            log.debug("MAC %s of network %s: node %s is not to be reached", claim.mac.hex(":"), table.name, claim.node)
            if row is not None and row.source == "claimed":
                table.withdraw(claim.mac)
            return
        mirror.unplaced.discard(claim.mac)
        now = self._clock()
        table.install(claim.mac, peer, "claimed", now, node=claim.node, rev=claim.rev, flags=claim.flags, stale=stale)

    def _withdrawn(self, mirror: Mirror, table: Table, mac: bytes, rev: int) -> None:
        known = mirror.rows.pop(mac, None)
        if known is not None:
            self._tell("row.withdrawn", network=table.name, mac=format_mac(mac), node=known.node, rev=rev)
        mirror.rev = max(mirror.rev, rev)
        mirror.unplaced.discard(mac)
        if table.claims:
            table.bind(mac, ())
            self.remove(table, mac, rev)

    def remove(self, table: Table, mac: bytes, rev: int) -> None:
        """Only what a claim installed goes. A MAC that is here all the same is claimed (again)."""
        row = table.rows.get(mac)
        if row is not None and row.hop is not None and row.hop.local:
            if self._announcer.pending(table.vni, mac):
                self._announcer.crossed(table.vni, mac)
                return
            row.rev = None if row.rev is not None and rev >= row.rev else row.rev
            self._announcer.announce(table.vni, mac)
            return
        if row is not None and row.source == "claimed":
            table.withdraw(mac)
        port = self.ports.given(table.vni, mac)
        if port is not None and mac not in table.rows:
            table.install(mac, port, "learned", self._clock(), given=True)

    def fall_back(self, vni: int, mac: bytes) -> None:
        """A row that stood behind a local port is gone: another node's claim of the MAC, if there is one, counts again.

        At once: a claim of ours that would have moved the MAC here may never have reached the store.
        """
        mirror, table = self.mirrors.get(vni), self._fdb.tables.get(vni)
        claim = mirror.rows.get(mac) if mirror is not None else None
        if mirror is None or table is None or claim is None or mac in table.rows or not table.claims:
            return
        if claim.uid != self._uid:
            self._place(mirror, table, claim)

    def reinstate(self, table: Table, mac: bytes) -> None:
        """A static row is gone: who has the MAC by the store, or by having been given it, has it again."""
        mirror = self.mirrors.get(table.vni)
        claim = mirror.rows.get(mac) if mirror is not None else None
        if mirror is not None and claim is not None and claim.uid != self._uid and table.claims:
            self._place(mirror, table, claim)
        else:
            self.remove(table, mac, 0)

    def mend(self, vni: int, mac: bytes) -> None:
        """Make the table say of this MAC what the mirror says."""
        mirror, table = self.mirrors.get(vni), self._fdb.tables.get(vni)
        if mirror is None or table is None:
            return
        claim = mirror.rows.get(mac)
        if claim is None:
            self.remove(table, mac, 0)
        else:
            self._accept(mirror, table, claim)

    def claim_again(self, vni: int) -> int:
        """Claim every MAC behind our ports that is not another node's; how many."""
        mirror, table = self.mirrors.get(vni), self._fdb.tables.get(vni)
        if mirror is None or table is None or table.on_local is None:
            return 0
        ours = [mac for mac in table.rows if local_row(table, mac) and self._may_claim(mirror.rows.get(mac))]
        for mac in ours:
            self._announcer.announce(vni, mac)
        return len(ours)

    def _may_claim(self, claim: Claim | None) -> bool:
        return claim is None or claim.uid == self._uid

    def owner_of(self, vni: int, ip: str) -> bytes | None:
        """The MAC that was claimed with this address."""
        mirror = self.mirrors.get(vni)
        return next((c.mac for c in mirror.rows.values() if ip in c.ips), None) if mirror is not None else None

    def ips_of(self, vni: int, mac: bytes) -> tuple[str, ...]:
        """The addresses that were claimed with this MAC."""
        mirror = self.mirrors.get(vni)
        claim = mirror.rows.get(mac) if mirror is not None else None
        return claim.ips if claim is not None else ()

    # -- members ---------------------------------------------------------------------------------------------------

    def _joined(self, mirror: Mirror, event: MemberJoined) -> None:
        mirror.rev = max(mirror.rev, event.rev)
        changed = self._peers.join(event.vni, event.node)
        self._peers.refresh(event.vni)
        if changed or mirror.unplaced:
            self._place_all(event.node.name)

    def _left(self, mirror: Mirror, table: Table, name: str) -> None:
        self._listens(table.vni, name, frozenset())
        placed = self._peers.leave(table.vni, name)
        self._peers.refresh(table.vni)
        self._place_rows(mirror, table, name)
        for other in placed:
            self._place_all(other)

    def _listens(self, vni: int, node: str, groups: frozenset[str]) -> None:
        if self.groups is not None:
            self.groups.told(vni, node, groups)

    def _leases(self, event: LeaseState) -> None:
        self._judged(self._peers.judge(event))

    def look_again(self) -> None:
        """What probes say of the other nodes has changed."""
        self._judged(self._peers.look_again())

    def _judged(self, judged: Judged) -> None:
        for name in (*judged.gone, *judged.back):
            self._place_all(name)

    def _place_all(self, node: str) -> None:
        """The node's VTEP or state changed: look again at its rows, in the networks that it is a member of."""
        for vni in self._peers.networks(node):
            mirror, table = self.mirrors.get(vni), self._fdb.tables.get(vni)
            if mirror is not None and table is not None:
                self._place_rows(mirror, table, node)

    def _place_rows(self, mirror: Mirror, table: Table, node: str) -> None:
        if not table.claims:
            return
        for claim in [c for c in mirror.rows.values() if c.node == node and c.uid != self._uid]:
            if local_row(table, claim.mac) is None:
                self._place(mirror, table, claim)
            elif claim.mac in mirror.unplaced:  # it moved away from here to a node that could not be reached then
                self._theirs(mirror, table, claim, stale=False)

    # -- snapshots -------------------------------------------------------------------------------------------------

    def _snapshot(self, mirror: Mirror, table: Table, event: Snapshot) -> Iterator[None]:
        again = mirror.rev > 0
        if again:
            self.resyncs[event.reason] += 1
            log.info("network %s read anew from the store (%s), rev %d", table.name, event.reason, event.rev)
        self._compare_members(mirror, table, event)
        if self.groups is not None:
            self.groups.told_all(table.vni, event.groups)
        fresh = {claim.mac: claim for claim in event.rows if claim.uid != self._uid or claim.rev <= event.rev}
        mirror.answered.clear()
        if event.reason in BROKEN_HISTORY:
            mirror.compare(fresh, self._uid)
        for number, mac in enumerate([mac for mac in mirror.rows if mac not in fresh], 1):
            self._withdrawn(mirror, table, mac, event.rev)
            if number % SLICE == 0:
                yield
        mirror.rev = mirror.snapshot = event.rev
        for number, claim in enumerate(fresh.values(), 1):
            stale = claim.rev > event.rev
            if not mirror.overtaken(claim.mac, 0 if stale else claim.rev):
                self._accept(mirror, table, claim, stale=stale)
            if number % SLICE == 0:
                yield
        self._assert_missing(mirror, table, event)
        mirror.later.clear()
        if again:
            self._tell("table.resync", network=table.name, reason=event.reason, rev=event.rev)

    def _compare_members(self, mirror: Mirror, table: Table, event: Snapshot) -> None:
        for name in self._peers.members(table.vni) - {record.name for record in event.members}:
            self._left(mirror, table, name)
        moved = [record.name for record in event.members if self._peers.join(table.vni, record)]
        self._peers.refresh(table.vni)
        for name in moved:
            self._place_all(name)

    def _assert_missing(self, mirror: Mirror, table: Table, event: Snapshot) -> None:
        """Local MACs that the store does not have under our name."""
        if table.on_local is None:
            return
        for mac, row in table.rows.items():
            later = mac in mirror.later
            if row.hop is None or not row.hop.local or (self._announcer.pending(table.vni, mac) and not later):
                continue
            claim = mirror.rows.get(mac)
            if claim is None or claim.uid != self._uid:
                if row.rev is not None and (row.rev <= event.rev or event.reason in BROKEN_HISTORY):
                    row.rev = None
                self._announcer.announce(table.vni, mac, seen=later)
