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

from vxswitch.fdb.hops import Hop, LocalPort, Peer, Row, Source
from vxswitch.fdb.table import Table, VlanPolicy, Watcher
from vxswitch.model import Vtep

__all__ = ["Fdb", "Hop", "LocalPort", "Peer", "Row", "Source", "Table", "VlanPolicy", "Watcher"]


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
