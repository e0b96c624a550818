"""The tables of a worker: what the main process has told, and nothing else.

A replica never changes by a frame. A source that its row does not explain is *asked* about: the main process learns it,
or not, and tells everybody. Until then, a fraction of a millisecond, its frames are forwarded undecided and frames to
it are flooded, as in any switch that has not learned yet. So there is one truth about limits, moves and claims.

What is asked is not asked again until it was answered, or the next period has begun; questions are bounded per period.
"""

from __future__ import annotations

from collections.abc import Callable

from vxswitch.dataplane.port import TapPort
from vxswitch.fdb import Fdb, Hop, Peer, Row, Table
from vxswitch.groups import Family, GroupTable, Members
from vxswitch.model import Vtep
from vxswitch.wire.multicast import Message
from vxswitch.wire.neighbour import Said
from vxswitch.workers.messages import (
    Address,
    Groups,
    Heard,
    Learned,
    NetworkState,
    Overheard,
    Question,
    Rows,
    RowState,
    Seen,
    address,
)

QUESTIONS = 1024  # per period
_SEEN_ROWS = 1024  # in one message

Ask = Callable[[Table, bytes, Hop], None]
Tell = Callable[[Table, Hop, Said], None]


class ReplicaTable(Table):
    """A network's table that asks where others learn."""

    ask: Ask
    tell: Tell

    def learn(self, mac: bytes, hop: Hop, now: float) -> Row | None:
        """Refresh the row; what it does not explain is asked about."""
        row = self.rows.get(mac)
        if row is not None and row.hop is hop:
            row.seen = now
        elif row is None or self.may_move(row, hop):
            self.ask(self, mac, hop)
        return row

    def hear(self, hop: Hop, said: Said) -> None:
        """What stations say of themselves is the main process's to know."""
        self.tell(self, hop, said)


class Replica:
    """All tables of a worker. ``ports`` by number; ``tell`` sends a question, False: not now."""

    def __init__(self, fdb: Fdb, ports: dict[int, TapPort], tell: Callable[[Question], bool]) -> None:
        self._fdb = fdb
        self._ports = ports
        self._tell = tell
        self._asked: dict[tuple[int, bytes], Hop] = {}
        self._overheard = 0  # messages about groups in this period
        self._heard: set[tuple[int, Hop, Said]] = set()
        self._told_seen = 0.0

    # -- what the main process says ----------------------------------------------------------------------------------

    def network(self, state: NetworkState) -> None:
        """A network is new, or its policy or peers have changed."""
        table = self._fdb.tables.get(state.vni)
        if table is None:
            table = ReplicaTable(state.name, state.vni, mtu=state.mtu)
            table.ask, table.tell = self._ask, self._hear
            self._fdb.add(table)
        table.resize(state.mtu)
        table.learning, table.unknown = state.learning, state.unknown
        table.antispoof, table.vlan, table.suppress = state.antispoof, state.vlan, state.suppress
        senders: dict[str, Peer] = {}
        for told in state.senders:
            peer = self._fdb.peer(Vtep(*told.vtep))
            peer.node, peer.live, peer.static = told.node, told.live, told.static
            senders[peer.vtep.address] = peer
        table.set_peers((peer for peer in senders.values() if peer.live), state.suspended, senders)

    def rows(self, message: Rows, now: float) -> None:
        """Rows as they are now. ``now``: monotonic seconds."""
        table = self._fdb.tables[message.vni]
        for state in message.rows:
            self._asked.pop((message.vni, state.mac), None)
            hop = self._hop(state)
            table.bind(state.mac, state.ips)
            if hop is None:
                table.withdraw(state.mac)
            else:
                table.install(
                    state.mac,
                    hop,
                    state.source,
                    now,
                    given=state.given,
                    node=state.node,
                    flags=tuple(state.flags),
                    stale=state.stale,
                )

    def groups(self, message: Groups) -> None:
        """Who listens to what, as far as it has changed."""
        table = self._fdb.tables[message.vni]
        if not message.known:
            table.set_groups(None)
            return
        known = table.groups
        if known is None:
            known = GroupTable(table, lambda hop, said: self._overhear(table, hop, said))
        known.set_tellers(frozenset(message.tellers))
        for state in message.families:
            every = Members(self._ports_of(state.ports), frozenset(state.nodes))
            known.set_family(state.family, Family(every, self._ports_of(state.routers), state.open))
        for told in message.groups:
            known.put(told.group, Members(self._ports_of(told.ports), frozenset(told.nodes)))
        table.set_groups(known)

    def _ports_of(self, numbers: list[int]) -> frozenset[Hop]:
        return frozenset(self._ports[number] for number in numbers if number in self._ports)

    def _hop(self, state: RowState) -> Hop | None:
        if state.vtep is not None:
            return self._fdb.peer(Vtep(*state.vtep))
        return self._ports.get(state.port) if state.port is not None else None

    # -- what it is told ---------------------------------------------------------------------------------------------

    def _ask(self, table: Table, mac: bytes, hop: Hop) -> None:
        key = (table.vni, mac)
        if self._asked.get(key) is hop or len(self._asked) >= QUESTIONS:
            return
        if self._tell(Learned(table.vni, mac, *self._place(hop))):
            self._asked[key] = hop

    def _overhear(self, table: Table, hop: Hop, said: Message) -> None:
        """Hosts say what they listen to more than once, because words may get lost."""
        if self._overheard < QUESTIONS and self._tell(Overheard(table.vni, *self._place(hop), said)):
            self._overheard += 1

    def _place(self, hop: Hop) -> tuple[int | None, Address | None]:
        """The number of a port, or the address of a VTEP."""
        if isinstance(hop, Peer):
            return None, address(hop.vtep)
        return next((n for n, port in self._ports.items() if port is hop), None), None

    def _hear(self, table: Table, hop: Hop, said: Said) -> None:
        key = (table.vni, hop, said)
        number = next((n for n, port in self._ports.items() if port is hop), None)
        if number is None or key in self._heard or len(self._heard) >= QUESTIONS:
            return
        if self._tell(Heard(table.vni, number, said.kind, said.mac, said.ip, said.target, said.evidence)):
            self._heard.add(key)

    def new_period(self) -> None:
        """What was asked and not answered may be asked again, and what was told be told."""
        self._asked.clear()
        self._overheard = 0
        self._heard.clear()

    def seen(self, now: float) -> list[Seen]:
        """The learned MACs that have sent something since the last call."""
        since, self._told_seen = self._told_seen, now
        told: list[Seen] = []
        for vni, table in self._fdb.tables.items():
            rows = [(r.mac, r.seen) for rows in table.learned.values() for r in rows.values() if r.seen >= since]
            told += [Seen(vni, rows[at : at + _SEEN_ROWS]) for at in range(0, len(rows), _SEEN_ROWS)]
        return told
