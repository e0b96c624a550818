"""One cluster over both address families and two ports: every pair of nodes with a family in common works."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.net import traffic
from tests.net.containers import Container, ask, attach, flood_list, rows
from tests.net.wire import DEADLINE
from vxswitch.lab import Lab, SwitchProcess, ping, until

MTU = 1430  # the smaller of both families'


@dataclass(frozen=True, slots=True)
class Cluster:
    """h1 has both families, h2 only IPv4 and port 8472, h3 only IPv6."""

    switches: list[SwitchProcess]
    containers: list[Container]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Lab(hosts=3) as lab:
        one, two, three = lab.hosts
        args = ("--store", lab.redis(ipv6=True).url, "--network", "red=100", "--set", "networks.host_port=false")
        switches = [
            one.switch(*args, "--vtep", one.ip4, "--vtep", one.ip6, wait=False),
            two.switch(*args, "--vtep", f"{two.ip4}:8472", "--set", f"networks.mtu={MTU}", wait=False),
            three.switch(*args, "--vtep", f"[{three.ip6}]:4789", wait=False),
        ]
        for switch in switches:
            switch.wait_ready()
        containers = [attach(lab, switch, "red", f"c{i}", f"10.9.0.{i}") for i, switch in enumerate(switches, start=1)]
        yield Cluster(switches, containers)


def test_each_node_floods_to_those_it_can_reach(cluster: Cluster) -> None:
    expected = [["10.77.0.2:8472", "[fd77::3]:4789"], ["10.77.0.1:4789"], ["[fd77::1]:4789"]]
    until(lambda: [flood_list(s, "red") for s in cluster.switches] == expected, DEADLINE, "the flood lists")
    assert cluster.switches[0].ready["vtep"] == "10.77.0.1:4789,[fd77::1]:4789"
    assert ask(cluster.switches[2], "status")["vteps"] == ["[fd77::3]:4789"]


@pytest.mark.parametrize("other", [1, 2], ids=["ipv4, port 8472", "ipv6"])
def test_traffic_flows_whole_over_the_family_in_common(cluster: Cluster, other: int) -> None:
    one, two = cluster.containers[0], cluster.containers[other]
    until(lambda: two.mac in rows(cluster.switches[0], "red"), DEADLINE, "the claim")
    assert (one.mtu, two.mtu) == (MTU, MTU)
    traffic.everything(one.namespace, two.namespace, two.ip, MTU, 20_000_000)
    traffic.everything(two.namespace, one.namespace, one.ip, MTU, 20_000_000)


def test_nodes_without_a_family_in_common_do_not_pretend(cluster: Cluster) -> None:
    _, two, three = cluster.containers
    assert ping(two.namespace, three.ip, count=1, wait=0.2).received == 0
    assert three.mac not in rows(cluster.switches[1], "red")
