"""Three hosts, one store and a second one to replicate from, two containers with a stream between them, and many MACs.

What does not depend on the kind of store is a ``Network``; ``fleets.py`` has those with several servers.

The containers and the stream are on the first two hosts; the third is there to be killed. Behind each of the two
containers stand more MACs (raw frames from made-up sources), so that recovery is about a table and not about two rows.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import redis

from vxswitch.attach.netns import enter, resolve
from vxswitch.client import Client
from vxswitch.lab import Lab, Meter, Namespace, StoreServer, SwitchProcess, until

CROWD = 50  # further MACs behind each container, fewer than limits.port_macs
CLUSTER, NETWORK, VNI = "vxswitch", "red", 100
PATIENCE = 20.0  # seconds for something that must happen
_ETH_P_PROBE = b"\x88\xb5"  # IEEE 802, local experimental ethertype 1: no station answers it
_ETH_P_ALL = 0x0003  # linux/if_ether.h


@dataclass(frozen=True, slots=True)
class Station:
    """A container in the network: its namespace, address and MAC."""

    namespace: Namespace
    ip: str
    mac: str


@dataclass(frozen=True, slots=True)
class Network:
    """What a trial works on. ``macs``: those that every node must know when all is well."""

    lab: Lab
    switches: tuple[SwitchProcess, ...]
    stations: tuple[Station, Station]
    macs: frozenset[str]
    meter: Meter

    def whole(self, switches: Sequence[SwitchProcess] | None = None) -> bool:
        """Whether these nodes (all) are connected, and have the same table as the store, every MAC in it, confirmed."""
        asked = self.switches if switches is None else switches
        if any(store_of(switch)["state"] != "up" for switch in asked):
            return False
        tables = [table(switch) for switch in asked]
        return all(one == tables[0] for one in tables) and self.macs == set(tables[0]) == self.in_store()

    def in_store(self) -> set[str]:
        """The MACs that the store has in the network."""
        raise NotImplementedError

    def admins(self) -> list[Any]:
        """Clients with all rights, one for each server that runs."""
        raise NotImplementedError

    def wait_whole(self, timeout: float = PATIENCE) -> None:
        """Return when it is; LabError when it does not come to be."""
        until(self.whole, timeout, "tables that are equal and whole", interval=0.05)


@dataclass(frozen=True, slots=True)
class World(Network):
    """On one server."""

    store: StoreServer
    another: StoreServer

    def in_store(self) -> set[str]:
        """See Network."""
        try:
            return set(self.store.admin.hkeys(f"vx:{{{CLUSTER}/0}}:{VNI}:fdb"))
        except redis.RedisError:
            return set()

    def admins(self) -> list[Any]:
        """See Network."""
        return [self.store.admin]


N = TypeVar("N", bound=Network)


def ask(switch: SwitchProcess, *parts: str, **query: Any) -> Any:
    """What the control socket answers to GET /v1/PARTS."""
    return Client(str(switch.socket)).get("/".join(("/v1", *parts)), **query)


def store_of(switch: SwitchProcess) -> dict[str, Any]:
    """What `vxswitch status` says of the store."""
    return dict(ask(switch, "status")["store"])


def table(switch: SwitchProcess) -> dict[str, tuple[str, str]]:
    """Who has which MAC, said alike by every node: confirmed rows only, {mac: (vtep, node)}."""
    rows = ask(switch, "fdb", network=NETWORK)
    return {row["mac"]: (row["vtep"], row["node"]) for row in rows if row["hop"] != "flood" and row["rev"] is not None}


@contextmanager
def world(*args: str) -> Iterator[World]:
    """All of it, whole; ``args`` go to every switch."""
    with Lab(hosts=3) as lab:
        store, another = lab.redis(persist=True), lab.redis(ipv6=True)
        on_it = partial(World, store=store, another=another)
        with network(lab, on_it, "--store", store.url, "--network", f"{NETWORK}={VNI}", *args) as made:
            yield made


@contextmanager
def network(lab: Lab, kind: Callable[..., N], *args: str) -> Iterator[N]:
    """Switches with ``args``, containers, MACs and stream, whole, as ``kind`` makes a Network of them."""
    common = ["--set", "networks.host_port=false", "--set", f"networks.{NETWORK}.antispoof=off", *args]
    switches = tuple(host.switch(*common, wait=False) for host in lab.hosts)
    for switch in switches:
        switch.wait_ready()
    one, two = (_station(lab, switches[at], f"c{at + 1}", f"10.9.0.{at + 1}") for at in range(2))
    macs = {one.mac, two.mac, *_crowd(one, two, 1), *_crowd(two, one, 2)}
    with Meter((one.namespace, one.ip), (two.namespace, two.ip)) as meter:
        made = kind(lab=lab, switches=switches, stations=(one, two), macs=frozenset(macs), meter=meter)
        made.wait_whole()
        meter.wait_flowing()
        yield made


def _station(lab: Lab, switch: SwitchProcess, label: str, ip: str) -> Station:
    """A container; without IPv6 it sends nothing that nobody asked it for."""
    namespace = lab.container(label)
    namespace.run(["sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1"])
    port = switch.vx("attach", NETWORK, "--netns", namespace.name, "--ip", f"{ip}/24", "--json")
    return Station(namespace, ip, port["mac"])


def _crowd(source: Station, destination: Station, number: int) -> set[str]:
    """Make up MACs behind a container, by one frame from each."""
    macs = [bytes((2, 0, 0x5E, number, 0, n)) for n in range(CROWD)]
    with enter(resolve(source.namespace.name)):
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
    with sock:
        sock.bind(("eth0", 0))
        for mac in macs:
            sock.send(bytes.fromhex(destination.mac.replace(":", "")) + mac + _ETH_P_PROBE + bytes(46))
            time.sleep(0.001)
    return {mac.hex(":") for mac in macs}
