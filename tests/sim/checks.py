"""What has to be true of frames, at every moment. The witness only looks; it is told what was sent and delivered.

No frame comes out in another network than it was sent in, and none comes out of one port twice. A ping between
containers whose hosts, places, path and store have been calm for as long as each needs (``calm``) arrives. Nothing is
frozen but MACs that were at two places. No switch answers for a container that is long gone (but for a guest that its
last switch could not see go), or that is behind one of its own ports. What has to be true of tables is in ``standing``,
and at the end in ``ending``.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from tests.sim import calm
from tests.sim.frames import address_of, answer_in
from tests.sim.node import Container
from tests.sim.rules import BOUND, NOTICED
from tests.sim.standing import Standing
from vxswitch.fdb import LocalPort, Peer
from vxswitch.model import Claimed

if TYPE_CHECKING:
    from tests.sim.world import World

ARRIVES = 0.5  # seconds that a ping is under way at most
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
        self.pings = self.demanded = self.arrived = self.answers = 0
        self.frozen = 0
        self.doubled: set[tuple[int, bytes]] = set()  # MACs that were at two places
        self.standing = Standing(world, self.say)
        self._under_way: deque[Sent] = deque()
        self._vnis: dict[int, int] = {}
        self._came_out: set[tuple[int, str]] = set()
        self._reached: set[int] = set()
        world.server.hub.listeners.append(self._watch_frozen)

    def say(self, what: str) -> None:
        """Something is wrong."""
        if len(self.wrong) < ENOUGH:
            self.wrong.append(f"{self.world.loop.now - 1000.0:7.3f} {what}")

    # -- frames ----------------------------------------------------------------------------------------------------

    def sent(self, number: int, source: Container, target: Container, *, owed: bool = False) -> None:
        """A ping is about to be sent; it has to arrive if it is ``owed``, or if its hosts, places and way are calm."""
        self.pings += 1
        self._vnis[number] = source.vni
        things = self._things(source, target)
        if owed or self.world.calm.owed(things) < self.world.loop.now:
            self.demanded += 1
            self._under_way.append(Sent(number, source, target, self.world.loop.now, things))

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

    def told(self, container: Container, vni: int, frame: bytes) -> None:
        """A question or an announcement came out, or a switch has answered a question of this container."""
        answer = answer_in(frame)
        if answer is None:
            return
        address, mac = answer
        target, now = self.world.by_mac.get((vni, mac)), self.world.loop.now
        self.answers += 1
        if target is None or address != address_of(mac):
            self.say(f"{container} is told that {address.hex('.')} is at {mac.hex(':')} in VNI {vni}: nobody is that")
        elif self.world.process_of(target) is None:
            if self._gone_since(container, target) + NOTICED < now and not self._is_vouched_for(container, target):
                self.say(f"{container} is told where {target} is, gone long since")
        elif target.host == container.host and self.world.calm.owed(self._things(container, target)) < now:
            self.say(f"{container} is told where {target} is, which could say so itself")

    def _is_vouched_for(self, container: Container, target: Container) -> bool:
        """A guest went without a word to where nobody heard it: who lives and had it answers for it until it ages.

        Only the row's own owner counts, and only while that one has the guest at a port and is not stopped.
        """
        process = self.world.process_of(container)
        row = process.switch.fdb.tables[target.vni].rows.get(target.mac) if process is not None else None
        if not target.guest or row is None or not isinstance(row.hop, Peer):
            return False
        owner = self.world.host_at(row.hop.vtep.address)
        if owner is None or owner.process is None or owner.process.owner.paused:
            return False
        theirs = owner.process.switch.fdb.tables[target.vni].rows.get(target.mac)
        return theirs is not None and isinstance(theirs.hop, LocalPort)

    def _gone_since(self, container: Container, target: Container) -> float:
        """When the switch of a container could begin to know that the target is nowhere."""
        name, calmness = str(container.host), self.world.calm
        known = calmness.since((calm.STORE, calm.host(name), calm.to_store(name), calm.clock(name))) + BOUND
        places = [calm.place(target.vni, target.mac), calm.place(target.vni, self.world.door_of(target).mac)]
        hosts = [calm.host(host) for host in self.world.visited[target.vni, target.mac]]
        return max(known, *(calmness.last(thing) for thing in (*places, *hosts)))

    def look(self, *, late: float = ARRIVES) -> None:
        """Now and then: what should have arrived by now, sent ``late`` seconds ago or earlier?"""
        self.standing.look()
        while self._under_way and self._under_way[0].at + late < self.world.loop.now:
            ping = self._under_way.popleft()
            excused = ping.number in self.world.underlay.lost_pings or self.world.calm.since(ping.things) >= ping.at
            if ping.number in self._reached:
                self.arrived += 1
            elif not excused:
                self.say(f"black hole: ping {ping.number} from {ping.source} to {ping.target} at {ping.at - 1000:.3f}")

    def _things(self, source: Container, target: Container) -> list[calm.Thing]:
        """What a ping depends on."""
        assert source.host is not None and target.host is not None
        door = self.world.door_of(source)
        things = [calm.STORE, calm.NETWORK, calm.link(source.host, target.host)]
        for name in self.world.visited[target.vni, target.mac] | self.world.visited[source.vni, source.mac]:
            things += [calm.host(name), calm.to_store(name)]
        things += [calm.place(c.vni, c.mac) for c in (source, target, door)]
        return [*things, calm.place(target.vni, self.world.door_of(target).mac)]

    @property
    def reached(self) -> int:
        """Frames that came to whom they were for."""
        return len(self._reached)

    # -- rows ------------------------------------------------------------------------------------------------------

    def _watch_frozen(self, vni: int) -> None:
        table = self.world.server.hub.tables[vni]
        change = table.log[-1].change if table.log else None
        claim = change.claim if isinstance(change, Claimed) else None
        if claim is None or "frozen" not in claim.flags:
            return
        self.frozen += 1
        if (vni, claim.mac) not in self.doubled:
            self.say(f"frozen: {claim.mac.hex(':')} of VNI {vni}, which was nowhere twice")
