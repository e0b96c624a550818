"""A node as the tests see it: a store, the MACs that its ports have, and all that its events said."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from vxswitch.model import (
    Claim,
    Claimed,
    Event,
    GroupsChanged,
    LeaseState,
    MemberJoined,
    MemberLeft,
    NodeRecord,
    Snapshot,
    Vtep,
    Withdrawn,
)
from vxswitch.store.base import ClaimResult, Evidence, LocalMac, Store
from vxswitch.store.rules import Rules

FAST = Rules(
    lease=1.0,
    beat=0.2,
    grace=2.0,
    hold_down=0.3,
    quarantine=0.5,
    freeze=1.0,
    connect_timeout=0.5,
    command_timeout=0.5,
    backoff_max=0.4,
    max_rows=20,
)


def mac(number: int) -> bytes:
    """A MAC by number."""
    return b"\x02\x00" + number.to_bytes(4, "big")


def record(name: str, *, uid: str = "", epoch: int = 1, address: str = "") -> NodeRecord:
    """A node; its VTEP's address is made of its name unless told."""
    vtep = Vtep(address or f"10.0.{sum(name.encode()) % 256}.{len(name)}")
    return NodeRecord(name, uid or f"uid-{name}", epoch, (vtep,), "1.0")


@dataclass
class Table:
    """What a consumer that diffs snapshots has of one VNI."""

    rows: dict[bytes, Claim] = field(default_factory=dict)
    members: dict[str, NodeRecord] = field(default_factory=dict)
    groups: dict[str, frozenset[str]] = field(default_factory=dict)
    snapshots: list[str] = field(default_factory=list)
    removed: list[bytes] = field(default_factory=list)  # MACs that were there and went, in order


class Node:
    """See the head of this file."""

    def __init__(self, store: Store, node: NodeRecord) -> None:
        self.store = store
        self.node = node
        self.ports: dict[int, dict[bytes, LocalMac]] = {}
        self.tables: dict[int, Table] = {}
        self.leases: LeaseState | None = None
        self.events: list[Event] = []
        self.hears: set[str] = set()  # the nodes that probes hear
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> Node:
        """Start the store, and follow its events."""
        await self.store.start(self.node, self.reassert, lambda name: name in self.hears)
        self._task = asyncio.create_task(self._follow())
        return self

    async def close(self, *, leave: bool = False) -> None:
        """Stop the store; ``events`` must end."""
        await self.store.close(leave=leave)
        if self._task is not None:
            await asyncio.wait_for(self._task, 5)

    def reassert(self, vni: int) -> Iterable[LocalMac]:
        """All MACs behind this node's ports."""
        return list(self.ports.get(vni, {}).values())

    async def attach(
        self,
        vni: int,
        number: int,
        evidence: Evidence = "attach",
        ips: tuple[str, ...] = (),
        flags: tuple[str, ...] = (),
    ) -> ClaimResult:
        """A MAC appears behind a port."""
        local = LocalMac(vni, mac(number), evidence, ips, flags)
        self.ports.setdefault(vni, {})[local.mac] = local
        return (await self.store.claim([local]))[0]

    async def detach(self, vni: int, number: int) -> None:
        """A port goes."""
        self.ports.get(vni, {}).pop(mac(number), None)
        await self.store.release([(vni, mac(number))])

    def owners(self, vni: int) -> dict[int, str]:
        """Who has which MAC, as this node knows it."""
        return {int.from_bytes(m[2:], "big"): row.node for m, row in self.table(vni).rows.items()}

    def live(self) -> set[str]:
        """Nodes with a live lease, as this node knows them."""
        return set(self.leases.seconds_left) if self.leases else set()

    def departed(self) -> set[str]:
        """Nodes that took their lease back themselves, as this node knows them."""
        return set(self.leases.left) if self.leases else set()

    def table(self, vni: int) -> Table:
        """What this node knows of a VNI."""
        return self.tables.setdefault(vni, Table())

    def has(self, vni: int, owners: dict[int, str]) -> Callable[[], bool]:
        """A condition: this node knows exactly these owners."""
        return lambda: self.owners(vni) == owners

    async def _follow(self) -> None:
        async for event in self.store.events():
            self.events.append(event)
            self._apply(event)

    def _apply(self, event: Event) -> None:
        match event:
            case LeaseState():
                self.leases = event
            case Snapshot():
                table = self.table(event.vni)
                rows = {row.mac: row for row in event.rows}
                table.removed += [known for known in table.rows if known not in rows]
                table.rows, table.members = rows, {node.name: node for node in event.members}
                table.groups = dict(event.groups)
                table.snapshots.append(event.reason)
            case Claimed(claim):
                self.table(claim.vni).rows[claim.mac] = claim
            case Withdrawn(vni, gone, _):
                if self.table(vni).rows.pop(gone, None):
                    self.table(vni).removed.append(gone)
            case MemberJoined(vni, node, _):
                self.table(vni).members[node.name] = node
            case MemberLeft(vni, name, _):
                self.table(vni).members.pop(name, None)
            case GroupsChanged(vni, name, groups, _):
                self.table(vni).groups[name] = groups
                if not groups:
                    del self.table(vni).groups[name]
