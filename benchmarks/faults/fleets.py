"""What can go wrong where servers stand in for one another: real Sentinels and Redis Clusters in the store's place.

All servers listen on addresses of the underlay's own namespace. They notice a dead primary after ``NOTICED``; what is
measured as "shown" is the time until every node works with another primary, or says that a slot is on its way.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import redis

from benchmarks.faults.fault import Fault
from benchmarks.faults.store import store_is
from benchmarks.faults.world import CLUSTER, NETWORK, Network, network
from tests.store.fleets import SECRET, SENTINEL_SECRET, SENTINEL_USER, ClusterFleet, Host, Move, Seat, SentinelFleet
from tests.store.servers import USER
from vxswitch.lab import Lab, until
from vxswitch.store.cluster import BUCKETS, bucket_of
from vxswitch.store.redis_moving import REASON
from vxswitch.store.redis_scripts import Keys

NOTICED = 1000  # ms: down-after-milliseconds, cluster-node-timeout
ELECTED = 20.0  # seconds until every node works with another primary
LINKS = 2  # of a node to the server of a bucket


@dataclass(frozen=True, slots=True)
class FleetNetwork(Network):
    """On several servers. ``struck``: the server that the last fault hit, or the move that it began."""

    fleet: SentinelFleet | ClusterFleet
    keys: Keys
    vni: int
    struck: list[Any] = field(default_factory=list)

    def holder(self) -> Host:
        """The server that has the network's tables."""
        if isinstance(self.fleet, SentinelFleet):
            return self.fleet.primary()
        return self.fleet.owner(self.keys.nodes)

    def in_store(self) -> set[str]:
        """See Network."""
        return set(self.holder().admin.hkeys(self.keys.parts(self.vni, "fdb")[0]))

    def admins(self) -> list[Any]:
        """See Network."""
        return [host.admin for host in self.fleet.hosts if host.server.running]


@contextmanager
def sentinel(*args: str) -> Iterator[FleetNetwork]:
    """A primary, two replicas, three sentinels; ``args`` go to every switch."""
    with Lab(hosts=3) as lab, closing(SentinelFleet("redis", _room(lab), _seats(lab), down_ms=NOTICED)) as fleet:
        more = [f"store.sentinel_user={SENTINEL_USER}", f"store.sentinel_password_file={_secret(lab, SENTINEL_SECRET)}"]
        options = [word for setting in more for word in ("--set", setting)]
        with _on(lab, fleet, Keys(CLUSTER), 100, *options, *args) as made:
            yield made


@contextmanager
def cluster(*args: str) -> Iterator[FleetNetwork]:
    """Three primaries, of which one has a replica: that one has the network's tables."""
    with (
        Lab(hosts=3) as lab,
        closing(ClusterFleet("redis", _room(lab), _seats(lab), replicas=1, timeout_ms=NOTICED)) as fleet,
    ):
        chief, keys = fleet.replicated(), [Keys(CLUSTER, bucket, BUCKETS) for bucket in range(BUCKETS)]
        vni = next(vni for vni in count(100) if fleet.owner(keys[bucket_of(vni)].nodes) is chief)
        with _on(lab, fleet, keys[bucket_of(vni)], vni, *args) as made:
            yield made


@contextmanager
def _on(lab: Lab, fleet: SentinelFleet | ClusterFleet, keys: Keys, vni: int, *args: str) -> Iterator[FleetNetwork]:
    options = ["--store", fleet.url, "--set", f"store.password_file={_secret(lab, SECRET)}"]
    kind = partial(FleetNetwork, fleet=fleet, keys=keys, vni=vni)
    with network(lab, kind, "--network", f"{NETWORK}={vni}", *options, *args) as made:
        yield made


def _room(lab: Lab) -> Path:
    directory = lab.directory / "fleet"
    directory.mkdir()
    return directory


def _seats(lab: Lab) -> Any:
    """Addresses of the underlay's own namespace, one after another."""
    hosts = count(1)

    def seat(_: int) -> Seat:
        address = f"10.77.1.{next(hosts)}"
        lab.net.ip(f"address add {address}/16 dev br0")
        return Seat(address, tuple(lab.net.inside([])))

    return seat


def _secret(lab: Lab, text: str) -> Path:
    path = lab.directory / f"{text}.secret"
    path.write_text(text)
    path.chmod(0o600)
    return path


# What strikes, and how it is healed.


def _kill(world: FleetNetwork) -> None:
    host = world.holder()
    world.struck[:] = [host]
    host.server.kill()


def _start(world: FleetNetwork) -> None:
    world.struck[0].server.start()


def _stop(world: FleetNetwork) -> None:
    host = world.holder()
    world.struck[:] = [host]
    host.server.signal(signal.SIGSTOP)


def _go_on(world: FleetNetwork) -> None:
    world.struck[0].server.signal(signal.SIGCONT)


def followed(world: FleetNetwork) -> str | None:
    """Every node has its links to another primary than the one that was struck."""
    others = [host for host in world.fleet.hosts if host.server.running and host is not world.struck[0]]
    if any(_serves(host, world) for host in others) and store_is("up")(world):
        return "up, with another primary"
    return None


def _serves(host: Host, world: FleetNetwork) -> bool:
    """Whether a server has the network's tables, and every node its links to it."""
    ours = [client for client in host.admin.client_list() if client["user"] == USER]
    try:
        owns = host.role == "master" and host.admin.exists(*world.keys.parts(world.vni, "meta"))
    except redis.ResponseError:  # MOVED
        return False
    return bool(owns) and len(ours) >= LINKS * len(world.switches)


def _begin_move(world: FleetNetwork) -> None:
    """Half of the keys go, the leases first."""
    assert isinstance(world.fleet, ClusterFleet)
    move = Move(world.fleet, world.keys.nodes)
    world.struck[:] = [move]
    move.begin()
    move.move_keys(world.keys.lease, *world.keys.parts(world.vni, "log"))


def _end_move(world: FleetNetwork) -> None:
    move = world.struck[0]
    move.move_keys()
    move.end()
    until(lambda: world.holder() is move.target, ELECTED, "the slot with its new owner")


SENTINEL = (
    Fault("sentinel_hung", "Sentinel: the primary hangs (SIGSTOP)", _stop, _go_on, followed, within=ELECTED),
    Fault("sentinel_killed", "Sentinel: SIGKILL of the primary", _kill, _start, followed, within=ELECTED),
)
CLUSTERED = (
    Fault("cluster_killed", "Cluster: SIGKILL of a primary", _kill, _start, followed, within=ELECTED),
    Fault("slot_moved", "Cluster: a slot on its way, held half-way", _begin_move, _end_move, store_is("up", REASON)),
)
