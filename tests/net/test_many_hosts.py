"""Six hosts in one network: everyone finds everyone, a flooded frame has five copies, and containers move about."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import pytest

from tests.net.containers import Container, attach, full_mesh, rows
from tests.net.pair import reaches
from tests.net.wire import BROADCAST, DEADLINE, Watch, Wire, frame
from vxswitch.lab import Lab, SwitchProcess, ping, until

HOSTS = 6


@dataclass(frozen=True, slots=True)
class Crowd:
    """Container i is on host i."""

    lab: Lab
    switches: list[SwitchProcess]
    containers: list[Container]


@pytest.fixture(scope="module")
def crowd() -> Iterator[Crowd]:
    with Lab(hosts=HOSTS) as lab:
        args = ("--store", lab.redis().url, "--network", "red=100", "--set", "networks.host_port=false")
        switches = [host.switch(*args, wait=False) for host in lab.hosts]
        for switch in switches:
            switch.wait_ready()
        containers = [attach(lab, switch, "red", f"c{i}", f"10.9.0.{i}") for i, switch in enumerate(switches, start=1)]
        made = Crowd(lab, switches, containers)
        until(lambda: full_mesh(switches, "red"), DEADLINE, "full flood lists")
        until(lambda: all(len(rows(s, "red")) == HOSTS for s in switches), DEADLINE, "all claims everywhere")
        yield made


def test_every_container_reaches_every_other(crowd: Crowd) -> None:
    for source in crowd.containers:
        for destination in crowd.containers:
            if source is not destination:
                assert ping(source.namespace, destination.ip, count=2).lost == 0


def test_R04_a_broadcast_has_one_copy_for_each_other_host(crowd: Crowd) -> None:
    first, *others = crowd.containers
    probe, marker = frame(BROADCAST, first.mac, b"to all"), frame(BROADCAST, first.mac, b"marker")
    with Watch(crowd.lab.net) as watch, Wire(first.namespace) as wire:
        receivers = [Wire(other.namespace) for other in others]
        wire.send(probe)
        wire.send(marker)
        for receiver in receivers:
            assert receiver.until(marker).count(probe) == 1
            receiver.sock.close()
        copies = watch.copies(probe)
    assert copies == {("h1", "in"): HOSTS - 1, **{(host.label, "out"): 1 for host in crowd.lab.hosts[1:]}}


def test_a_container_that_moves_is_found_at_its_new_host(crowd: Crowd) -> None:
    """It takes its MAC and address along: out of one host, into another, and every table says so."""
    label, mover = "moving", "02:09:00:00:00:77"
    for number in (5, 1, 4):
        switch, host = crowd.switches[number], crowd.lab.hosts[number]
        made = attach(crowd.lab, switch, "red", f"{label}{number}", "10.9.0.77", "--mac", mover)
        until(partial(all_say, crowd, mover, f"{host.ip4}:4789"), DEADLINE, "every table to follow")
        for watcher in crowd.containers:
            assert reaches(watcher, made)
        switch.vx("detach", "red", "--netns", made.namespace.name)
        until(partial(all_say, crowd, mover, None), DEADLINE, "every table to forget it")


def all_say(crowd: Crowd, mac: str, vtep: str | None) -> bool:
    """Every node has the MAC behind that VTEP; None: no node has it."""
    return all((row["vtep"] if (row := rows(s, "red").get(mac)) else None) == vtep for s in crowd.switches)
