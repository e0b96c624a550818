"""``vxswitch fdb --why MAC``: where a row comes from, and what it means for a frame now.

One document per network that has the MAC, in the table or in this node's copy of the store. Everything is read where
it stands: the row, the claim behind it, the port that it stands behind or the node that owns it, the changes of it that
the store's log still has, and the way that a frame to it would take (the real stages, run dry).
"""

from __future__ import annotations

from typing import Any

from vxswitch.control.commands import Commands, Trace
from vxswitch.control.patience import deadline, patiently
from vxswitch.control.views import Rooms, Views
from vxswitch.errors import NotFoundError, StoreUnavailableError, VxswitchError
from vxswitch.fdb import LocalPort, Row, Table
from vxswitch.model import Claim, LogEntry, format_mac, parse_mac


class Why:
    """Answers; changes nothing."""

    def __init__(self, rooms: Rooms, views: Views, commands: Commands) -> None:
        self._rooms = rooms
        self._views = views
        self._commands = commands

    async def tell(self, mac_text: str, network: str | None) -> list[dict[str, Any]]:
        """All networks that have the MAC; one that is named tells its history even if it has it no more.

        NotFoundError if no network is named and none has it.
        """
        mac, rooms = parse_mac(mac_text), self._rooms
        if network is not None:
            return [await self._tell(rooms.networks.forwarding(network)[1], mac)]
        tables = [t for t in rooms.fdb.tables.values() if mac in t.rows or self._claim(t, mac) is not None]
        if not tables:
            raise NotFoundError(f"no network of this node has {mac_text}: name one to see what its log has of it")
        return [await self._tell(table, mac) for table in sorted(tables, key=lambda table: table.name)]

    async def _tell(self, table: Table, mac: bytes) -> dict[str, Any]:
        row, claim, now = table.rows.get(mac), self._claim(table, mac), self._rooms.clock()
        history, reason = await self._history(table, mac)
        return {
            "network": table.name,
            "vni": table.vni,
            "mac": format_mac(mac),
            "row": self._views.row(table, row, now) | _row_times(row, now) if row is not None else None,
            "claim": _claim_view(claim) if claim is not None else None,
            "waiting": self._rooms.announcer.pending(table.vni, mac),
            "port": self._port(table, mac, row),
            "owner": self._owner(claim),
            "history": history,
            "history_reason": reason,
            "trace": self._trace(table, mac),
        }

    def _claim(self, table: Table, mac: bytes) -> Claim | None:
        mirror = self._rooms.reconciler.mirrors.get(table.vni)
        return mirror.rows.get(mac) if mirror is not None else None

    # -- who has it ------------------------------------------------------------------------------------------------

    def _port(self, table: Table, mac: bytes, row: Row | None) -> dict[str, Any] | None:
        """The local port that the row stands behind, or that the MAC was given to and that waits for its TAP."""
        entry = self._rooms.ports.with_mac(table.vni, mac)
        port_id = row.hop.id if row is not None and isinstance(row.hop, LocalPort) else None
        if port_id is None and entry is not None:
            port_id = entry.record.id
        keys = ("id", "netns", "ifname", "mac", "ips", "state", "rx_frames", "tx_frames")
        views = (view for view in self._rooms.ports.view() if view["id"] == port_id)
        found = next(views, None)
        return {key: found[key] for key in keys} if found is not None else None

    def _owner(self, claim: Claim | None) -> dict[str, Any] | None:
        """The node that claims it, as ``vxswitch peers`` shows it."""
        if claim is None:
            return None
        if claim.uid == self._rooms.node.uid:
            return {"node": claim.node, "vtep": str(self._rooms.node.vteps[0]), "state": "self"}
        return next((peer for peer in self._views.peers() if peer["node"] == claim.node), None)

    # -- what was, and what would be ---------------------------------------------------------------------------------

    async def _history(self, table: Table, mac: bytes) -> tuple[list[dict[str, Any]], str | None]:
        """The changes of the MAC, oldest first, or why they cannot be had now."""
        try:
            entries = await patiently(self._rooms.store.history(table.vni, mac), deadline())
        except StoreUnavailableError as error:
            return [], str(error)
        return [_entry_view(entry) for entry in entries], None

    def _trace(self, table: Table, mac: bytes) -> list[dict[str, Any]]:
        """A frame to the MAC, from a local port's if there is one, else from another node's."""
        others = [row for row in table.rows.values() if row.mac != mac and row.hop is not None]
        local = (row for row in others if isinstance(row.hop, LocalPort))
        source = next(local, None) or next(iter(others), None)
        if source is None:
            return []
        wanted = Trace(network=table.name, src=format_mac(source.mac), dst=format_mac(mac))
        try:
            return self._commands.trace(wanted)
        except VxswitchError as error:
            return [{"stage": "trace", "verdict": "failed", "detail": str(error)}]


def _row_times(row: Row, now: float) -> dict[str, Any]:
    """How long it stands as it does, and since when its MAC sent nothing (both as this node saw it)."""
    local = row.hop is not None and row.hop.local
    return {"held": round(now - row.since, 3), "silent": round(now - row.seen, 3) if local else None}


def _claim_view(claim: Claim) -> dict[str, Any]:
    return {
        "node": claim.node,
        "uid": claim.uid,
        "epoch": claim.epoch,
        "vteps": [str(vtep) for vtep in claim.vteps],
        "ips": list(claim.ips),
        "flags": list(claim.flags),
        "since": claim.since,
        "rev": claim.rev,
    }


def _entry_view(entry: LogEntry) -> dict[str, Any]:
    return {
        "rev": entry.rev,
        "kind": entry.kind,
        "time": entry.time or None,
        "node": entry.node,
        "detail": entry.detail,
    }
