"""The rooms, made in the order in which they need each other, and handed to each other where they need each other both.

Nothing runs here yet: ``serving`` starts and ends what this makes.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vxswitch import __version__
from vxswitch.config import Config
from vxswitch.control.addresses import Addresses
from vxswitch.control.announcer import Announcer
from vxswitch.control.attaching import Attaching
from vxswitch.control.convergence import Convergence
from vxswitch.control.devices import Devices
from vxswitch.control.events import Events
from vxswitch.control.groups import Groups
from vxswitch.control.joining import Joining
from vxswitch.control.networks import Networks
from vxswitch.control.peers import Peers
from vxswitch.control.ports import Ports
from vxswitch.control.prober import Prober
from vxswitch.control.reconciler import Reconciler
from vxswitch.control.state import StateDir
from vxswitch.control.tables import Tables
from vxswitch.control.views import Rooms
from vxswitch.control.vouching import Vouching
from vxswitch.control.vteps import VtepWatch
from vxswitch.control.watching import StateWatch
from vxswitch.dataplane.plane import Plane
from vxswitch.dataplane.sockets import UnderlayOptions
from vxswitch.fdb import Fdb, LocalPort
from vxswitch.model import NodeRecord
from vxswitch.store.base import Store
from vxswitch.store.open import open_store
from vxswitch.store.redis_connect import TlsSettings
from vxswitch.store.rules import Rules
from vxswitch.switch.door import OwnVteps
from vxswitch.switch.following import find
from vxswitch.switch.kernel import KernelTaps
from vxswitch.wire.probe import Identity, node_of
from vxswitch.workers.crew import Crew
from vxswitch.workers.messages import Begin
from vxswitch.workers.shared import SharedPlane

clock = time.monotonic
wall = time.time


@dataclass(frozen=True, slots=True)
class Built:
    """What was made: the rooms that there is to tell about, and what only the process itself uses."""

    rooms: Rooms
    attaching: Attaching
    tables: Tables
    state_watch: StateWatch


def make_plane(
    config: Config,
    on_port_gone: Callable[[LocalPort], None],
    on_bug: Callable[[Exception], None],
    identity: Identity,
    crew: Crew | None = None,
) -> Plane:
    """The data plane, without VTEPs and ports yet, as a guest of the running loop; shared with a crew, if there is."""
    loop = asyncio.get_running_loop()
    guest: dict[str, Any] = {
        "clock": clock,
        "call_soon": loop.call_soon,
        "call_later": loop.call_later,
        "add_reader": loop.add_reader,
        "remove_reader": loop.remove_reader,
        "on_port_gone": on_port_gone,
        "on_bug": on_bug,
        "identity": identity,
    }
    options = underlay_options(config)
    return Plane(Fdb(), options, **guest) if crew is None else SharedPlane(Fdb(), options, crew, **guest)


def new_identity(state: StateDir) -> Identity:
    """Who answers probes here: this node, in this life."""
    return Identity(node_of(state.uid), secrets.randbits(64))


def start_crew(config: Config, identity: Identity, on_lost: Callable[[], None]) -> Crew | None:
    """The worker processes beside this one, if any are wanted."""
    if config.node.workers == 1:
        return None
    seen_every = min(1.0, config.fdb.age / 8)
    begin = Begin(underlay_options(config), seen_every, identity, config.log.level, config.log.format)
    return Crew(config.node.workers - 1, begin, on_lost)


def underlay_options(config: Config) -> UnderlayOptions:
    """What the configuration says of the underlay, as the data plane wants it."""
    settings = config.underlay
    return UnderlayOptions(
        send_sockets=settings.send_sockets,
        ttl=settings.ttl,
        receive_buffer=settings.receive_buffer,
        send_buffer=settings.send_buffer,
        accept_fragments=settings.accept_fragments,
        strict_reserved=settings.strict_reserved,
        udp_checksum=settings.udp_checksum == "on",
        udp6_zero_rx=settings.udp6_zero_rx,
        copy_dscp=settings.copy_dscp,
        busy_poll=settings.busy_poll / 1e6,
    )


def make_store(config: Config) -> Store:
    """The store of the configuration; connects nowhere yet."""
    keys, timers = config.store, config.timers
    files = (keys.ca_file, keys.cert_file, keys.key_file)
    return open_store(
        url=keys.url,
        password=keys.password,
        cluster=config.node.cluster,
        state_dir=config.node.state_dir,
        lease=timers.lease,
        beat=timers.beat,
        grace=timers.grace,
        listen=str(keys.listen) if keys.listen is not None else None,
        tls=TlsSettings(*(str(path) if path is not None else None for path in files)) if any(files) else None,
        sentinel_user=keys.sentinel_user,
        sentinel_password=keys.sentinel_password,
    )


def build(config: Config, state: StateDir, own: OwnVteps, plane: Plane, store: Store) -> Built:
    """Everything that control consists of."""
    node = NodeRecord(config.node.name, state.uid, state.epoch, own.vteps, __version__)
    fdb, events, devices = plane.fdb, Events(wall), Devices(own.vteps, own.devices, find)
    convergence = Convergence(wall, lambda: store.status().offset)
    peers = Peers(fdb, uid=state.uid, own=own.vteps, grace=config.timers.grace, clock=clock, tell=events.tell)
    announcer = Announcer(fdb, store, clock=clock)
    reconciler = _make_reconciler(node, store, peers, announcer, events, convergence)
    networks = Networks(
        fdb,
        store,
        peers,
        announcer,
        reconciler,
        state,
        defaults=config.networks,
        max_macs=config.fdb.max_macs,
        auto_mtu=lambda: devices.mtu,
        stats=plane.stats,
    )
    joining = Joining(networks, store, peers)
    attaching, ports = _make_ports(config, state, plane, store, networks, joining, announcer, events)
    prober = Prober(
        fdb,
        plane,
        interval=config.timers.probe,
        grace=config.timers.grace,
        mtu=devices.mtu_by_family,
        clock=clock,
        rng=random.SystemRandom(),
        on_change=reconciler.look_again,
    )
    peers.probes = prober.heard
    announcer.ports = reconciler.ports = networks.follower = ports
    announcer.put_back, announcer.fall_back = reconciler.put_back, reconciler.fall_back
    announcer.neighbours.ask = plane.ask_station
    groups = Groups(networks, store, plane, settings=config.mcast, single=ports.single, clock=clock)
    reconciler.groups = groups
    rooms = Rooms(
        node=node,
        fdb=fdb,
        plane=plane,
        store=store,
        networks=networks,
        joining=joining,
        peers=peers,
        prober=prober,
        ports=ports,
        announcer=announcer,
        reconciler=reconciler,
        groups=groups,
        vteps=VtepWatch(plane, own.vteps),
        devices=devices,
        events=events,
        convergence=convergence,
        clock=clock,
    )
    return Built(rooms, attaching, _make_tables(config, state, rooms), StateWatch(store, ports, events.tell))


def _make_reconciler(
    node: NodeRecord, store: Store, peers: Peers, announcer: Announcer, events: Events, convergence: Convergence
) -> Reconciler:
    """Who applies the store's events, and who is told of that."""
    reconciler = Reconciler(
        peers.fdb,
        peers,
        announcer,
        node=node.name,
        uid=node.uid,
        epoch=node.epoch,
        clock=clock,
        tell=events.tell,
        applied=store.applied,
        installed=convergence.installed,
    )
    announcer.put_back = reconciler.put_back
    return reconciler


def _make_tables(config: Config, state: StateDir, rooms: Rooms) -> Tables:
    """What the others have, on disk."""
    vouching = Vouching(clock, Rules(lease=config.timers.lease).come_back)
    identity = {"cluster": config.node.cluster, "uid": state.uid}
    return Tables(state, rooms.fdb, rooms.reconciler, rooms.peers, vouching, **identity)


def _make_ports(
    config: Config,
    state: StateDir,
    plane: Plane,
    store: Store,
    networks: Networks,
    joining: Joining,
    announcer: Announcer,
    events: Events,
) -> tuple[Attaching, Ports]:
    """Ports, and the requests that make and remove them."""
    identity, taps = (config.node.cluster, config.node.name), KernelTaps()
    addresses = Addresses(store, config.node.name)
    ports = Ports(
        networks,
        plane,
        taps,
        addresses,
        state,
        identity=identity,
        limits=config.limits,
        max_macs=config.fdb.max_macs,
        clock=clock,
        release=announcer.release,
        tell=events.tell,
    )
    return Attaching(ports, networks, joining, addresses, taps, identity=identity), ports
