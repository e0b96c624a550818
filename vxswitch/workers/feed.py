"""What changes in the tables of the main process, told to every worker (``fdb.Watcher``).

A change only leaves a mark; once the loop comes round, each marked network and row is told as it is by then. So a
snapshot of the store, or a port that goes with a thousand MACs, is a few messages. A *new* network is told at once,
because a port may follow it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from vxswitch.fdb import Fdb, Hop, Peer, Table
from vxswitch.groups import Family, GroupTable, Members
from vxswitch.workers.messages import (
    FamilyState,
    Groups,
    GroupState,
    NetworkGone,
    NetworkState,
    PeerState,
    Rows,
    RowState,
    address,
)

ROWS = 512  # in one message


class Feed:
    """See the head of this file. ``numbers``: of the ports that the workers know."""

    def __init__(
        self,
        fdb: Fdb,
        numbers: Mapping[Hop, int],
        *,
        tell: Callable[[msgspec.Struct], None],
        call_soon: Callable[[Callable[[], None]], object],
    ) -> None:
        self._fdb = fdb
        self._numbers = numbers
        self._tell = tell
        self._call_soon = call_soon
        self._told: set[int] = set()  # VNIs that the workers know
        self._networks: dict[int, None] = {}
        self._rows: dict[tuple[int, bytes], None] = {}
        self._groups: dict[int, dict[bytes, None]] = {}
        self._due = False

    def network(self, table: Table) -> None:
        """See ``fdb.Watcher``, as for all four."""
        if table.vni not in self._told:
            self._told.add(table.vni)
            self._tell(_state_of(table))
            return
        self._networks[table.vni] = None
        self._soon()

    def row(self, table: Table, mac: bytes) -> None:
        self._rows[(table.vni, mac)] = None
        self._soon()

    def groups(self, table: Table, group: bytes) -> None:
        self._groups.setdefault(table.vni, {})[group] = None
        self._soon()

    def gone(self, table: Table) -> None:
        self._told.discard(table.vni)
        self._tell(NetworkGone(table.vni))

    def flush(self) -> None:
        """Tell what is marked."""
        self._due = False
        networks, self._networks = self._networks, {}
        rows, self._rows = self._rows, {}
        groups, self._groups = self._groups, {}
        for vni in networks:
            table = self._fdb.tables.get(vni)
            if table is not None:
                self._tell(_state_of(table))
        for message in self._messages(rows):
            self._tell(message)
        for vni, marked in groups.items():
            table = self._fdb.tables.get(vni)
            if table is not None:
                for told in self._groups_of(table, list(marked)):
                    self._tell(told)

    def _soon(self) -> None:
        if not self._due:
            self._due = True
            self._call_soon(self.flush)

    def _messages(self, marked: dict[tuple[int, bytes], None]) -> Iterator[Rows]:
        by_vni: dict[int, list[RowState]] = {}
        for vni, mac in marked:
            table = self._fdb.tables.get(vni)
            if table is None:
                continue
            rows = by_vni.setdefault(vni, [])
            rows.append(self._row_of(table, mac))
            if len(rows) == ROWS:
                yield Rows(vni, by_vni.pop(vni))
        for vni, rows in by_vni.items():
            yield Rows(vni, rows)

    def _groups_of(self, table: Table, marked: list[bytes]) -> Iterator[Groups]:
        """The listeners of these groups now; with the empty one, everything anew."""
        known = table.groups
        if known is None or b"" in marked:
            yield Groups(table.vni, False, [], [], [])
        if known is None:
            return
        if b"" in marked:
            marked = list(known.members)
        families = [self._family_of(family, state) for family, state in known.families.items()]
        states = [self._group_of(known, group) for group in marked]
        for at in range(0, max(1, len(states)), ROWS):
            yield Groups(table.vni, True, sorted(known.tellers), families, states[at : at + ROWS])

    def _family_of(self, family: int, state: Family) -> FamilyState:
        every, routers = state.every, self._ports_of(state.routers)
        return FamilyState(family, self._ports_of(every.ports), sorted(every.nodes), routers, state.open)

    def _group_of(self, known: GroupTable, group: bytes) -> GroupState:
        members = known.members.get(group, Members())
        return GroupState(group, self._ports_of(members.ports), sorted(members.nodes))

    def _ports_of(self, ports: Iterable[Hop]) -> list[int]:
        return [number for port in ports if (number := self._numbers.get(port)) is not None]

    def _row_of(self, table: Table, mac: bytes) -> RowState:
        row = table.rows.get(mac)
        hop, ips = row.hop if row is not None else None, table.bindings.of(mac)
        if row is None or hop is None:
            return RowState(mac, ips=ips)
        port, vtep = (None, address(hop.vtep)) if isinstance(hop, Peer) else (self._numbers.get(hop), None)
        return RowState(mac, port, vtep, row.source, row.given, row.node, row.flags, row.stale, ips)


def _state_of(table: Table) -> NetworkState:
    senders = [PeerState(address(p.vtep), p.node, p.live, p.static) for p in table.senders.values()]
    return NetworkState(
        table.vni,
        table.name,
        table.mtu,
        table.learning,
        table.unknown,
        table.antispoof,
        table.vlan,
        table.suppress,
        table.suspended,
        senders,
    )
