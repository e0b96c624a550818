"""``vxswitch verify``: is what this node forwards by what the store says, and what the other nodes have?

Four accounts of each network are put side by side: the table that frames go by, this node's copy of the store's rows
(rev and digest from memory), the store itself (it adds its rows up anew), and how far the other live nodes say they
have read. While changes flow the four are never at the same rev for long, so a network that differs is looked at again
until it agrees or patience ends: what still differs then is real.

``repair`` has the network read anew from the store and diffed, puts right what differs in the table row by row, and
claims again what stands behind our ports and is nobody else's. It says what that changed.
"""

from __future__ import annotations

import asyncio
from typing import Any

from vxswitch.control.barrier import newest_change, reached_by
from vxswitch.control.drift import Drift, drifts
from vxswitch.control.events import Listener
from vxswitch.control.network import Network
from vxswitch.control.patience import PATIENCE, deadline, patiently
from vxswitch.control.views import Rooms
from vxswitch.errors import StoreUnavailableError, UsageError, VxswitchError
from vxswitch.fdb import Table
from vxswitch.model import format_mac
from vxswitch.store.base import VniDigest

SHOWN = 64  # rows that differ, and changes, that one answer names for a network
_PAUSE = 0.05  # seconds between two looks


class Verify:
    """Compares, and repairs when asked to."""

    def __init__(self, rooms: Rooms, patience: float = PATIENCE) -> None:
        self._rooms = rooms
        self._patience = patience  # seconds for a check of all that was asked, and for the repair of one network

    async def check(self, name: str | None) -> list[dict[str, Any]]:
        """One network, or all that forward here. NotFoundError, UsageError without a store."""
        until = deadline(self._patience)
        return [await self._settled(network, table, until) for network, table in self._asked(name)]

    async def repair(self, name: str | None) -> list[dict[str, Any]]:
        """The same after putting right what differs; ``changed`` says what that was."""
        return [await self._repair(network, table) for network, table in self._asked(name)]

    def _asked(self, name: str | None) -> list[tuple[Network, Table]]:
        networks = self._rooms.networks
        if not networks.recorded:
            raise UsageError("verify: static: keeps no table that there could be a copy of")
        if name is not None:
            return [networks.forwarding(name)]
        return [(n, n.table) for _, n in sorted(networks.by_name.items()) if n.table is not None]

    # -- compare ---------------------------------------------------------------------------------------------------

    async def _settled(self, network: Network, table: Table, until: float) -> dict[str, Any]:
        while True:
            found = await self._compare(network, table, until)
            if found["same"] or deadline(_PAUSE) >= until:
                return found
            await asyncio.sleep(_PAUSE)

    async def _compare(self, network: Network, table: Table, until: float) -> dict[str, Any]:
        store = self._rooms.store
        theirs, peers, away = None, {}, None
        try:
            theirs = await patiently(store.digest(table.vni), until)
            peers = await self._peers(table.vni, until)
        except StoreUnavailableError as error:
            away = str(error)
        ours = store.mirror_digest(table.vni)
        drift = self._drift(table)
        reasons = [away] if away else _differences(ours, theirs)
        if not network.settled.is_set():
            reasons.append(f"it is not settled with the store: {network.reason or network.state}")
        if drift:
            reasons.append(f"{len(drift)} rows of the table differ from the copy")
        reasons += [f"node {node} has read to rev {peer['rev']}" for node, peer in peers.items() if not peer["same"]]
        return {
            "network": table.name,
            "vni": table.vni,
            "rev": ours.rev if ours is not None else None,
            "digest": ours.digest if ours is not None else None,
            "rows": ours.rows if ours is not None else None,
            "store_rev": theirs.rev if theirs is not None else None,
            "store_digest": theirs.digest if theirs is not None else None,
            "store_rows": theirs.rows if theirs is not None else None,
            "peers": peers,
            "drifted": len(drift),
            "drift": [_drift_view(each) for each in drift[:SHOWN]],
            "same": not reasons,
            "reasons": reasons,
        }

    def _drift(self, table: Table) -> list[Drift]:
        mirror = self._rooms.reconciler.mirrors.get(table.vni)
        return list(drifts(self._rooms, table, mirror)) if mirror is not None else []

    async def _peers(self, vni: int, until: float) -> dict[str, dict[str, Any]]:
        """The other live nodes: how far their tables have come, and whether that is as far as there is."""
        newest = await newest_change(self._rooms.store, vni, until)
        reached = await reached_by(self._rooms, vni, until)
        del reached[self._rooms.node.name]
        return {name: {"rev": rev, "same": rev is not None and rev >= newest} for name, rev in sorted(reached.items())}

    # -- repair ----------------------------------------------------------------------------------------------------

    async def _repair(self, network: Network, table: Table) -> dict[str, Any]:
        until = deadline(self._patience)
        with self._rooms.events.listening() as listener:
            drift = {each.mac: each for each in self._drift(table)}
            read_anew = await self._read_anew(table, listener, until)
            for each in self._drift(table):
                drift.setdefault(each.mac, each)
                self._rooms.reconciler.mend(table.vni, each.mac)
            claimed = self._rooms.reconciler.claim_again(table.vni)
            self._rooms.events.tell("table.repaired", network=table.name, rows=len(drift), claimed=claimed)
        found = await self._settled(network, table, deadline(self._patience))
        changes = [_event_view(e) for e in read_anew if e["event"].startswith("row.") and e["network"] == table.name]
        changes += [_drift_view(each) for each in drift.values()]
        missed = sum(e["count"] for e in read_anew if e["event"] == "monitor.missed")
        return {**found, "changed": changes[:SHOWN], "changes": len(changes) + missed, "claimed_again": claimed}

    async def _read_anew(self, table: Table, listener: Listener, until: float) -> list[dict[str, Any]]:
        """The events up to the snapshot that we asked for; StoreUnavailableError if none comes."""
        await patiently(self._rooms.store.resync(table.vni), until)
        heard: list[dict[str, Any]] = []
        while not any(e["event"] == "table.resync" and e["network"] == table.name for e in heard):
            if deadline(0.0) >= until:
                raise VxswitchError(f"verify: network {table.name!r} was not read anew in time: see `vxswitch status`")
            heard += await listener.take(_PAUSE)
        return heard


def _differences(ours: VniDigest | None, theirs: VniDigest | None) -> list[str]:
    if ours is None or theirs is None:
        return ["this node has not read it from the store yet"]
    if ours.rev != theirs.rev:
        return [f"the store is at rev {theirs.rev}, the copy at {ours.rev}"]
    if ours.digest != theirs.digest:
        return [f"the digests differ: the store has {theirs.rows} rows, the copy {ours.rows}"]
    return []


def _drift_view(each: Drift) -> dict[str, Any]:
    return {"mac": format_mac(each.mac), "what": each.what, "table": each.table, "copy": each.copy}


def _event_view(event: dict[str, Any]) -> dict[str, Any]:
    """A change that the snapshot brought, in the same shape."""
    what, now = event["event"].partition(".")[2], event["node"]
    return {"mac": event["mac"], "what": what, "table": event.get("was"), "copy": now}
