"""What the switch tells of itself, as JSON values: the one place where field names of the interface are written.

MACs are text with colons, VTEPs ``ADDR:PORT``, times seconds; what is unknown is None and never left out. Nothing here
changes anything. The forwarding table may be large: ``fdb`` gives it away in slices and lets the loop breathe between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from vxswitch import __version__
from vxswitch.bindings import unpack
from vxswitch.control.announcer import Announcer
from vxswitch.control.convergence import Convergence
from vxswitch.control.devices import Devices
from vxswitch.control.doors import Clock, DataPlane
from vxswitch.control.events import Events
from vxswitch.control.groups import Groups
from vxswitch.control.joining import Joining
from vxswitch.control.networks import Networks
from vxswitch.control.peers import Peers
from vxswitch.control.ports import Ports
from vxswitch.control.prober import Prober
from vxswitch.control.reconciler import Reconciler
from vxswitch.control.vteps import VtepWatch
from vxswitch.fdb import Fdb, LocalPort, Peer, Row, Table
from vxswitch.model import NodeRecord, Vtep, format_mac
from vxswitch.store.base import Store

FLOOD_MAC = "00:00:00:00:00:00"  # as `bridge fdb` shows the VTEPs to flood to
_SLICE = 512  # rows between two breaths of the loop


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooms:
    """Everything that there is to tell about."""

    node: NodeRecord
    fdb: Fdb
    plane: DataPlane
    store: Store
    networks: Networks
    joining: Joining
    peers: Peers
    prober: Prober
    ports: Ports
    announcer: Announcer
    reconciler: Reconciler
    groups: Groups
    vteps: VtepWatch
    devices: Devices
    events: Events
    convergence: Convergence
    clock: Clock


class Views:
    """The documents of the control API."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._began = rooms.clock()

    def status(self) -> dict[str, Any]:
        """``vxswitch status``."""
        rooms = self._rooms
        offered, delivered = rooms.plane.frames()
        keys = ("name", "vni", "mtu", "learning", "state")
        return {
            "node": rooms.node.name,
            "epoch": rooms.node.epoch,
            "version": __version__,
            "uptime": round(rooms.clock() - self._began, 3),
            "vteps": [str(vtep) for vtep in rooms.node.vteps],
            "store": self.store(),
            "networks": [{key: network[key] for key in keys} for network in self.networks()],
            "ports": len(rooms.ports.entries),
            "macs": sum(len(table.rows) for table in rooms.fdb.tables.values()),
            "frames": {"in": offered, "out": delivered},
            "drops": sum(rooms.plane.drops().values()),
            "degraded": [
                *rooms.vteps.degraded,
                *rooms.devices.degraded(rooms.fdb.tables.values()),
                *rooms.prober.degraded,
            ],
            "underlay": rooms.devices.view(),
        }

    def store(self) -> dict[str, Any]:
        """The store, as it was when it last answered."""
        status = self._rooms.store.status()
        return {
            "url": status.url,
            "state": status.state,
            "reason": status.reason,
            "since": status.since,
            "rtt_ms": status.rtt_ms,
        }

    def networks(self) -> list[dict[str, Any]]:
        """The networks of this node, by name."""
        return [network.view() for _, network in sorted(self._rooms.networks.by_name.items())]

    def ports(self) -> list[dict[str, Any]]:
        """``vxswitch ports``, with links as they are now."""
        self._rooms.plane.poll(self._rooms.clock())
        return self._rooms.ports.view()

    def peers(self) -> list[dict[str, Any]]:
        """``vxswitch peers``."""
        return self._rooms.peers.view(self._rooms.networks.name_of)

    def drops(self) -> dict[str, int]:
        """``vxswitch drops``: every reason, zeros included."""
        return self._rooms.plane.drops()

    def stats(self) -> dict[str, Any]:
        """``vxswitch stats``: what is counted and is no drop."""
        rooms, counts = self._rooms, self._rooms.store.counts
        offered, delivered = rooms.plane.frames()
        return {
            "frames_in": offered,
            "frames_out": delivered,
            **rooms.plane.stats.as_dict(),
            "claims_waiting": rooms.announcer.backlog,
            "neighbours": len(rooms.announcer.neighbours),
            "neighbours_refused": rooms.announcer.neighbours.refused,
            "neighbours_given_up": rooms.announcer.neighbours.given_up,
            "macs_frozen": rooms.reconciler.freezes,
            "claims_refused": dict(rooms.announcer.refused),
            "peers_unreachable": rooms.peers.unreachable,
            "resyncs": dict(counts.resyncs),
            "store_errors": dict(counts.errors),
            "store_poisoned": counts.poisoned,
            "store_connects": counts.connects,
            "store_beats": counts.beats,
            "convergence": rooms.convergence.view(),
            "monitors": rooms.events.listeners,
        }

    async def fdb(self, tables: Iterable[Table]) -> list[dict[str, Any]]:
        """``vxswitch fdb``: the rows of these tables, then whom they flood to."""
        shown: list[dict[str, Any]] = []
        now = self._rooms.clock()
        for table in tables:
            for row in list(table.rows.values()):
                if row.hop is not None:
                    shown.append(self.row(table, row, now))
                if len(shown) % _SLICE == 0:
                    await asyncio.sleep(0)
            shown += [_flood_row(table, peer) for peer in table.flood]
        return shown

    def row(self, table: Table, row: Row, now: float) -> dict[str, Any]:
        """One row of ``vxswitch fdb``."""
        hop, source = row.hop, row.basis
        remote = hop.vtep if isinstance(hop, Peer) else None
        return {
            "network": table.name,
            "vni": table.vni,
            "mac": format_mac(row.mac),
            "hop": "remote" if remote is not None else "local",
            "port": hop.id if isinstance(hop, LocalPort) else None,
            "vtep": str(remote if remote is not None else self._own(table)),
            "node": (row.node or _node_of(hop)) if remote is not None else self._rooms.node.name,
            "flags": [*row.flags, *(["stale"] if row.stale else [])],
            "source": source,
            "age": round(max(0.0, now - row.seen), 3) if source == "learned" else None,
            "rev": row.rev if source == "claimed" else None,
            "ips": [unpack(address) for address in table.bindings.of(row.mac)],
        }

    def _own(self, table: Table) -> Vtep:
        return self._rooms.node.vteps[0]


def _node_of(hop: object) -> str | None:
    return hop.node if isinstance(hop, Peer) else None


def _flood_row(table: Table, peer: Peer) -> dict[str, Any]:
    return {
        "network": table.name,
        "vni": table.vni,
        "mac": FLOOD_MAC,
        "hop": "flood",
        "port": None,
        "vtep": str(peer.vtep),
        "node": peer.node,
        "flags": [],
        "source": "claimed" if peer.node is not None else "static",
        "age": None,
        "rev": None,
        "ips": [],
    }
