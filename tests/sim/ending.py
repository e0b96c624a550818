"""What has to be true after the last fault, when all has been calm for ``SETTLE`` seconds at most.

The store has exactly the rows of the containers there are, and the networks. Every switch has read the same (rev and
digest), its tables say where the containers are and nothing else, and it floods to all others that live. Every
container reaches every other one of its network. Where all nodes are dead nobody is left to see to any of this.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.sim.node import Container, Process
from tests.sim.rules import TICK
from tests.sim.store import READ_LAG
from vxswitch.fdb import Table

if TYPE_CHECKING:
    from tests.sim.world import World

LOOK = TICK / 2  # seconds: of two looks, one comes late enough after a tick ...
assert max(READ_LAG) + 0.02 < LOOK  # ... for what containers said at it to be claimed, and read by all


class Ending:
    """See the head of this file."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.wrong: list[str] = []
        self.is_right = world.witness.standing.is_right

    async def check(self, patience: float = 0.0) -> None:
        """Wait ``patience`` seconds at most until nothing is wrong, say what is, and try whether frames agree."""
        until = self.world.loop.now + patience
        while self._look() and self.world.loop.now < until:  # noqa: ASYNC110 - nobody tells when
            await asyncio.sleep(LOOK)
        for what in self.wrong:
            self.world.witness.say(what)
        self.world.ping_all()
        await asyncio.sleep(TICK)
        self.world.witness.look(late=0.0)

    def _look(self) -> bool:
        """Whether anything is wrong; it is in ``wrong`` then."""
        self.wrong = []
        if not any(self.world.processes):  # the dead are reaped by nodes, not by the store itself
            return False
        for network in self.world.networks:
            self._check_store(int(str(network["vni"])), str(network["name"]))
            for process in self.world.processes:
                self._check_process(process, int(str(network["vni"])))
        return bool(self.wrong)

    def _check_process(self, process: Process, vni: int) -> None:
        table = process.switch.fdb.tables.get(vni)
        if table is None or vni not in process.reconciler.mirrors or vni not in process.store._mirrors:
            self.wrong.append(f"{process.host.name}: VNI {vni} is not up")
            return
        self._check_copy(process, vni)
        self._check_table(process, table)

    def _there(self, vni: int) -> dict[bytes, Container]:
        """Who should be known, by MAC."""
        placed = [c for c in self.world.containers if c.vni == vni and self.world.process_of(c) is not None]
        return {c.mac: c for c in placed}

    def _unseen(self, vni: int) -> set[bytes]:
        """Guests on dead hosts: no port told that they went, so they are where they were until their rows age."""
        world = self.world
        return {c.mac for c in world.containers if c.vni == vni and c.guest and world.process_of(c) is None}

    def _check_store(self, vni: int, name: str) -> None:
        truth = self.world.server.hub.table(vni).truth
        owners = {mac: row.node for mac, row in truth.rows.items() if mac not in self._unseen(vni)}
        wanted = {mac: str(c.host) for mac, c in self._there(vni).items()}
        if owners != wanted:
            self.wrong.append(f"store, VNI {vni}: rows {_named(owners)}, want {_named(wanted)}")
        live = {process.host.name for process in self.world.processes}
        if set(truth.members) != live:
            self.wrong.append(f"store, VNI {vni}: members {sorted(truth.members)}, want {sorted(live)}")
        if name not in self.world.server.hub.records.networks:
            self.wrong.append(f"store: network {name} has no record")
        frozen = [mac.hex(":") for mac, row in truth.rows.items() if "frozen" in row.flags]
        if any((vni, bytes.fromhex(mac.replace(":", ""))) not in self.world.witness.doubled for mac in frozen):
            self.wrong.append(f"store, VNI {vni}: frozen {frozen}")

    def _check_copy(self, process: Process, vni: int) -> None:
        truth = self.world.server.hub.table(vni).truth
        mirror = process.store._mirrors[vni]
        known = process.reconciler.mirrors[vni]
        name = process.host.name
        if (mirror.gen, mirror.rev, mirror.digest) != (truth.gen, truth.rev, truth.digest):
            self.wrong.append(
                f"{name}: mirror of VNI {vni} at rev {mirror.rev}, store at {truth.rev}, or their digests differ"
            )
        if known.rows != truth.rows:
            self.wrong.append(f"{name}: its claims of VNI {vni} are not the store's")
        others = {p.host.address for p in self.world.processes if p is not process}
        flooded = [peer.vtep.address for peer in process.switch.fdb.tables[vni].flood]
        if sorted(flooded) != sorted(others):
            self.wrong.append(f"{name}: floods VNI {vni} to {sorted(flooded)}, want {sorted(others)}")
        if process.announcer.backlog:
            self.wrong.append(f"{name}: {process.announcer.backlog} claims wait")

    def _check_table(self, process: Process, table: Table) -> None:
        there = self._there(table.vni)
        for mac, container in there.items():
            if not self.is_right(process, table, container):
                row = table.rows.get(mac)
                self.wrong.append(
                    f"{process.host.name}: {container} of VNI {table.vni} stands at {row.hop if row else None}"
                )
        for mac in table.rows.keys() - there.keys() - self._unseen(table.vni):
            self.wrong.append(f"{process.host.name}: VNI {table.vni} has {mac.hex(':')}, which is nowhere")


def _named(owners: dict[bytes, str]) -> str:
    return " ".join(f"{mac[4]:x}{mac[5]:02x}@{node}" for mac, node in sorted(owners.items()))
