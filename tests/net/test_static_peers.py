"""Three hosts without a store: each is told the others' addresses, and the frames teach who is where (RFC 7348 4.1)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from tests.net import traffic
from tests.net.containers import Container, ask, attach, flood_list, rows
from tests.net.wire import BROADCAST, DEADLINE, Watch, Wire, frame
from vxswitch.lab import Lab, SwitchProcess, ping, until


class Mesh:
    """Host i has container 10.9.0.i, with a made-up MAC, in network red."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.switches: list[SwitchProcess] = []
        hosts = lab.hosts[:3]
        for host in hosts:
            peers = [word for other in hosts if other is not host for word in ("--peer", other.ip4)]
            args = ("--store", "static:", "--network", "red=100", "--set", "networks.host_port=false")
            self.switches.append(host.switch(*args, *peers, wait=False))
        for switch in self.switches:
            switch.wait_ready()
        self.containers: list[Container] = [
            attach(lab, switch, "red", f"c{i}", f"10.9.0.{i}", "--mac", f"02:09:00:00:00:{i:02x}")
            for i, switch in enumerate(self.switches, start=1)
        ]


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    with Lab(hosts=4) as lab:
        yield Mesh(lab)


def test_the_flood_list_is_what_was_configured(mesh: Mesh) -> None:
    assert flood_list(mesh.switches[0], "red") == ["10.77.0.2:4789", "10.77.0.3:4789"]
    peers = ask(mesh.switches[0], "peers")
    assert [(peer["vtep"], peer["node"], peer["networks"]) for peer in sorted(peers, key=lambda p: str(p["vtep"]))] == [
        ("10.77.0.2:4789", None, ["red"]),
        ("10.77.0.3:4789", None, ["red"]),
    ]
    assert ask(mesh.switches[0], "status")["store"]["state"] == "static"


def test_containers_reach_each_other_and_are_learned(mesh: Mesh) -> None:
    for source, destination in itertools.pairwise([*mesh.containers, mesh.containers[0]]):
        traffic.everything(source.namespace, destination.namespace, destination.ip, source.mtu, 5_000_000)
    table = rows(mesh.switches[0], "red")
    for number in (2, 3):
        row = table[mesh.containers[number - 1].mac]
        assert (row["hop"], row["source"], row["vtep"], row["rev"]) == (
            "remote",
            "learned",
            f"10.77.0.{number}:4789",
            None,
        )
        assert row["age"] is not None


def test_R03_an_unknown_destination_is_flooded_until_it_answers(mesh: Mesh) -> None:
    one, two, _ = mesh.containers
    mesh.switches[0].vx("fdb", "flush", "red")
    probe, answer = frame(two.mac, one.mac, b"who"), frame(one.mac, two.mac, b"me")
    with Watch(mesh.lab.net) as watch, Wire(one.namespace) as first, Wire(two.namespace) as second:
        first.send(probe)
        second.until(probe)
        second.send(answer)
        first.until(answer)
        assert watch.copies(probe) == {("h1", "in"): 2, ("h2", "out"): 1, ("h3", "out"): 1}
        first.send(probe)
        second.until(probe)
        assert watch.copies(probe) == {("h1", "in"): 1, ("h2", "out"): 1}


def test_R29_a_vtep_that_is_not_configured_may_not_send_into_the_network(mesh: Mesh) -> None:
    """A switch on a fourth host, of which the others never heard, with a container that has a third's MAC."""
    one, two, three = mesh.containers
    args = ("--network", "red=100", "--set", "networks.host_port=false", "--peer", mesh.lab.hosts[0].ip4)
    stranger = mesh.lab.hosts[3].switch(*args)
    guest = attach(mesh.lab, stranger, "red", "guest", "10.9.0.77", "--mac", three.mac)
    assert ping(three.namespace, one.ip, count=1).lost == 0
    before = ask(mesh.switches[0], "drops")["unknown_vtep"]
    told, marker = frame(one.mac, guest.mac, b"let me in"), frame(one.mac, two.mac, b"marker")
    with Wire(one.namespace) as wire, Wire(two.namespace) as friend, Wire(guest.namespace) as foreign:
        foreign.send(told)
        foreign.send(frame(BROADCAST, guest.mac, b"all of you"))
        until(lambda: ask(mesh.switches[0], "drops")["unknown_vtep"] == before + 2, DEADLINE, "both are refused")
        friend.send(marker)
        assert not [data for data in wire.until(marker) if data[6:12] == told[6:12]]
    assert rows(mesh.switches[0], "red")[three.mac]["vtep"] == "10.77.0.3:4789"
