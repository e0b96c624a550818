"""The store of a switch without one: peers come from the configuration, MACs are learned from the underlay.

It knows nothing and forgets nothing: calls that only tell it something succeed, calls that need a shared memory (a
VNI or an address to be chosen for everyone) are usage errors that say what to write instead.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable

from vxswitch.errors import NotFoundError, UsageError
from vxswitch.model import Claim, Event, LogEntry, NetworkRecord, NodeRecord, check_network_name, check_vni
from vxswitch.store.base import ClaimResult, LocalMac, StoreCounts, StoreStatus, VniDigest, deaf
from vxswitch.store.rules import Clock


class StaticStore:
    """See the head of this file and vxswitch/store/base.py."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._status = StoreStatus("static:", "static", None, (clock or Clock()).wall(), None)
        self._counts = StoreCounts()
        self._node = NodeRecord("", "", 0, ())
        self._closed = asyncio.Event()

    @property
    def counts(self) -> StoreCounts:
        """All zero."""
        return self._counts

    @property
    def node(self) -> NodeRecord:
        """This node as it started."""
        return self._node

    def status(self) -> StoreStatus:
        """State ``static``."""
        return self._status

    def retime(self, lease: float, beat: float, grace: float) -> None:
        """Nothing here has a lease."""

    async def start(
        self,
        node: NodeRecord,
        reassert: Callable[[int], Iterable[LocalMac]],
        heard: Callable[[str], bool] = deaf,
    ) -> None:
        """Note who we are."""
        self._node = node

    async def close(self, *, leave: bool) -> None:
        """End ``events``."""
        self._closed.set()

    async def events(self) -> AsyncIterator[Event]:
        """Nothing, for as long as the switch runs."""
        await self._closed.wait()
        return
        yield  # makes this an iterator

    async def networks(self) -> list[NetworkRecord]:
        """None: networks are what this node's configuration says."""
        return []

    async def create_network(self, record: NetworkRecord, *, again: bool = False) -> NetworkRecord:
        """The record as it is; without a VNI there is nobody to choose one."""
        check_network_name(record.name)
        if record.vni == 0:
            raise UsageError(f"network {record.name}: static: has no VNI allocator, give =VNI")
        check_vni(record.vni)
        return record

    async def get_network(self, name: str) -> NetworkRecord | None:
        """None."""
        return None

    async def remove_network(self, name: str) -> None:
        """There is no record to remove."""
        raise NotFoundError(f"network {name}: static: keeps no networks")

    async def join(self, vni: int) -> None:
        """Nobody to tell."""

    async def leave(self, vni: int) -> None:
        """Nobody to tell."""

    async def claim(self, macs: list[LocalMac]) -> list[ClaimResult]:
        """Every MAC is ours: there is no other owner that could be known."""
        node = self._node
        return [
            ClaimResult(Claim(m.vni, m.mac, node.name, node.uid, node.epoch, node.vteps, m.ips, m.flags)) for m in macs
        ]

    async def release(self, macs: list[tuple[int, bytes]]) -> None:
        """Nobody to tell."""

    async def set_groups(self, vni: int, groups: frozenset[str]) -> None:
        """Nobody to tell."""

    async def history(self, vni: int, mac: bytes | None = None, limit: int = 64) -> list[LogEntry]:
        """Nothing is written down."""
        return []

    async def digest(self, vni: int) -> VniDigest:
        """An empty table."""
        return VniDigest(0, f"{0:016x}", 0)

    def mirror_digest(self, vni: int) -> VniDigest | None:
        """None: there is nothing to compare."""
        return None

    async def resync(self, vni: int) -> None:
        """There is nothing to read."""

    def applied(self, vni: int, rev: int) -> None:
        """Nobody to tell."""

    async def acks(self, vni: int) -> dict[str, int]:
        """Nobody says anything."""
        return {}

    async def thaw(self, vni: int, mac: bytes) -> None:
        """Nothing is ever frozen."""
        raise NotFoundError(f"MAC {mac.hex(':')} is not frozen")

    async def allocate_ip(self, vni: int, subnet: str, owner: str) -> str:
        """There is no memory that all nodes share."""
        raise UsageError("static: cannot allocate addresses, give --ip ADDRESS/LENGTH")

    async def reserve_ip(self, vni: int, subnet: str, address: str, owner: str) -> None:
        """Nobody to tell."""

    async def release_ip(self, vni: int, owner: str) -> None:
        """Nobody to tell."""
