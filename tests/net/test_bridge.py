"""The host's own TAP in a bridge: what stands behind it is claimed from its frames, found, moved and forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.net import traffic
from tests.net.containers import rows
from tests.net.pair import Pair, joined_pair, link
from tests.net.wire import BROADCAST, DEADLINE, Wire, frame
from vxswitch.lab import Host, Lab, Namespace, ping, until

MTU = 1450


@dataclass(frozen=True, slots=True)
class Bridged:
    """A container behind a bridge of a host, as Docker makes them: a veth, no port of its own."""

    namespace: Namespace
    host: Host
    ip: str
    mac: str


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with joined_pair("--set", "fdb.age=3") as made:
        for host in made.lab.hosts:
            host.run(["sysctl", "-eqw", "net.bridge.bridge-nf-call-iptables=0"])
            host.ip(
                f"link add br0 mtu {MTU} type bridge mcast_snooping 0 forward_delay 0",
                "link set vx-red master br0",
                "link set br0 up",
            )
        yield made


@pytest.fixture(scope="module")
def bridged(pair: Pair) -> list[Bridged]:
    return [behind(pair.lab, host, f"b{host.index}", 30 + host.index) for host in pair.lab.hosts]


def behind(lab: Lab, host: Host, label: str, number: int) -> Bridged:
    """A new container in the bridge of ``host``."""
    namespace, mac = lab.container(label), f"02:0b:00:00:00:{number:02x}"
    namespace.run(["sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1"])
    host.ip(
        f"link add {label} mtu {MTU} type veth peer name eth0 mtu {MTU} address {mac} netns {namespace.name}",
        f"link set {label} master br0 up",
    )
    namespace.ip("link set eth0 up", f"address add 10.9.0.{number}/24 dev eth0")
    return Bridged(namespace, host, f"10.9.0.{number}", mac)


def owner(pair: Pair, watcher: int, mac: str) -> str | None:
    """The node that has a MAC, as the switch of host ``watcher`` says; None: nobody."""
    row = rows(pair.switches[watcher], "red").get(mac)
    return str(row["node"]) if row else None


def test_containers_behind_bridges_and_ports_reach_each_other(pair: Pair, bridged: list[Bridged]) -> None:
    """Partial checksums and super-frames of the host's own bridge included."""
    one, two = bridged
    traffic.everything(one.namespace, two.namespace, two.ip, MTU, 20_000_000)
    traffic.everything(two.namespace, pair.one.namespace, pair.one.ip, MTU, 20_000_000)
    traffic.everything(pair.two.namespace, one.namespace, one.ip, MTU, 20_000_000)


def test_what_stands_behind_the_bridge_is_claimed(pair: Pair, bridged: list[Bridged]) -> None:
    one, two = bridged
    assert ping(one.namespace, two.ip).lost == 0
    until(lambda: (owner(pair, 1, one.mac), owner(pair, 0, two.mac)) == ("h1", "h2"), DEADLINE, "both claims")
    row = rows(pair.switches[1], "red")[one.mac]
    assert (row["hop"], row["source"], row["vtep"]) == ("remote", "claimed", "10.77.0.1:4789")


def test_what_falls_silent_behind_the_bridge_is_released_everywhere(pair: Pair, bridged: list[Bridged]) -> None:
    one, _ = bridged
    silent = "02:0b:00:00:00:77"
    with Wire(one.namespace) as wire:
        wire.send(frame(BROADCAST, silent, b"once"))
        until(lambda: owner(pair, 1, silent) == "h1", DEADLINE, "the claim")
        until(lambda: owner(pair, 1, silent) is None, DEADLINE, "its release")
    assert owner(pair, 0, silent) is None
    assert owner(pair, 1, pair.one.mac) == "h1"  # given to a port: it does not age


def test_what_moves_from_one_bridge_to_another_is_found_there(pair: Pair, bridged: list[Bridged]) -> None:
    """The frames of a MAC are the only evidence: it speaks behind one bridge, then behind the other, and back."""
    mover = "02:0b:00:00:00:78"
    for number in (0, 1, 0):
        here, node = bridged[number], f"h{number + 1}"
        with Wire(here.namespace) as wire:

            def speaks(wire: Wire = wire, node: str = node) -> bool:
                wire.send(frame(BROADCAST, mover, b"I am here"))
                return [owner(pair, watcher, mover) for watcher in (0, 1)] == [node, node]

            until(speaks, DEADLINE, f"{node} to have it everywhere", interval=0.1)


def test_the_host_itself_is_in_the_network(pair: Pair, bridged: list[Bridged]) -> None:
    """An address on the bridge of the first host: reached from everywhere."""
    host = pair.lab.hosts[0]
    host.ip("address add 10.9.0.200/24 dev br0")
    assert link(host, "br0") is not None
    for source in (pair.one.namespace, pair.two.namespace, bridged[1].namespace):
        assert ping(source, "10.9.0.200").lost == 0
    host.ip("address del 10.9.0.200/24 dev br0")
