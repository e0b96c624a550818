"""What the control tests stand on: a fake data plane, fake TAPs, one clock, and a node built of the real rooms."""

from __future__ import annotations

import os
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vxswitch import config
from vxswitch.control.addresses import Addresses
from vxswitch.control.announcer import Announcer
from vxswitch.control.attaching import Attaching
from vxswitch.control.convergence import Convergence
from vxswitch.control.devices import Devices
from vxswitch.control.doors import Device, Opened, Place
from vxswitch.control.events import Events
from vxswitch.control.groups import Groups
from vxswitch.control.joining import Joining
from vxswitch.control.networks import Networks
from vxswitch.control.peers import Peers
from vxswitch.control.ports import Ports
from vxswitch.control.prober import Prober
from vxswitch.control.reconciler import Reconciler
from vxswitch.control.settings import from_plain
from vxswitch.control.state import StateDir
from vxswitch.control.views import Rooms
from vxswitch.control.vteps import VtepWatch
from vxswitch.counters import Counts, Stats
from vxswitch.errors import NotFoundError, VxswitchError
from vxswitch.fdb import Fdb, LocalPort, Peer
from vxswitch.model import NodeRecord, PortSpec, Vtep
from vxswitch.store.base import Store
from vxswitch.store.memory import MemoryStore
from vxswitch.store.memory_hub import MemoryHub
from vxswitch.store.rules import Clock, Rules
from vxswitch.wire.probe import Probe

INODE = 4026532000


class Time:
    """Monotonic seconds that pass when the test says so."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


def vtep(text: str) -> Vtep:
    return Vtep.parse(text)


def record(name: str, *vteps: str, epoch: int = 1, uid: str | None = None) -> NodeRecord:
    """A node's record; its uid is made of its name unless told."""
    return NodeRecord(name, uid or f"uid-{name}", epoch, tuple(map(vtep, vteps)))


class FakePlane:
    """``doors.DataPlane``: what control asked of it, and the rows and counters that follow."""

    def __init__(self, fdb: Fdb) -> None:
        self.fdb = fdb
        self.stats = Stats()
        self.ports: dict[str, LocalPort] = {}
        self.specs: dict[str, PortSpec] = {}
        self.vteps: tuple[Vtep, ...] = ()
        self.refuses: OSError | None = None
        self.traced: list[tuple[Any, ...]] = []
        self.fds: dict[str, int] = {}
        self.probes: list[tuple[Peer, int, bytes]] = []
        self.probe_verdict: Callable[[int], int] = lambda size: 0
        self.said: list[tuple[str, bytes]] = []
        self.asked: list[tuple[str, bytes, bytes]] = []
        self.closed = False

    def set_vteps(self, vteps: Sequence[Vtep]) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.vteps = tuple(vteps)

    def add_port(self, spec: PortSpec, fd: int) -> LocalPort:
        port = LocalPort(spec.id, spec.mac, spec.max_macs)
        self.fdb.tables[spec.vni].add_port(port)
        self.ports[spec.id], self.specs[spec.id], self.fds[spec.id] = port, spec, fd
        return port

    def remove_port(self, port: LocalPort) -> None:
        os.close(self.fds.pop(port.id))
        vni = self.specs.pop(port.id).vni
        del self.ports[port.id]
        self.fdb.tables[vni].remove_port(port)

    def update_port(self, port: LocalPort, spec: PortSpec) -> None:
        self.specs[port.id] = spec

    def say(self, port: LocalPort, frame: bytes) -> None:
        self.said.append((port.id, frame))

    def ask_station(self, port: LocalPort, mac: bytes, address: bytes) -> None:
        self.asked.append((port.id, mac, address))

    def poll(self, now: float) -> None:
        pass

    def drops(self) -> dict[str, int]:
        return Counts().as_dict()

    def frames(self) -> tuple[int, int]:
        return 7, 5

    def offloads(self, port: LocalPort) -> dict[str, Any]:
        return {"csum": True}

    def trace(self, vni: int, src: bytes, dst: bytes, frame: bytes, port: LocalPort | None) -> list[dict[str, Any]]:
        self.traced.append((vni, src, dst, frame, port))
        return [{"stage": "lookup", "verdict": "ok", "detail": "here"}]

    def follow_probes(
        self, on_answer: Callable[[str, Probe, float], None], on_unreachable: Callable[[str], None]
    ) -> None:
        self.on_answer, self.on_unreachable = on_answer, on_unreachable

    def send_probe(self, peer: Peer, way: int, datagram: bytes) -> int:
        self.probes.append((peer, way, datagram))
        return self.probe_verdict(len(datagram))

    def close(self) -> None:
        self.closed = True


@dataclass
class FakeTaps:
    """``doors.Taps`` on nothing: descriptors of /dev/null, namespaces that are a set of places."""

    places: set[Place] = field(default_factory=set)
    inside: dict[tuple[str, str], bool] = field(default_factory=dict)  # (path, ifname) -> whether we may enter
    forgotten: list[int] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    host_mtu: dict[str, int] = field(default_factory=dict)
    existing_hosts: set[str] = field(default_factory=set)
    followed: list[tuple[str | None, str, int | None, int]] = field(default_factory=list)
    fails: VxswitchError | None = None

    def host_name(self, network: str) -> str:
        return f"vx-{network}"

    def open_host(self, network: str, mac: bytes, mtu: int) -> Opened:
        if self.fails is not None:
            raise self.fails
        self.host_mtu[network] = mtu
        return Opened(descriptor(), 7, network not in self.existing_hosts)

    def follow_mtu(self, place: Place | None, ifname: str, was: int | None, mtu: int) -> None:
        if self.fails is not None:
            raise self.fails
        self.followed.append((place.path if place is not None else None, ifname, was, mtu))

    def accept(self, fd: int, name: str | None) -> Opened:
        return Opened(os.dup(fd), 7)

    def reopen(self, place: Place, ifname: str) -> Opened:
        if place not in self.places or (place.path, ifname) not in self.inside:
            raise NotFoundError("no such TAP")
        if not self.inside[place.path, ifname]:
            raise VxswitchError("may not enter")
        return Opened(descriptor(), 7)

    def same(self, place: Place) -> bool:
        return place in self.places

    def forget(self, fd: int) -> None:
        self.forgotten.append(fd)

    def delete_host(self, name: str) -> None:
        self.deleted.append(name)


def descriptor() -> int:
    """A descriptor that may be closed like any."""
    return os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)


class World:
    """Nodes over one MemoryHub: their clocks stand still unless a test moves ``time``."""

    def __init__(self, directory: Path) -> None:
        self.time = Time()
        self.directory = directory
        self.hub = MemoryHub(Clock(monotonic=self.time, wall=self.time), Rules())
        self.nodes: list[Node] = []

    async def node(
        self, name: str = "n1", vteps: Sequence[str] = ("192.0.2.1",), store: Store | None = None, **defaults: Any
    ) -> Node:
        node = Node(self, name, tuple(map(vtep, vteps)), store, defaults)
        self.nodes.append(node)
        await node.store.start(node.record, node.announcer.reassert, node.peers.heard)
        return node

    async def close(self) -> None:
        for node in self.nodes:
            await node.close()

    async def spread(self) -> None:
        """Let every node announce and hear until nothing is left to say."""
        for _ in range(6):
            for node in self.nodes:
                while node.announcer.backlog and self.hub.available and await node.announcer.flush():
                    pass
                await node.hear()


class Node:
    """One node: the real rooms of control, on a fake plane and fake TAPs."""

    def __init__(
        self, world: World, name: str, vteps: tuple[Vtep, ...], store: Store | None, defaults: dict[str, Any]
    ) -> None:
        self.world, self.name = world, name
        self.state = StateDir(world.directory / name)
        self.record = NodeRecord(name, self.state.uid, self.state.epoch, vteps, "test")
        self.store: Store = store if store is not None else MemoryStore(world.hub, beating=False)
        self.fdb, self.taps = Fdb(), FakeTaps()
        self.plane = FakePlane(self.fdb)
        self.mtu = 1450
        clock = world.time
        self.events = Events(clock)
        self.convergence = Convergence(clock, lambda: self.store.status().offset)
        self.peers = Peers(self.fdb, uid=self.state.uid, own=vteps, grace=60.0, clock=clock, tell=self.events.tell)
        self.announcer = Announcer(self.fdb, self.store, clock=clock)
        self.reconciler = Reconciler(
            self.fdb,
            self.peers,
            self.announcer,
            node=name,
            uid=self.state.uid,
            epoch=self.state.epoch,
            clock=clock,
            tell=self.events.tell,
            applied=self.store.applied,
            installed=self.convergence.installed,
        )
        self.prober = Prober(
            self.fdb,
            self.plane,
            interval=0.3,
            grace=60.0,
            mtu={vtep.family: 1500 for vtep in vteps},
            clock=clock,
            rng=random.Random(name),
            on_change=self.reconciler.look_again,
        )
        self.peers.probes = self.prober.heard
        learning = "flood" if self.store.status().state == "static" else "control"
        self.networks = Networks(
            self.fdb,
            self.store,
            self.peers,
            self.announcer,
            self.reconciler,
            self.state,
            defaults=config.Networks(**{"learning": learning, **defaults}),
            max_macs=16384,
            auto_mtu=lambda: self.mtu,
            stats=self.plane.stats,
        )
        self.joining = Joining(self.networks, self.store, self.peers)
        self.addresses = Addresses(self.store, name)
        self.ports = Ports(
            self.networks,
            self.plane,
            self.taps,
            self.addresses,
            self.state,
            identity=("test", name),
            limits=config.Limits(),
            max_macs=16384,
            clock=clock,
            release=self.announcer.release,
            tell=self.events.tell,
        )
        self.announcer.ports = self.networks.follower = self.reconciler.ports = self.ports
        self.announcer.put_back, self.announcer.fall_back = self.reconciler.put_back, self.reconciler.fall_back
        self.announcer.neighbours.ask = self.plane.ask_station
        self.groups = Groups(
            self.networks, self.store, self.plane, settings=config.Mcast(), single=self.ports.single, clock=clock
        )
        self.reconciler.groups = self.groups
        self.attaching = Attaching(
            self.ports, self.networks, self.joining, self.addresses, self.taps, identity=("test", name)
        )
        self._events = self.store.events()

    @property
    def rooms(self) -> Rooms:
        return Rooms(
            node=self.record,
            fdb=self.fdb,
            plane=self.plane,
            store=self.store,
            networks=self.networks,
            joining=self.joining,
            peers=self.peers,
            prober=self.prober,
            ports=self.ports,
            announcer=self.announcer,
            reconciler=self.reconciler,
            groups=self.groups,
            vteps=VtepWatch(self.plane, self.record.vteps),
            devices=Devices(self.record.vteps, [Device("eth0", 1520, True)] * len(self.record.vteps)),
            events=self.events,
            convergence=self.convergence,
            clock=self.world.time,
        )

    async def start(self, *networks: str | dict[str, Any], peers: Sequence[str] = ()) -> None:
        """Join networks, given as NAME=VNI, NAME, or objects."""
        self.ports.load()
        await self.networks.start([self.wanted(n) for n in networks], map(vtep, peers), 0.2)
        await self.ports.started()
        await self.settle()

    async def settle(self) -> None:
        """What ``Networks.run`` does once."""
        if self.networks.recorded:
            await self.networks.settle_all()
        await self.hear()

    def wanted(self, network: str | dict[str, Any]) -> config.Network:
        if isinstance(network, str):
            name, _, vni = network.partition("=")
            network = {"name": name, "vni": int(vni) if vni else None}
        defaults = {key: getattr(self.networks.defaults, key) for key in ("learning", "unknown", "antispoof", "vlan")}
        return from_plain(network, "test", defaults)

    async def hear(self) -> None:
        """Apply the events that are there now."""
        queue = getattr(self.store, "_queue", None)
        while queue is not None and not queue.empty():
            self.reconciler.apply(await anext(self._events))

    def beat(self) -> None:
        """The store's heartbeat, by hand."""
        assert isinstance(self.store, MemoryStore)
        self.store.beat()

    async def attach(self, network: str, netns: str = "c1", **wishes: Any) -> dict[str, Any]:
        """As a client would: with the descriptor of a TAP."""
        place = Place(f"/run/netns/{netns}", wishes.pop("inode", INODE))
        self.taps.places.add(place)
        message = {"op": "attach", "network": network, "netns": place.path, "inode": place.inode, "ifname": "eth0"}
        return await offering(self.attaching.handle, message | {"tap": "vxt-1", "ips": ["none"]} | wishes)

    def row(self, network: str, mac: str) -> Any:
        table = self.networks.by_name[network].table
        return table.rows.get(bytes.fromhex(mac.replace(":", ""))) if table is not None else None

    async def close(self) -> None:
        for table in self.fdb.tables.values():
            table.on_local = None
        await self.ports.finished()
        await self.store.close(leave=True)
        self.state.close()


async def offering(
    handler: Callable[[dict[str, Any], list[int]], Awaitable[dict[str, Any]]], message: dict[str, Any]
) -> dict[str, Any]:
    """Hand over a descriptor for the time of the call, as attach.sock does."""
    fd = descriptor()
    try:
        return await handler(message, [fd])
    finally:
        os.close(fd)
