"""One network's forwarding table; what it promises stands at the head of the room (``vxswitch.fdb``)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal, Protocol

from vxswitch.bindings import Bindings
from vxswitch.counters import Stats
from vxswitch.fdb.hops import Hop, Peer, Row, Source
from vxswitch.model import Antispoof, Learning, Unknown
from vxswitch.wire.neighbour import Said

if TYPE_CHECKING:
    from vxswitch.groups import GroupTable

VlanPolicy = Literal["strip", "carry"]

# A whole pass takes age / 8. A row may stand in the first slice of one pass and in the last of the next, because the
# table changed between them, so it is looked at again within age / 4 and goes between 1.0 and 1.25 x age.
_SWEEP_SLICES = 8


class Watcher(Protocol):
    """Who is told of every change that another copy of the tables must follow. Told that, not what: it looks."""

    def network(self, table: Table) -> None:
        """The table is new, or its policy or peers have changed."""
        ...

    def row(self, table: Table, mac: bytes) -> None:
        """The row of this MAC is new, has moved or changed, or is gone."""
        ...

    def groups(self, table: Table, group: bytes) -> None:
        """Who listens to this multicast group has changed; empty: who gets all, or whether groups are known at all."""
        ...

    def gone(self, table: Table) -> None:
        """The network is no more."""
        ...


class Table:
    """One overlay network on this node: its rows, its flood list, its ports and its policy."""

    def __init__(
        self,
        name: str,
        vni: int,
        *,
        mtu: int,
        learning: Learning = "control",
        unknown: Unknown = "flood",
        antispoof: Antispoof = "mac",
        vlan: VlanPolicy = "strip",
        suppress: bool = True,
        max_macs: int = 16384,
        stats: Stats | None = None,
    ) -> None:
        self.name = name
        self.vni = vni
        self.mtu = self.mtu_in = mtu  # bytes of IP packet: of what ports send, and of what is taken from VTEPs
        self.learning: Learning = learning
        self.unknown: Unknown = unknown
        self.antispoof: Antispoof = antispoof
        self.vlan: VlanPolicy = vlan
        self.suppress = suppress
        self.max_macs = max_macs
        self.stats = stats or Stats()
        self.generation = 0
        self.rows: dict[bytes, Row] = {}
        self.ports: tuple[Hop, ...] = ()
        self.flood: tuple[Peer, ...] = ()  # live VTEPs, one copy each
        self.suspended = 0  # VTEPs left out of ``flood`` because they are suspended
        self.senders: dict[str, Peer] = {}  # by address: who may send into this network
        self.learned: dict[Hop, dict[bytes, Row]] = {}
        self.bindings = Bindings()  # of the claims
        self.on_local: Callable[[Table, Row, bool], None] | None = None  # (table, row, appeared)
        self.on_heard: Callable[[Table, Row, Said], None] | None = None  # a local station about itself
        self.watcher: Watcher | None = None
        self.groups: GroupTable | None = None  # None: all multicast is flooded
        self._sweep: list[bytes] = []  # what is left of this pass of ``age``
        self._slice = 0

    @property
    def claims(self) -> bool:
        """The store says who has a MAC. With ``hybrid`` the underlay says so, too, where the store does not."""
        return self.learning != "flood"

    # -- the way of a frame ------------------------------------------------------------------------------------

    def lookup(self, mac: bytes) -> Row | None:
        """The row of a unicast destination."""
        return self.rows.get(mac)

    def learn(self, mac: bytes, hop: Hop, now: float) -> Row | None:
        """A frame from ``mac`` came in by ``hop``: refresh, move or add its row.

        Returns the row that stands for the MAC (which may name another hop, if that one outranks a learned row),
        or None where nothing could be learned because the table is full.
        """
        row = self.rows.get(mac)
        if row is None:
            if not self._make_room(hop):
                self.stats.fdb_refused += 1
                return None
            row = Row(mac, hop, "learned", now)
            self._add(row)
        elif row.hop is hop:
            row.seen = now
            return row
        elif self.may_move(row, hop):
            if hop.local and not self._make_room_behind(hop):
                self.stats.fdb_refused += 1
                return row
            self._move(row, hop, "learned", now)
        else:
            return row
        self.stats.learned_soft += self.learning == "hybrid" and not hop.local
        return row

    def hear(self, hop: Hop, said: Said) -> None:
        """A local station says something about itself, by ARP or neighbour discovery."""
        row = self.rows.get(said.mac)
        if self.on_heard is not None and row is not None and row.hop is hop:
            self.on_heard(self, row, said)

    # -- control ------------------------------------------------------------------------------------------------

    def install(
        self,
        mac: bytes,
        hop: Hop,
        source: Source,
        now: float,
        *,
        given: bool = False,
        node: str | None = None,
        rev: int | None = None,
        flags: tuple[str, ...] = (),
        stale: bool = False,
    ) -> Row:
        """The row shall stand as said, whatever stood there. Claimed and static rows have no room to ask for."""
        row = self.rows.get(mac)
        if row is None:
            row = Row(mac, hop, source, now)
            row.given = given
            self._add(row)
        elif row.hop is not hop or row.source != source or row.given != given:
            row.given = given
            self._move(row, hop, source, now)
        row.given, row.node, row.rev, row.flags, row.stale = given, node, rev, flags, stale
        if self.watcher is not None:
            self.watcher.row(self, mac)
        return row

    def withdraw(self, mac: bytes, *, tell: bool = True) -> Row | None:
        """Remove the row of a MAC; returns it (``hop`` None), or None if there was none."""
        row = self.rows.pop(mac, None)
        if row is None:
            return None
        self._forget(row)
        if tell and row.hop is not None and row.hop.local and self.on_local is not None:
            self.on_local(self, row, False)
        if self.watcher is not None:
            self.watcher.row(self, mac)
        row.hop = None
        return row

    def bind(self, mac: bytes, addresses: Iterable[bytes]) -> None:
        """The MAC is claimed with these addresses, and no others."""
        if self.bindings.bind(mac, addresses) and self.watcher is not None:
            self.watcher.row(self, mac)

    def add_port(self, port: Hop) -> None:
        """A local port begins to receive what is flooded."""
        self.ports = (*self.ports, port)
        self.changed()

    def remove_port(self, port: Hop) -> list[bytes]:
        """A local port is gone: its rows are withdrawn. Returns their MACs."""
        self.ports = tuple(p for p in self.ports if p is not port)
        return self.withdraw_hop(port)

    def withdraw_hop(self, hop: Hop, source: Source | None = None) -> list[bytes]:
        """Withdraw the rows behind one hop (of one source, if given). Returns their MACs."""
        macs = [r.mac for r in self.rows.values() if r.hop is hop and (source is None or r.source == source)]
        for mac in macs:
            self.withdraw(mac)
        self.changed()
        return macs

    def set_peers(self, flood: Iterable[Peer], suspended: int, senders: dict[str, Peer]) -> None:
        """The VTEPs to flood to, how many more are suspended, and all that may send into this network."""
        self.flood = tuple(flood)
        self.suspended = suspended
        self.senders = senders
        self.changed()

    def set_groups(self, groups: GroupTable | None) -> None:
        """Send multicast to its listeners from now on, or to everybody."""
        if groups is not self.groups:
            self.groups = groups
            self.generation += 1  # cached decisions about groups hold the other table's listeners
        if self.watcher is not None:
            self.watcher.groups(self, b"")

    def resize(self, mtu: int) -> None:
        """Another MTU. Others may go on sending what fitted before: their stations learn of it late, or never."""
        self.mtu, self.mtu_in = mtu, max(mtu, self.mtu_in)

    def changed(self) -> None:
        """Policy, ports or peers changed: cached decisions are void."""
        self.generation += 1
        if self.watcher is not None:
            self.watcher.network(self)

    def flush(self) -> int:
        """Forget every learned row that is not given to a port. Returns how many."""
        macs = [row.mac for row in self.rows.values() if row.source == "learned" and not row.given]
        for mac in macs:
            self.withdraw(mac)
        return len(macs)

    def age(self, now: float, age: float) -> int:
        """Withdraw what sent nothing for ``age`` seconds in the next slice of the table. Call every age/64 s."""
        if not self._sweep:
            self._sweep = [mac for hop_rows in self.learned.values() for mac in hop_rows]
            self._slice = -(-len(self._sweep) // _SWEEP_SLICES)
        taken, self._sweep = self._sweep[: self._slice], self._sweep[self._slice :]
        gone = 0
        for mac in taken:
            row = self.rows.get(mac)
            if row is not None and self._ages(row) and now - row.seen >= age:
                self.withdraw(mac)
                gone += 1
        return gone

    # -- inside -----------------------------------------------------------------------------------------------------

    @staticmethod
    def _ages(row: Row) -> bool:
        return not row.given and (row.source == "learned")

    def may_move(self, row: Row, hop: Hop) -> bool:
        """A plain frame may move a learned row; and a *local* port's own frame moves a remote claimed one.

        (Local evidence outranks a stale remote row; the claim that follows decides. A static row stays. Where MACs are
        claimed, what was learned here is, or is about to be: it moves away by another's claim, not by a frame.)
        """
        if row.source == "static" or row.given or "sticky" in row.flags or "frozen" in row.flags:
            return False
        if row.source == "claimed":
            return hop.local
        return hop.local or not self.claims or row.hop is None or not row.hop.local

    def _add(self, row: Row) -> None:
        self.rows[row.mac] = row
        self._remember(row)

    def _move(self, row: Row, hop: Hop, source: Source, now: float) -> None:
        was_local = row.hop is not None and row.hop.local
        self._forget(row)
        row.hop, row.source = hop, source
        row.node, row.rev, row.flags, row.stale = None, None, (), False
        row.seen = row.since = now
        self._remember(row)
        if was_local and not hop.local and self.on_local is not None and source == "learned":
            self.on_local(self, row, False)

    def _remember(self, row: Row) -> None:
        hop = row.hop
        assert hop is not None
        if row.source == "learned" and not row.given:
            self.learned.setdefault(hop, {})[row.mac] = row
        if hop.local and self.on_local is not None:
            self.on_local(self, row, True)
        if self.watcher is not None:
            self.watcher.row(self, row.mac)

    def _forget(self, row: Row) -> None:
        if row.hop is not None and (rows := self.learned.get(row.hop)) is not None:
            rows.pop(row.mac, None)
            if not rows:
                del self.learned[row.hop]

    def _make_room_behind(self, hop: Hop) -> bool:
        return len(self.learned.get(hop, ())) < hop.max_macs

    def _make_room(self, hop: Hop) -> bool:
        """Room for one more learned row behind ``hop``, by fair eviction if the table is full."""
        if not self._make_room_behind(hop):
            return False
        if len(self.rows) < self.max_macs:
            return True
        mine = len(self.learned.get(hop, ()))
        largest = max(self.learned, key=lambda h: len(self.learned[h]), default=None)
        if largest is None or len(self.learned[largest]) <= mine + 1:
            return False
        self.withdraw(self._eldest(self.learned[largest]))
        self.stats.fdb_evicted += 1
        return True

    @staticmethod
    def _eldest(rows: dict[bytes, Row]) -> bytes:
        """Second chance over insertion order: a row that sent something since it was last looked at goes to the end."""
        for _ in range(8):
            mac, row = next(iter(rows.items()))
            if row.seen <= row.checked:
                return mac
            row.checked = row.seen
            rows[mac] = rows.pop(mac)
        return next(iter(rows))
