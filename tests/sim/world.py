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

from tests.sim import calm
from tests.sim.calm import Calm
from tests.sim.checks import Witness
from tests.sim.loop import SimLoop
from tests.sim.node import Container, Host, Process
from tests.sim.server import Server
from tests.sim.underlay import Underlay, number_of, ping
from vxswitch.store.rules import Rules

TICK = 0.1  # seconds between pings
PAIRS = 2  # pings of each network in a tick
BOOT = 2.0  # seconds until faults may begin

# The proportions of the real timers, on a third of their time.
RULES = Rules(
    lease=1.0,
    beat=0.3,
    grace=3.0,
    hold_down=0.3,
    freeze=3.0,
    connect_timeout=0.3,
    command_timeout=0.3,
    backoff_max=0.25,
)


class World:
    """See the head of this file. ``shape``: hosts, networks, containers of each network, guests of the first."""

    def __init__(self, seed: int, shape: tuple[int, int, int, int] | None = None) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.rules = RULES
        self.loop = SimLoop(random.Random(self.random.random()))
        self.calm = Calm(self.loop.time)
        self.server = Server(self.loop, RULES, random.Random(self.random.random()))
        self.underlay = Underlay(self.loop, random.Random(self.random.random()), self._bring)
        self.hosts: dict[str, Host] = {}
        self.renamed: dict[str | None, str] = {}
        self.containers: list[Container] = []
        self.graveyard: list[Process] = []
        self.numbers = 0
        self._attaching: set[str] = set()
        dice = self.random
        hosts, nets, per_net, guests = shape or (dice.choice((3, 3, 4)), dice.choice((1, 2)), 3, dice.choice((0, 1)))
        self.networks = [{"name": f"net{n}", "vni": 5000 + n, "unknown": ("drop", "flood")[n % 2]} for n in range(nets)]
        for n in range(1, hosts + 1):
            self._add_host(n)
        for network in self.networks:
            self._add_containers(int(str(network["vni"])), per_net, guests)
            guests = 0
        self.visited: dict[tuple[int, bytes], set[str]] = {}
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
        return next(c for c in self.containers if c.name == name)

    def door_of(self, container: Container) -> Container:
        """The container whose port its frames use."""
        if not container.guest:
            return container
        return next(c for c in self.containers if c.name.startswith("trunk-") and c.host == container.host)

    def put(self, container: Container, host: str | None) -> None:
        """A container appears on a host (or vanishes): in a new namespace, whatever was before."""
        self.calm.disturb(calm.place(container.vni, container.mac))
        while host in self.renamed:
            host = self.renamed[host]
        container.host = host
        container.placed += 1
        if host is not None:
            self.visited.setdefault((container.vni, container.mac), set()).add(host)

    # -- processes -------------------------------------------------------------------------------------------------

    def start_host(self, name: str) -> None:
        """Start a switch."""
        host = self.hosts[name]
        assert host.process is None
        self.calm.disturb(calm.host(name))
        host.process = Process(self, host, self.loop, random.Random(self.random.random()))
        self.graveyard.append(host.process)
        host.process.start()

    def kill_host(self, name: str) -> None:
        """SIGKILL."""
        process = self.hosts[name].process
        if process is not None:
            process.kill()
            self.calm.disturb(calm.host(name))

    def _bring(self, address: str) -> None:
        process = next((p for p in self.processes if p.host.address == address), None)
        if process is not None:
            self.loop.call_soon(process.plane.readable, context=process.context)

    # -- a run -----------------------------------------------------------------------------------------------------

    def run(self, work: Any) -> None:
        """Boot, let ``work`` (a coroutine) happen, and end; what was wrong is in ``witness.wrong``."""
        try:
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
        for name in self.hosts:
            self.start_host(name)
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
            self._attach_all()
            self._ping_some()
            self.witness.look()
            await asyncio.sleep(TICK)

    def _attach_all(self) -> None:
        """Containers' runtimes: one that has no port asks for one. A port whose container is gone, is gone."""
        for process in self.processes:
            for name, port in process.plane.ports.items():
                if self.container(name).host != process.host.name:
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
                if source.mac != target.mac and self.door_of(source) is not self.door_of(target):
                    self.ping(source, target)

    def ping(self, source: Container, target: Container) -> None:
        """One container sends to another, if it can."""
        process = self.process_of(source)
        if process is None or process.owner.paused or source.silent_until > self.loop.now:
            return
        port = process.port_of(self.door_of(source))
        if port is None:
            return
        self.numbers += 1
        self.witness.sent(self.numbers, source, target, process)
        self.loop.call_soon(
            process.plane.send, port, ping(source.mac, target.mac, self.numbers), context=process.context
        )

    def announce(self, container: Container) -> None:
        """A gratuitous frame: to all, from the container's MAC."""
        process = self.process_of(container)
        port = process.port_of(self.door_of(container)) if process is not None else None
        if process is not None and port is not None:
            self.numbers += 1
            self.loop.call_soon(
                process.plane.send, port, ping(container.mac, b"\xff" * 6, self.numbers), context=process.context
            )

    def delivered(self, container: Container, vni: int, frame: bytes) -> None:
        """A frame came out of a container's port."""
        self.witness.delivered(container, vni, frame[:6], number_of(frame))
