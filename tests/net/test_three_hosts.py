"""The main job: three hosts, a store, two networks with one subnet and one set of MACs, every container to every other.

Frames are counted on the underlay's bridge, not by the switch's own word.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.net import traffic
from tests.net.containers import ask, attach, full_mesh, rows
from tests.net.wire import BROADCAST, DEADLINE, Watch, Wire, frame, mac_bytes
from vxswitch.lab import Lab, hear, ping, saying, until
from vxswitch.lab.scenario import Member, Scenario

NETWORKS = ("red", "blue")
RING = [(1, 2), (2, 3), (3, 1)]
GROUP = "03:00:5e:01:02:03"
NOBODY = "02:ff:ff:ff:ff:fe"


@pytest.fixture(scope="module")
def scenario() -> Iterator[Scenario]:
    with Lab(hosts=3) as lab:
        made = Scenario(lab, NETWORKS)
        made.start_switches()
        made.attach_all()
        for member in made.members.values():
            member.namespace.ip(f"address add {ip6(member)}/64 dev eth0 nodad")
        switches = list(made.switches.values())
        until(lambda: all(full_mesh(switches, name) for name in NETWORKS), DEADLINE, "full flood lists")
        until(lambda: all(len(rows(s, n)) >= 3 for s in switches for n in NETWORKS), DEADLINE, "all claims everywhere")
        yield made


@pytest.fixture(scope="module", autouse=True)
def nothing_lost_without_a_reason(scenario: Scenario) -> Iterator[None]:
    """No switch drops a frame for a reason that a healthy cluster does not have, whatever the tests here send."""
    before = {name: ask(switch, "drops") for name, switch in scenario.switches.items()}
    yield
    for name, switch in scenario.switches.items():
        lost = {reason: n - before[name][reason] for reason, n in ask(switch, "drops").items()}
        assert not any(lost.values()), (name, lost)


def ip6(member: Member) -> str:
    return f"fd09::{member.host.index}"


def members(scenario: Scenario, network: str) -> list[Member]:
    return [member for member in scenario.members.values() if member.network == network]


def test_every_container_pings_every_other_at_every_size(scenario: Scenario) -> None:
    for source, destination in itertools.permutations(members(scenario, "red"), 2):
        traffic.ping_sizes(source.namespace, destination.ip, source.mtu)
        assert ping(source.namespace, ip6(destination), count=3).lost == 0


def test_tcp_and_udp_between_every_two_arrive_whole(scenario: Scenario) -> None:
    for source, destination in itertools.permutations(members(scenario, "blue"), 2):
        traffic.tcp(source.namespace, destination.namespace, destination.ip, 5_000_000)
        traffic.udp(source.namespace, destination.namespace, destination.ip, source.mtu)


def test_a_hundred_megabytes_arrive_whole_over_both_inner_families(scenario: Scenario) -> None:
    source, destination, _ = members(scenario, "red")
    for address in (destination.ip, ip6(destination)):
        traffic.tcp(source.namespace, destination.namespace, address)


def test_R14_the_same_address_is_another_container_in_each_network(scenario: Scenario) -> None:
    for (source, destination), network in itertools.product(RING, NETWORKS):
        asker, target = scenario.members[f"{network}{source}"], scenario.members[f"{network}{destination}"]
        with saying(target.namespace, target.namespace.label) as port:
            assert hear(asker.namespace, target.ip, port) == f"{network}{destination}"


@pytest.mark.parametrize("kind", ["broadcast", "multicast", "unknown", "known"])
def test_R14_no_frame_of_one_network_reaches_the_other(scenario: Scenario, kind: str) -> None:
    """The same frame from the same MAC in both networks, but for its payload: each container sees its own network's."""
    stations = members(scenario, "red")
    dst = {"broadcast": BROADCAST, "multicast": GROUP, "unknown": NOBODY, "known": stations[1].mac}[kind]
    probes = {name: frame(dst, stations[0].mac, name.encode()) for name in NETWORKS}
    marker = frame(BROADCAST, stations[0].mac, b"marker")
    back = frame(stations[0].mac, stations[1].mac, b"back")
    with ExitStack() as stack:
        wires = {label: stack.enter_context(Wire(m.namespace)) for label, m in scenario.members.items()}
        for name in NETWORKS:
            wires[f"{name}1"].send(probes[name])
        expected = [f"{name}{number}" for name in NETWORKS for number in ((2,) if kind == "known" else (2, 3))]
        for label in expected:
            assert not set(wires[label].until(probes[label[:-1]])) & set(probes.values())
        for name in NETWORKS:  # whatever was still on its way is here before these
            wires[f"{name}1"].send(marker)
        for name, number in itertools.product(NETWORKS, (2, 3)):
            assert not set(wires[f"{name}{number}"].until(marker)) & set(probes.values())
        for name in NETWORKS:
            wires[f"{name}2"].send(back)
            assert not set(wires[f"{name}1"].until(back)) & set(probes.values())


@pytest.mark.parametrize("dst", [BROADCAST, GROUP, NOBODY])
def test_R04_a_flooded_frame_leaves_once_for_each_vtep_and_none_comes_back(scenario: Scenario, dst: str) -> None:
    one, two, three = members(scenario, "red")
    probe, marker = frame(dst, one.mac, b"flooded"), frame(dst, one.mac, b"marker")
    with (
        Watch(scenario.lab.net) as watch,
        Wire(one.namespace) as first,
        Wire(two.namespace) as second,
        Wire(three.namespace) as third,
    ):
        first.send(probe)
        first.send(marker)
        for wire in (second, third):
            assert wire.until(marker).count(probe) == 1
        for number, (wire, member) in enumerate(
            ((second, two), (third, three))
        ):  # whatever they sent back is behind us
            back = frame(one.mac, member.mac, b"back %d" % number)
            wire.send(back)
            assert probe not in first.until(back)
        assert watch.copies(probe) == {("h1", "in"): 2, ("h2", "out"): 1, ("h3", "out"): 1}


def test_R01_a_known_destination_gets_one_datagram_and_nobody_else_any(scenario: Scenario) -> None:
    one, two, _ = members(scenario, "red")
    probe = frame(two.mac, one.mac, b"unicast")
    with Watch(scenario.lab.net) as watch, Wire(one.namespace) as first, Wire(two.namespace) as second:
        first.send(probe)
        second.until(probe)
        found = [seen for seen in watch.seen() if seen.inner == probe]
    assert [(seen.port, seen.way, seen.vni) for seen in found] == [("h1", "in", 100), ("h2", "out", 100)]


def test_R06_R15_R17_R18_R22_the_outer_headers_are_as_they_must_be(scenario: Scenario) -> None:
    one, two, _ = members(scenario, "red")
    with Watch(scenario.lab.net) as watch:
        assert ping(one.namespace, two.ip, count=3).lost == 0
        datagrams = [seen for seen in watch.seen() if seen.way == "in"]
    assert len(datagrams) >= 6
    hosts = {host.label: host for host in scenario.lab.hosts}
    for datagram in datagrams:
        ip, udp = datagram.outer["IP"], datagram.outer["UDP"]
        assert ip.src == hosts[datagram.port].ip4
        assert (ip.flags, ip.ttl, udp.dport) == ("DF", 64, 4789)
        assert 49152 <= udp.sport <= 65535
        assert udp.chksum != 0
        header = bytes(udp.payload)[:8]
        assert header[:4] == b"\x08\x00\x00\x00" and header[7] == 0  # R10 to R12


def test_two_containers_of_one_host_talk_without_the_underlay(scenario: Scenario) -> None:
    lab, switch = scenario.lab, scenario.switches["h1"]
    one = scenario.members["red1"]
    near = attach(lab, switch, "red", "near", "10.9.0.11")
    assert ping(one.namespace, near.ip).lost == 0
    with Watch(lab.net) as watch:
        traffic.everything(one.namespace, near.namespace, near.ip, near.mtu, 20_000_000)
        traffic.everything(near.namespace, one.namespace, one.ip, near.mtu, 20_000_000)
        ends = {mac_bytes(one.mac), mac_bytes(near.mac)}
        assert [seen for seen in watch.seen() if {seen.inner[:6], seen.inner[6:12]} == ends] == []
