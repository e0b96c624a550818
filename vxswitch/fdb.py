"""The forwarding tables: the one thing that control and data share.

Control writes (``install``, ``withdraw``, ``set_flood``, ...), data reads and learns; one thread, plain dicts, no lock.
A frame meets it twice: its destination is looked up, its source is learned or refreshed.

A ``Row`` is never replaced while its MAC stays in the table, only changed; when it leaves, its ``hop`` becomes None.
So whoever keeps a Row (the decision caches of the data plane) sees every move by comparing ``row.hop``. Everything
else that a cached decision depends on (policy, ports, peers) changes ``Table.generation``.

Which row may replace which (``may_move``): static > given to a local port > claimed > learned. A learned row never
masks a claimed one; between learned rows the later frame wins. Ageing counts from the last frame that a MAC *sent*.

Bounds: ``max_macs`` learned and claimed rows per network, ``port.max_macs`` per local port. A full table takes a new
MAC only by evicting from the hop that holds the most learned rows, if that is not the newcomer's own; else it
refuses to learn. Forwarding is never refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal, Protocol

from vxswitch.bindings import Bindings
from vxswitch.counters import Counts, Stats
from vxswitch.model import Antispoof, Learning, Unknown, Vtep
from vxswitch.wire.neighbour import Said

if TYPE_CHECKING:
    from vxswitch.groups import GroupTable

Source = Literal["static", "claimed", "learned"]
VlanPolicy = Literal["strip", "carry"]

# A whole pass takes age / 8. A row may stand in the first slice of one pass and in the last of the next, because the
# table changed between them, so it is looked at again within age / 4 and goes between 1.0 and 1.25 x age.
_SWEEP_SLICES = 8


class Hop:
    """Where a frame goes next: a local port or a remote VTEP. Compared by identity."""

    __slots__ = ("max_macs",)
    local: bool = False

    def __init__(self, max_macs: int) -> None:
        self.max_macs = max_macs  # learned rows that may stand behind this hop


class Peer(Hop):
    """A remote VTEP. ``live`` false = suspended: no flooding to it, its unicast rows stay."""

    __slots__ = ("live", "node", "plain_until", "static", "vtep")

    def __init__(self, vtep: Vtep, node: str | None = None, *, static: bool = False) -> None:
        super().__init__(1 << 30)
        self.vtep = vtep
        self.node = node  # None: configured, known only by address
        self.static = static  # configured: what it sends is learned in every mode
        self.live = True
        self.plain_until = 0.0  # monotonic; until then no UDP_SEGMENT towards it

    def __repr__(self) -> str:
        return f"Peer({self.vtep}, node={self.node}, live={self.live})"


class LocalPort(Hop):
    """A local port as control and views see it; the data plane's ports add how frames get in and out.

    rx = read from the TAP (the container sent it), tx = written to it; counted in wire frames and their bytes.
    """

    __slots__ = ("counts", "id", "mac", "rx_bytes", "rx_frames", "state", "tx_bytes", "tx_frames")
    local = True

    def __init__(self, port_id: str, mac: bytes | None, max_macs: int) -> None:
        super().__init__(max_macs)
        self.id = port_id
        self.mac = mac  # the MAC given to it, None if it has none of its own
        self.counts = Counts()
        self.rx_frames = self.rx_bytes = self.tx_frames = self.tx_bytes = 0
        self.state: Literal["up", "down", "gone"] = "up"


class Row:
    """One MAC of one network. ``seen``: monotonic seconds of the last frame that this MAC sent."""

    __slots__ = ("checked", "flags", "given", "hop", "mac", "node", "rev", "seen", "since", "source", "stale")

    def __init__(self, mac: bytes, hop: Hop, source: Source, now: float) -> None:
        self.mac = mac
        self.hop: Hop | None = hop
        self.source: Source = source
        self.given = False  # the address of a live local port: it does not age and nobody may send it to us
        self.seen = now
        self.checked = now  # when fair eviction last looked at it
        self.since = now
        self.node: str | None = None
        self.rev: int | None = None
        self.flags: tuple[str, ...] = ()
        self.stale = False

    @property
    def basis(self) -> Source:
        """Who says so, for people: what the store has confirmed is claimed; given to a port and not yet, static."""
        if self.rev is not None:
            return "claimed"
        return "static" if self.given else self.source


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


class Fdb:
    """All tables of this switch by VNI, and all VTEPs by their address and port."""

    def __init__(self) -> None:
        self.tables: dict[int, Table] = {}
        self.peers: dict[Vtep, Peer] = {}
        self.watcher: Watcher | None = None

    def add(self, table: Table) -> Table:
        """A network begins to forward."""
        self.tables[table.vni] = table
        if self.watcher is not None:
            table.watcher = self.watcher
            self.watcher.network(table)
        return table

    def remove(self, vni: int) -> None:
        """A network is no more; cached decisions about it are void."""
        table = self.tables.pop(vni, None)
        if table is not None:
            table.watcher = None
            for mac in list(table.rows):
                table.withdraw(mac, tell=False)
            table.changed()
            if self.watcher is not None:
                self.watcher.gone(table)

    def peer(self, vtep: Vtep, node: str | None = None, *, static: bool = False) -> Peer:
        """The one Peer object of a VTEP, made on first use."""
        peer = self.peers.get(vtep)
        if peer is None:
            peer = self.peers[vtep] = Peer(vtep, node, static=static)
        if node is not None:
            peer.node = node
        peer.static = peer.static or static
        return peer
