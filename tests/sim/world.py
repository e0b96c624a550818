"""A small cluster under a virtual clock: hosts, containers, a store, and traffic that shows what works.

``World`` makes all of it from a seed, boots it, and lets faults (``faults.Event``) happen; ``checks`` says what has to
be true. Every tenth of a virtual second some containers ping each other through the real encap and decap. Containers
want to be attached where they stand, and ask again until they are, as their runtimes would.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import traceback
from collections.abc import Iterator
from typing import Any

from tests.sim import bugs, calm
from tests.sim.calm import Calm
from tests.sim.checks import Witness
from tests.sim.frames import address_of, gratuitous, is_neighbours, number_of, ping, question
from tests.sim.loop import SimLoop
from tests.sim.node import Container, Host, Process
from tests.sim.rules import BOOT, RULES, TICK
from tests.sim.server import Server
from tests.sim.underlay import Underlay
from vxswitch.control.settings import from_plain

PAIRS = 1  # pings of each network in a tick
ASKS = 0.3  # of the ticks, in each network, one container asks for the MAC of another
_NETWORKS: Any = [{"name": f"net{n}", "vni": 5000 + n, "unknown": ("drop", "flood")[n % 2]} for n in range(2)]
_DEFAULTS = {"learning": "control", "antispoof": "off", "vlan": "strip"}
_SETTINGS = [from_plain(plain, "sim", _DEFAULTS) for plain in _NETWORKS]


class World:
    """See the head of this file. ``shape``: hosts, networks, containers of each network, guests of the first."""

    def __init__(self, seed: int, shape: tuple[int, int, int, int] | None = None) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.loop = SimLoop(random.Random(self.random.random()))
        self.calm = Calm(self.loop.time)
        self.server = Server(self.loop, RULES, random.Random(self.random.random()))
        self.underlay = Underlay(self.loop, random.Random(self.random.random()), self._bring)
        self.hosts: dict[str, Host] = {}
        self.renamed: dict[str | None, str] = {}
        self.addresses = 0  # that hosts have moved to
        self.containers: list[Container] = []
        self.graveyard: list[Process] = []
        self.numbers = 0
        self._attaching: set[str] = set()
        dice = self.random
        hosts, nets, per_net, guests = shape or (dice.choice((3, 3, 4)), dice.choice((1, 2)), 3, dice.choice((0, 1)))
        self.networks = list(_NETWORKS[:nets])
        self.settings = list(_SETTINGS[:nets])
        for n in range(1, hosts + 1):
            self._add_host(n)
        for network in self.networks:
            self._add_containers(int(str(network["vni"])), per_net, guests)
            guests = 0
        self._guests = [container for container in self.containers if container.guest]
        self._trunks = [container for container in self.containers if container.name.startswith("trunk-")]
        self.by_name = {container.name: container for container in self.containers}
        self.by_mac = {(c.vni, c.mac): c for c in self.containers if not c.name.endswith("x")}
        self.visited: dict[tuple[int, bytes], dict[str, None]] = {}
        self.witness = Witness(self)

    def _add_host(self, n: int) -> None:
        self.hosts[f"h{n}"] = Host(f"h{n}", f"192.0.2.{n}", self.random.uniform(0.0, 5000.0))

    def _add_containers(self, vni: int, count: int, guests: int) -> None:
        for n in range(count):
            self.containers.append(Container(f"c{vni % 10}{n}", vni, bytes((2, 0, 0, 0, 0, n + 1))))
            self.containers.append(Container(f"c{vni % 10}{n}x", vni, bytes((2, 0, 0, 0, 0, n + 1))))  # its double
        for n in range(guests):
            self.containers.append(Container(f"g{n}", vni, bytes((2, 0, 0, 0, 1, n + 1)), guest=True))
        if guests:
            for n, name in enumerate(self.hosts):
                self.containers.append(Container(f"trunk-{name}", vni, bytes((2, 0, 0, 0, 2, n + 1))))

    # -- who is where ----------------------------------------------------------------------------------------------

    @property
    def processes(self) -> Iterator[Process]:
        """The switches that there are."""
        return (host.process for host in self.hosts.values() if host.process is not None)

    def network_of(self, vni: int) -> str:
        """Its name."""
        return next(str(network["name"]) for network in self.networks if network["vni"] == vni)

    def container(self, name: str) -> Container:
        """One container."""
        return self.by_name[name]

    def door_of(self, container: Container) -> Container:
        """The container whose port its frames use."""
        if not container.guest:
            return container
        return next(c for c in self._trunks if c.host == container.host)

    def put(self, container: Container, host: str | None) -> None:
        """A container appears on a host (or vanishes): in a new namespace, whatever was before."""
        self.calm.disturb(calm.place(container.vni, container.mac))
        while host in self.renamed:
            host = self.renamed[host]
        container.host = host
        container.placed += 1
        self.witness.standing.moved(self.by_mac[container.vni, container.mac])
        if host is not None:
            self.visited.setdefault((container.vni, container.mac), {})[host] = None

    # -- processes -------------------------------------------------------------------------------------------------

    def come_up(self, name: str) -> None:
        """Start a switch after a fault, unless somebody did so meanwhile, or its machine has another name now."""
        if not self.hosts[name].up and name not in self.renamed:
            self.start_host(name)

    def start_host(self, name: str) -> None:
        """Start a switch."""
        host = self.hosts[name]
        assert host.process is None
        self.calm.disturb(calm.host(name))
        host.process = Process(self, host, self.loop, random.Random(self.random.random()))
        self.witness.standing.watch(host.process)
        self.witness.standing.moved(*(c for c in self.by_mac.values() if c.host == name))
        self.graveyard.append(host.process)
        host.process.start()

    def kill_host(self, name: str) -> None:
        """SIGKILL."""
        process = self.hosts[name].process
        if process is not None:
            process.kill()
            self.calm.disturb(calm.host(name))

    def host_at(self, address: str) -> Host | None:
        """The host whose switch runs at an address."""
        return next((process.host for process in self.processes if process.host.address == address), None)

    def _bring(self, address: str) -> None:
        host = self.host_at(address)
        if host is not None and host.process is not None:
            self.loop.call_soon(host.process.plane.readable, context=host.process.context)

    # -- a run -----------------------------------------------------------------------------------------------------

    def run(self, work: Any) -> None:
        """Boot, let ``work`` (a coroutine) happen, and end; what was wrong is in ``witness.wrong``."""
        try:
            with bugs.told_to(self.witness.say):
                self.loop.run_until_complete(self._live(work))
        except Exception as error:
            self.witness.say(f"the run ended: {error!r} {traceback.format_exc(limit=-3)}")
        finally:
            for error in self.loop.errors:
                self.witness.say(error)
            for process in self.graveyard:
                process.switch.underlay.close()
            self.loop.discard()

    async def _live(self, work: Any) -> None:
        for name in self.hosts:  # not all at once: their heartbeats would come together for ever
            self.loop.call_later(self.random.uniform(0.0, RULES.beat), self.start_host, name)
        self._place_all()
        traffic = asyncio.ensure_future(self._traffic())
        await asyncio.sleep(BOOT)
        self.calm.disturb(calm.STORE)
        await work
        traffic.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await traffic

    def _place_all(self) -> None:
        for n, container in enumerate(c for c in self.containers if not c.name.endswith("x")):
            trunk = container.name.startswith("trunk-")
            self.put(container, container.name[6:] if trunk else list(self.hosts)[n % len(self.hosts)])

    async def _traffic(self) -> None:
        while True:
            self._keep_house()
            self._attach_all()
            self._guests_speak()
            self._ping_some()
            self.witness.look()
            await asyncio.sleep(TICK)

    def _keep_house(self) -> None:
        """Each process at its own moment, not by a task of its own: that would be a tenth of all that happens."""
        for process in self.processes:
            if process.joined:
                delay = TICK * self.random.random()
                self.loop.call_later(delay, process.housekeeping, context=process.context)

    def _attach_all(self) -> None:
        """Containers' runtimes: one that has no port asks for one. A port whose container is gone, is gone."""
        for process in self.processes:
            for port in process.plane.ports.values():
                if not port.is_there():
                    port.state = "gone"
        for container in self.containers:
            process = self.process_of(container)
            if process is None or container.guest or not process.joined or process.owner.paused:
                continue
            if process.port_of(container) is None:
                process.run(lambda p=process, c=container: p.attach(c))

    def process_of(self, container: Container) -> Process | None:
        """The switch that a container stands beside."""
        return self.hosts[container.host].process if container.host is not None else None

    def _ping_some(self) -> None:
        for network in self.networks:
            placed = [c for c in self.containers if c.vni == network["vni"] and c.host is not None]
            for _ in range(PAIRS if len(placed) > 1 else 0):
                source, target = self.random.sample(placed, 2)
                if source.mac != target.mac:
                    self.ping(source, target)
            if len(placed) > 1 and self.random.random() < ASKS:
                self.ask(*self.random.sample(placed, 2))

    def _guests_speak(self) -> None:
        """A guest that its own switch does not know (no longer) says something, as what just booted does."""
        for guest in self._guests:
            if guest.host is not None and not self.witness.standing.is_at_home(guest):
                self.announce(guest)

    def ping_all(self) -> None:
        """Each container to each other one of its network, now that every one of these pings has to arrive."""
        placed = [c for c in self.containers if c.host is not None]
        for source in placed:
            for target in placed:
                if source.vni == target.vni and source.mac != target.mac:
                    self.ping(source, target, owed=self.process_of(target) is not None)

    def ping(self, source: Container, target: Container, *, owed: bool = False) -> None:
        """One container sends to another, if it can; ``owed``: it has to arrive, however much happens."""
        process = self.process_of(source)
        if process is None or process.owner.paused or source.silent_until > self.loop.now:
            return
        door = self.door_of(source)
        port = process.port_of(door)
        if port is None or door is self.door_of(target):
            return
        self.numbers += 1
        self.witness.sent(self.numbers, source, target, owed=owed)
        self.loop.call_soon(
            process.plane.send, port, ping(source.mac, target.mac, self.numbers), context=process.context
        )

    def announce(self, container: Container) -> None:
        """Gratuitous ARP: a container says to all where it is."""
        self._send(container, gratuitous(container.mac))

    def ask(self, source: Container, target: Container) -> None:
        """One container asks for another's MAC; nobody but a switch answers."""
        self._send(source, question(source.mac, address_of(target.mac)))

    def _send(self, container: Container, frame: bytes) -> None:
        process = self.process_of(container)
        port = process.port_of(self.door_of(container)) if process is not None else None
        if process is not None and port is not None and not process.owner.paused:
            self.loop.call_soon(process.plane.send, port, frame, context=process.context)

    def delivered(self, container: Container, vni: int, frame: bytes) -> None:
        """A frame came out of a container's port."""
        if is_neighbours(frame):
            self.witness.told(container, vni, frame)
        else:
            self.witness.delivered(container, vni, frame[:6], number_of(frame))
