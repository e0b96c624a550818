"""One simulated host: what outlives a process (disk, containers, address), and the process with the real rooms in it.

``Host`` has the state directory and the containers that stand on it; ``Process`` is one life of the switch there, put
together as ``switch.compose`` and ``switch.serving`` do, over a fake privileged room and the fabric of the data plane.
A crash is a Process that never runs again: its ports and its disk stay, its sockets and its memory are gone.
"""

from __future__ import annotations

import contextvars
import copy
import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from unittest import mock

from tests.dataplane.fabric import Host as Switch
from tests.sim.loop import OWNER, Owner, SimLoop
from tests.sim.rules import COME_BACK, RETRY, RULES, SETTLE_RETRY
from tests.sim.store import SimStore
from tests.sim.underlay import SimPort, Underlay
from vxswitch import config
from vxswitch.control.addresses import Addresses
from vxswitch.control.announcer import Announcer
from vxswitch.control.attaching import Attaching
from vxswitch.control.background import Supervisor
from vxswitch.control.doors import Opened, Place
from vxswitch.control.joining import Joining
from vxswitch.control.networks import Networks
from vxswitch.control.peers import Peers
from vxswitch.control.ports import Ports
from vxswitch.control.reconciler import Reconciler
from vxswitch.dataplane import decap, leaving, underlay
from vxswitch.dataplane.sockets import UdpLosses, UnderlayOptions
from vxswitch.errors import NotFoundError, VxswitchError
from vxswitch.fdb import LocalPort
from vxswitch.model import NodeRecord, PortSpec, Vtep
from vxswitch.offload.coalesce import Joiner
from vxswitch.offload.segment import Cutter

if TYPE_CHECKING:
    from tests.sim.world import World

PATIENCE = 1.0
FIRST_FD = 1 << 20  # not a descriptor of anything


class Container:
    """What stands in a namespace of its own: a MAC, and where it is. ``guest``: behind another container's port."""

    def __init__(self, name: str, vni: int, mac: bytes, *, guest: bool = False) -> None:
        self.name = name
        self.vni = vni
        self.mac = mac
        self.guest = guest
        self.host: str | None = None
        self.placed = 0  # changes with every namespace that it gets
        self.silent_until = 0.0

    def __repr__(self) -> str:
        return f"{self.name}@{self.host}"

    @property
    def place(self) -> Place:
        """Its namespace."""
        return Place(f"/run/netns/{self.name}", self.placed)


class Disk:
    """``StateDir`` in memory: what was written is there in the next life."""

    def __init__(self, uid: str) -> None:
        self.uid = uid
        self.epoch = 0
        self.files: dict[str, Any] = {}

    def read(self, name: str) -> Any:
        return copy.deepcopy(self.files.get(name))

    def write(self, name: str, document: Any) -> None:
        self.files[name] = copy.deepcopy(document)

    keep = write  # this disk is never full

    def move_aside(self, name: str, why: str) -> None:
        raise AssertionError(f"{name} is unreadable: {why}")

    def close(self) -> None:
        """Nothing is open."""


class SimTaps:
    """``doors.Taps``: a descriptor is the number of a container."""

    def __init__(self, host: Host, containers: Sequence[Container]) -> None:
        self._host = host
        self._containers = containers

    def accept(self, fd: int, name: str | None) -> Opened:
        return Opened(fd, 0)

    def reopen(self, place: Place, ifname: str) -> Opened:
        for number, container in enumerate(self._containers):
            if container.host == self._host.name and container.place == place:
                return Opened(FIRST_FD + number, 0)
        raise NotFoundError("no such namespace")

    def same(self, place: Place) -> bool:
        return any(c.host == self._host.name and c.place == place for c in self._containers)

    def forget(self, fd: int) -> None:
        """The world takes containers away, not the switch."""

    def follow_mtu(self, place: Place | None, ifname: str, was: int | None, mtu: int) -> None:
        """All have the MTU of their network."""


class SimPlane:
    """``doors.DataPlane`` over the real encap and decap."""

    def __init__(self, switch: Switch, world: World, clock: Callable[[], float]) -> None:
        self.switch = switch
        self.fdb = switch.fdb
        self.stats = switch.stats
        self.ports: dict[str, SimPort] = {}
        self.on_port_gone: Callable[[LocalPort], None]
        self._world = world
        self._clock = clock

    def add_port(self, spec: PortSpec, fd: int) -> LocalPort:
        container = self._world.containers[fd - FIRST_FD]
        table = self.fdb.tables[spec.vni]
        here = container.placed

        def is_there() -> bool:
            return container.placed == here

        port = SimPort(
            spec, table, self._clock(), is_there, lambda frame: self._world.delivered(container, spec.vni, frame)
        )
        self.ports[container.name] = port
        table.add_port(port)
        return port

    def remove_port(self, port: LocalPort) -> None:
        for name in [name for name, known in self.ports.items() if known is port]:
            del self.ports[name]
        assert isinstance(port, SimPort)
        port.table.remove_port(port)

    def poll(self, now: float) -> None:
        for port in [port for port in self.ports.values() if port.state == "gone"]:
            self.on_port_gone(port)

    def send(self, port: SimPort, frame: bytes) -> None:
        """A container sends."""
        port.send(frame)
        if not self.switch.encap.burst(port, self._clock()):
            self.on_port_gone(port)

    def readable(self) -> None:
        """The underlay has brought something."""
        for receiver in self.switch.underlay.receivers.values():
            self.switch.decap.burst(receiver, self._clock())


class Host:
    """A machine. ``clock_offset``: how far its monotonic clock is from the others'."""

    def __init__(self, name: str, address: str, clock_offset: float) -> None:
        self.name = name
        self.address = address
        self.clock_offset = clock_offset
        self.disk = Disk(f"uid-{name}")
        self.process: Process | None = None

    @property
    def up(self) -> bool:
        """A switch runs here (or is stopped by a signal)."""
        return self.process is not None


class Process:
    """One life of the switch on a host."""

    def __init__(self, world: World, host: Host, loop: SimLoop, seed: random.Random) -> None:
        self.world, self.host, self.loop = world, host, loop
        self.owner = Owner(host.name)
        self.context = contextvars.copy_context()
        self.context.run(OWNER.set, self.owner)
        host.disk.epoch += 1
        self.switch = _make_switch(world.underlay, host.address)
        self.tasks = Supervisor()
        self.joined = False
        self.context.run(self._build, seed)

    def clock(self) -> float:
        """The host's monotonic clock."""
        return self.loop.now + self.host.clock_offset

    def _build(self, seed: random.Random) -> None:
        host, fdb, clock = self.host, self.switch.fdb, self.clock
        disk: Any = host.disk
        vteps = tuple(self.switch.vteps)
        self.record = NodeRecord(host.name, disk.uid, disk.epoch, vteps, "sim")
        self.store = SimStore(self.world.server, host.name, clock, seed)
        self.plane = SimPlane(self.switch, self.world, clock)
        self.peers = Peers(fdb, uid=disk.uid, own=vteps, grace=RULES.grace, clock=clock)
        self.announcer = Announcer(fdb, self.store, clock=clock, retry=RETRY, come_back=COME_BACK)
        self.reconciler = Reconciler(
            fdb, self.peers, self.announcer, node=host.name, uid=disk.uid, epoch=disk.epoch, clock=clock
        )
        self.networks = Networks(
            fdb,
            self.store,
            self.peers,
            self.announcer,
            self.reconciler,
            disk,
            defaults=config.Networks(learning="control", host_port=False, antispoof="off"),
            max_macs=16384,
            auto_mtu=lambda: 1450,
            stats=self.plane.stats,
            retry=SETTLE_RETRY,
        )
        joining = Joining(self.networks, self.store, self.peers)
        addresses = Addresses(self.store, host.name)
        plane: Any = self.plane
        taps: Any = SimTaps(host, self.world.containers)
        identity = ("sim", host.name)
        self.ports = Ports(
            self.networks,
            plane,
            taps,
            addresses,
            disk,
            identity=identity,
            limits=config.Limits(),
            max_macs=16384,
            clock=clock,
            release=self.announcer.release,
        )
        self.announcer.ports = self.networks.follower = self.reconciler.ports = self.ports
        self.announcer.put_back, self.announcer.fall_back = self.reconciler.put_back, self.reconciler.fall_back
        self.plane.on_port_gone = self.ports.on_gone
        self.attaching = Attaching(self.ports, self.networks, joining, addresses, taps, identity=identity)

    # -- its life --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """As switch.serving begins."""
        self.run(self._start)

    def run(self, work: Callable[[], Any]) -> None:
        """Run a coroutine function as this process."""
        self.loop.create_task(work(), context=self.context)

    async def _start(self) -> None:
        await self.store.start(self.record, self.announcer.reassert)
        self.tasks.start("store events", self._follow)
        self.tasks.start("claims", self.announcer.run)
        self.ports.load()
        await self.networks.start(self.world.settings, (), PATIENCE, remembered=self._remembered)
        await self.ports.started()
        self.tasks.start("networks", self.networks.run)
        self.joined = True

    async def _follow(self) -> None:
        async for event in self.store.events():
            self.reconciler.apply(event)

    def _remembered(self, name: str) -> int | None:
        """As ``control.tables`` reads it from the disk."""
        vni: int | None = (self.host.disk.read("vnis") or {}).get(name)
        return vni

    def housekeeping(self) -> None:
        """What serving, state.keep_epoch and others do now and then."""
        self.host.disk.write("vnis", {n.name: n.vni for n in self.networks.by_name.values() if n.was_there})
        self.plane.poll(self.clock())
        self.ports.watch()
        self.host.disk.epoch = max(self.host.disk.epoch, self.store.node.epoch)

    async def stop(self) -> None:
        """SIGTERM, as switch.serving ends."""
        for table in self.switch.fdb.tables.values():
            table.on_local = None
        await self.ports.finished()
        await self.store.close(leave=True)
        self.kill()

    def kill(self) -> None:
        """SIGKILL: nothing of it runs any more."""
        self.owner.dead = True
        self.store.vanish()
        self.world.underlay.wires.pop((self.host.address, 4789), None)
        if self.host.process is self:
            self.host.process = None

    # -- its containers --------------------------------------------------------------------------------------------

    def port_of(self, container: Container) -> SimPort | None:
        """The port by which a container reaches this switch."""
        return self.plane.ports.get(container.name)

    async def attach(self, container: Container) -> None:
        """What a container's runtime asks for; it asks again if that fails."""
        network = self.world.network_of(container.vni)
        place = container.place
        message = {"op": "attach", "network": network, "netns": place.path, "inode": place.inode, "ifname": "eth0"}
        message |= {"ips": ["none"], "mac": container.mac.hex(":")}
        number = FIRST_FD + self.world.containers.index(container)
        try:
            await self.attaching.handle(message, [number])
        except VxswitchError:
            pass

    async def detach(self, container: Container) -> None:
        """An orderly end of a port."""
        try:
            await self.attaching.detach(self.world.network_of(container.vni), container.place.path, "eth0")
        except NotFoundError:
            pass


# Megabytes that pings never touch, so all simulated hosts have the same; and the kernel's counts are not ours.
_CUTTER, _JOINER, _LOSSES = Cutter(), Joiner(), UdpLosses(0, 0)


def _cutter() -> Cutter:
    return _CUTTER


def _joiner() -> Joiner:
    return _JOINER


def _losses() -> UdpLosses:
    return _LOSSES


def _make_switch(fabric: Underlay, address: str) -> Switch:
    """The real ways in and out, without what makes them expensive to make."""
    with (
        mock.patch.object(leaving, "Cutter", _cutter),
        mock.patch.object(decap, "Joiner", _joiner),
        mock.patch.object(underlay, "udp_losses", _losses),
    ):
        return Switch(fabric, [Vtep(address)], UnderlayOptions(send_sockets=2))
