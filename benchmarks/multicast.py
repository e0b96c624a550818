"""A multicast stream from one host to two, and the same stream to one host alone: `python -m benchmarks.multicast`.

Three hosts in namespaces on one bridge, with `vxswitch` (a Redis of its own, members found by snooping) and with kernel
VXLAN, which sends a copy to every VTEP of its list (head-end replication; its bridge is one host's). Needs root. The
generator is that of the other network figures; what is offered is what it managed. All share the machine's processors:
two receivers and their two hosts cost it twice what one does.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from statistics import median

from benchmarks import load
from benchmarks.peers.base import OVERLAY_MTU, VNI, adopt
from vxswitch.client import Client
from vxswitch.lab import Lab, Namespace, SwitchProcess, ping, until

GROUP = "239.7.7.7"
ADDRESSES = ("10.9.0.1", "10.9.0.2", "10.9.0.3")
LOADS = ((64, 50_000), (64, 150_000), (1400, 20_000), (1400, 60_000))  # payload in bytes, datagrams per second
READY = 30.0  # seconds

Joined = Callable[[int], None]  # waits until the sender's host knows so many members elsewhere


def vxswitch(lab: Lab) -> tuple[list[Namespace], Joined]:
    """Containers on three switches."""
    common = ("--store", lab.redis().url, "--network", f"bench={VNI}")
    switches = [host.switch(*common, wait=False) for host in lab.hosts]
    containers = [lab.container(f"c{host.index}") for host in lab.hosts]
    for switch, container, address in zip(switches, containers, ADDRESSES, strict=True):
        switch.wait_ready()
        switch.vx("attach", "bench", "--netns", container.name, "--ip", f"{address}/24")

    def joined(members: int) -> None:
        until(lambda: _members(switches[0]) == members, READY, f"{members} members of {GROUP}")

    return containers, joined


def _members(switch: SwitchProcess) -> int:
    """How many nodes are said to have joined; -1 while not even that is known."""
    rows = Client(str(switch.socket)).get("/v1/mcast", network="bench")
    if any(row["source"] == "unknown" for row in rows if row["group"] == "0.0.0.0"):
        return -1
    return sum(len(row["nodes"]) for row in rows if row["group"] == GROUP)


def kernel(lab: Lab) -> tuple[list[Namespace], Joined]:
    """Containers on three bridges with a vxlan device each."""
    containers = [lab.container(f"k{host.index}") for host in lab.hosts]
    for host, container, address in zip(lab.hosts, containers, ADDRESSES, strict=True):
        host.ip(
            f"link add vxlan0 type vxlan id {VNI} local {host.ip4} dstport 4789",
            "link add br0 type bridge mcast_snooping 0",
            "link set vxlan0 master br0",
            *(f"link set {device} mtu {OVERLAY_MTU} up" for device in ("vxlan0", "br0")),
            "link add in-a type veth peer name out-a",
            f"link set out-a mtu {OVERLAY_MTU} master br0 up",
        )
        for other in lab.hosts:
            if other is not host:
                host.run(["bridge", "fdb", "append", "00:00:00:00:00:00", "dev", "vxlan0", "dst", other.ip4])
        adopt(host, "in-a", container, address)
    return containers, lambda members: None


def ready(title: str, containers: list[Namespace]) -> None:
    """All have a way to groups, and to each other."""
    for container in containers:
        container.ip("route add 239.0.0.0/8 dev eth0")
    for address in ADDRESSES[1:]:
        until(partial(_answers, containers[0], address), READY, f"{title}: ping")


def _answers(source: Namespace, address: str) -> bool:
    return bool(ping(source, address, count=1).received)


def streams(containers: list[Namespace], joined: Joined, seconds: float) -> Iterator[tuple[str, list[load.Load]]]:
    """Every load, to the second container, then to a group that the second and the third have joined."""
    source, *others = containers
    for size, pps in LOADS:
        name = f"{size:5} B, {pps:7,}/s"
        yield (
            f"{name} to 1 host ",
            [load.udp(source, others[0], ADDRESSES[1], sizes=(size,), pps=pps, seconds=seconds)],
        )
        joined(0)
        known = partial(joined, 2)
        yield (
            f"{name} to a group",
            load.multicast(source, others, GROUP, sizes=(size,), pps=pps, seconds=seconds, joined=known),
        )


def _tell(name: str, rounds: list[list[load.Load]]) -> None:
    """Medians over the rounds; of a group, its worse served host's."""
    offered = median(one[0].offered_pps for one in rounds)
    delivered = median(min(host.delivered_pps for host in one) for one in rounds)
    late = sum(host.reordered for one in rounds for host in one)
    print(f"{name}  offered {offered:9,.0f}/s  delivered to each {delivered:9,.0f}/s  out of order {late}", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.multicast", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0, metavar="S", help="of each stream (default 2)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="over all streams (default 3)")
    parser.add_argument("--peers", default="vxswitch,kernel", metavar="A,B", help="default: both")
    args = parser.parse_args()
    found: dict[str, list[list[load.Load]]] = {}
    with ExitStack() as stack:
        made = []
        for title in args.peers.split(","):
            containers, joined = PEERS[title](stack.enter_context(Lab(hosts=3)))
            ready(title, containers)
            made.append((title, containers, joined))
        for _ in range(args.rounds):
            for title, containers, joined in made:
                for name, loads in streams(containers, joined, args.seconds):
                    found.setdefault(f"{title:<9} {name}", []).append(loads)
    for name, rounds in found.items():
        _tell(name, rounds)


PEERS = {"vxswitch": vxswitch, "kernel": kernel}


if __name__ == "__main__":
    main()
