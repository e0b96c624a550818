"""What has to be true, at every moment and at the end. The witness only looks; it is told what was sent and delivered.

At every moment
    no frame comes out in another network than it was sent in, and none comes out of one port twice
    a ping between containers whose hosts, places, path and store have been calm for ``BOUND`` seconds arrives
    a row that was right stays right as long as only the store has trouble (fail static)
    nothing is frozen but MACs that were at two places
After the last fault and ``SETTLE`` seconds
    the store has exactly the rows of the containers there are, and the networks
    every switch has read the same (rev and digest), its tables say where the containers are, and nothing else
    every switch floods to all others that live
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tests.sim import calm
from tests.sim.node import Container, Process
from vxswitch.fdb import Peer, Table
from vxswitch.model import Claimed

if TYPE_CHECKING:
    from tests.sim.world import World

# Seconds: the longest pause of the announcer (2.0), one of networks.run (1.0), come_back of RULES (1.55), and a bit.
BOUND = 5.0
SETTLE = BOUND + 1.0
UNDER_WAY = 2.5  # seconds that a change of a MAC's place may need to reach a store that answers: the announcer's pause
ARRIVES = 0.5  # a ping is under way for so long at most
ENOUGH = 20  # complaints of one run


class Sent(NamedTuple):
    """A ping under way."""

    number: int
    source: Container
    target: Container
    at: float
    things: tuple[calm.Thing, ...]


class Witness:
    """See the head of this file. ``wrong``: what was not true, in order."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.wrong: list[str] = []
        self.pings = self.demanded = self.arrived = 0
        self.frozen = 0
        self.doubled: set[tuple[int, bytes]] = set()  # MACs that were at two places
        self._under_way: list[Sent] = []
        self._vnis: dict[int, int] = {}
        self._came_out: set[tuple[int, str]] = set()
        self._reached: set[int] = set()
        self._right: dict[tuple[int, int, bytes], float] = {}  # process, VNI, MAC -> right since
        world.server.hub.listeners.append(self._watch_frozen)

    def say(self, what: str) -> None:
        """Something is wrong."""
        if len(self.wrong) < ENOUGH:
            self.wrong.append(f"{self.world.loop.now - 1000.0:7.3f} {what}")

    # -- frames ----------------------------------------------------------------------------------------------------

    def sent(self, number: int, source: Container, target: Container, process: Process) -> None:
        """A ping is about to be sent."""
        self.pings += 1
        self._vnis[number] = source.vni
        things = self._things(source, target)
        self._check_row(process, source, target, things)
        if self.world.calm.since((*things, *self._store_things(source, target))) + BOUND < self.world.loop.now:
            self.demanded += 1
            everything = (*things, *self._store_things(source, target))
            self._under_way.append(Sent(number, source, target, self.world.loop.now, everything))

    def delivered(self, container: Container, vni: int, mac: bytes, number: int) -> None:
        """A frame came out."""
        if self._vnis.get(number, vni) != vni:
            self.say(f"ping {number} of VNI {self._vnis[number]} came out in VNI {vni} at {container}")
        if (number, container.name) in self._came_out:
            self.say(f"ping {number} came out twice at {container}")
        self._came_out.add((number, container.name))
        owners = (c for c in self.world.containers if c.mac == mac and c.vni == vni and c.host == container.host)
        if any(self.world.door_of(owner) is container for owner in owners):
            self._reached.add(number)

    def look(self) -> None:
        """Now and then: what should have arrived by now?"""
        now = self.world.loop.now
        while self._under_way and self._under_way[0].at + ARRIVES < now:
            ping = self._under_way.pop(0)
            excused = ping.number in self.world.underlay.lost_pings or self.world.calm.since(ping.things) >= ping.at
            if ping.number in self._reached:
                self.arrived += 1
            elif not excused:
                self.say(f"black hole: ping {ping.number} from {ping.source} to {ping.target} at {ping.at - 1000:.3f}")

    def _things(self, source: Container, target: Container) -> tuple[calm.Thing, ...]:
        """What a ping depends on, but for the store."""
        assert source.host is not None and target.host is not None
        been = self.world.visited[target.vni, target.mac] | self.world.visited[source.vni, source.mac]
        things = [calm.host(name) for name in sorted(been)]
        things += [calm.place(c.vni, c.mac) for c in (source, target, self.world.door_of(source))]
        things += [calm.place(target.vni, self.world.door_of(target).mac)]
        return (*things, calm.link(source.host, target.host), calm.NETWORK)

    def _store_things(self, source: Container, target: Container) -> tuple[calm.Thing, ...]:
        been = self.world.visited[target.vni, target.mac] | self.world.visited[source.vni, source.mac]
        return (calm.STORE, *(calm.to_store(name) for name in sorted(been)))

    @property
    def reached(self) -> int:
        """Frames that came to whom they were for."""
        return len(self._reached)

    # -- rows ------------------------------------------------------------------------------------------------------

    def _check_row(
        self, process: Process, source: Container, target: Container, things: tuple[calm.Thing, ...]
    ) -> None:
        """Fail static: what was right may only become wrong by something else than the store."""
        key = (id(process), target.vni, target.mac)
        quiet = self.world.calm.since((*things, *self._long_cut(target))) + UNDER_WAY
        table = process.switch.fdb.tables.get(target.vni)
        right = table is not None and self.is_right(process, table, target) and self._at_home(target)
        if self._right.get(key, -1.0) <= quiet:
            self._right.pop(key, None)
        if right and quiet < self.world.loop.now:
            self._right.setdefault(key, self.world.loop.now)
        elif not right and key in self._right:
            row = table.rows.get(target.mac) if table is not None else None
            self.say(f"working entry lost: {target} at {process.host.name}, now {row.hop if row else None}")
            del self._right[key]

    def _at_home(self, target: Container) -> bool:
        """Its own switch knows it, too: one that has just started does not know guests that have not spoken yet."""
        process = self.world.process_of(target)
        table = process.switch.fdb.tables.get(target.vni) if process is not None else None
        return process is not None and table is not None and self.is_right(process, table, target)

    def _long_cut(self, target: Container) -> tuple[calm.Thing, ...]:
        """By its lease alone a node that is cut from the store for the grace period cannot be told from a dead one."""
        return (("long_cut", target.host),)

    def is_right(self, process: Process, table: Table, container: Container) -> bool:
        """Whether a switch would send to where the container is."""
        row = table.rows.get(container.mac)
        if row is None or row.hop is None:
            return False
        if container.host == process.host.name:
            return row.hop is process.port_of(self.world.door_of(container))
        return isinstance(row.hop, Peer) and row.hop.vtep.address == self.world.hosts[str(container.host)].address

    def _watch_frozen(self, vni: int) -> None:
        table = self.world.server.hub.tables[vni]
        change = table.log[-1].change if table.log else None
        claim = change.claim if isinstance(change, Claimed) else None
        if claim is None or "frozen" not in claim.flags:
            return
        self.frozen += 1
        if (vni, claim.mac) not in self.doubled:
            self.say(f"frozen: {claim.mac.hex(':')} of VNI {vni}, which was nowhere twice")

    # -- the end ---------------------------------------------------------------------------------------------------

    def check_end(self) -> None:
        """After the last fault and SETTLE."""
        for network in self.world.networks:
            self._check_store(int(str(network["vni"])), str(network["name"]))
        for process in self.world.processes:
            for vni in process.switch.fdb.tables:
                self._check_copy(process, vni)
                self._check_table(process, process.switch.fdb.tables[vni])

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
            self.say(f"store, VNI {vni}: rows {_named(owners)}, want {_named(wanted)}")
        live = {process.host.name for process in self.world.processes}
        if set(truth.members) != live:
            self.say(f"store, VNI {vni}: members {sorted(truth.members)}, want {sorted(live)}")
        if name not in self.world.server.hub.records.networks:
            self.say(f"store: network {name} has no record")
        frozen = [mac.hex(":") for mac, row in truth.rows.items() if "frozen" in row.flags]
        if any((vni, bytes.fromhex(mac.replace(":", ""))) not in self.doubled for mac in frozen):
            self.say(f"store, VNI {vni}: frozen {frozen}")

    def _check_copy(self, process: Process, vni: int) -> None:
        truth = self.world.server.hub.table(vni).truth
        mirror = process.store._mirrors[vni]
        known = process.reconciler.mirrors[vni]
        name = process.host.name
        if (mirror.gen, mirror.rev, mirror.digest) != (truth.gen, truth.rev, truth.digest):
            self.say(f"{name}: mirror of VNI {vni} at rev {mirror.rev}, store at {truth.rev}, or their digests differ")
        if known.rows != truth.rows:
            self.say(f"{name}: its claims of VNI {vni} are not the store's")
        others = {p.host.address for p in self.world.processes if p is not process}
        flooded = [peer.vtep.address for peer in process.switch.fdb.tables[vni].flood]
        if sorted(flooded) != sorted(others):
            self.say(f"{name}: floods VNI {vni} to {sorted(flooded)}, want {sorted(others)}")
        if process.announcer.backlog:
            self.say(f"{name}: {process.announcer.backlog} claims wait")

    def _check_table(self, process: Process, table: Table) -> None:
        there = self._there(table.vni)
        for mac, container in there.items():
            if not self.is_right(process, table, container):
                row = table.rows.get(mac)
                self.say(f"{process.host.name}: {container} of VNI {table.vni} stands at {row.hop if row else None}")
        for mac in table.rows.keys() - there.keys() - self._unseen(table.vni):
            self.say(f"{process.host.name}: VNI {table.vni} has {mac.hex(':')}, which is nowhere")


def _named(owners: dict[bytes, str]) -> str:
    return " ".join(f"{mac[4]:x}{mac[5]:02x}@{node}" for mac, node in sorted(owners.items()))
