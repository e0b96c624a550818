"""What changes in the tables of the main process, told to every worker (``fdb.Watcher``).

A change only leaves a mark; once the loop comes round, each marked network and row is told as it is by then. So a
snapshot of the store, or a port that goes with a thousand MACs, is a few messages. A *new* network is told at once,
because a port may follow it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import msgspec

from vxswitch.fdb import Fdb, Hop, Peer, Table
from vxswitch.workers.messages import NetworkGone, NetworkState, PeerState, Rows, RowState, address

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
        self._due = False

    def network(self, table: Table) -> None:
        """See ``fdb.Watcher``, as for all three."""
        if table.vni not in self._told:
            self._told.add(table.vni)
            self._tell(_state_of(table))
            return
        self._networks[table.vni] = None
        self._soon()

    def row(self, table: Table, mac: bytes) -> None:
        self._rows[(table.vni, mac)] = None
        self._soon()

    def gone(self, table: Table) -> None:
        self._told.discard(table.vni)
        self._tell(NetworkGone(table.vni))

    def flush(self) -> None:
        """Tell what is marked."""
        self._due = False
        networks, self._networks = self._networks, {}
        rows, self._rows = self._rows, {}
        for vni in networks:
            table = self._fdb.tables.get(vni)
            if table is not None:
                self._tell(_state_of(table))
        for message in self._messages(rows):
            self._tell(message)

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

    def _row_of(self, table: Table, mac: bytes) -> RowState:
        row = table.rows.get(mac)
        hop = row.hop if row is not None else None
        if row is None or hop is None:
            return RowState(mac)
        if isinstance(hop, Peer):
            return RowState(mac, None, address(hop.vtep), row.source, row.given, row.node, row.flags)
        return RowState(mac, self._numbers.get(hop), None, row.source, row.given, row.node, row.flags)


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
        table.suspended,
        senders,
    )
