"""A switch of several processes on real TAPs: what one process does, two do, and no frame is lost or turned round."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from vxswitch.lab import iperf
from vxswitch.lab.netns import Namespace, until
from vxswitch.lab.switch import SwitchProcess
from vxswitch.lab.topology import Lab

SEQUENCE = str(Path(__file__).with_name("sequence.py"))
DEADLINE = 10.0


@dataclass
class World:
    """Hosts with a switch and a container each; container i is 10.9.0.i."""

    lab: Lab
    switches: list[SwitchProcess]
    containers: list[Namespace]

    def attach(self, host: int, number: int, **options: str) -> Namespace:
        """Another container on a host (counted from 0)."""
        namespace = self.lab.container(f"c{number}")
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        self.switches[host].vx("attach", "red", "--netns", namespace.name, "--ip", f"10.9.0.{number}/24", *words)
        return namespace

    def settled(self) -> None:
        """Wait until every switch has counted up to the last frame: frames are conserved everywhere."""
        for switch in self.switches:
            until(lambda switch=switch: conserved(switch), DEADLINE, f"the counts of {switch.namespace.label} to agree")


def make(lab: Lab, *args: str, hosts: int, workers: str = "2") -> World:
    """Switches with workers on the first hosts of a lab, and a container on each."""
    common = ("--network", "red=100", "--workers", workers, *args)
    switches = [host.switch(*common, wait=False) for host in lab.hosts[:hosts]]
    for switch in switches:
        switch.wait_ready()
    world = World(lab, switches, [])
    world.containers = [world.attach(i, i + 1) for i in range(hosts)]
    return world


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """Three hosts with a store, for tests that leave everything as it was."""
    with Lab(hosts=3) as lab:
        yield make(lab, "--store", lab.redis().url, hosts=3)


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Hosts without anything on them."""
    with Lab(hosts=2) as made:
        yield made


def flooding(lab: Lab, *args: str) -> World:
    """Two switches that learn from frames."""
    one, two = lab.hosts
    world = World(lab, [], [])
    for host, peer in ((one, two), (two, one)):
        words = ("--store", "static:", "--peer", peer.ip4, "--network", "red=100", "--workers", "2")
        world.switches.append(host.switch(*words, "--set", "networks.antispoof=off", *args))
    world.containers = [world.attach(i, i + 1) for i in range(2)]
    return world


def conserved(switch: SwitchProcess) -> bool:
    """The law of ``counters``, which also says that no count is on its way."""
    status, stats = switch.vx("status", "--json"), switch.vx("stats", "--json")
    drops = sum(switch.vx("drops", "--json").values())
    return bool(
        stats["frames_in"] + stats["copies"] + stats["originated"]
        == stats["frames_out"] + stats["absorbed"] + stats["held"] + drops
        and status["frames"] == {"in": stats["frames_in"], "out": stats["frames_out"]}
    )


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    """Whether a process runs."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def ping(source: Namespace, address: str, count: int = 3) -> bool:
    """Whether the last of some pings is answered."""
    return source.run(["ping", "-q", "-c", str(count), "-i", "0.05", "-W", "1", address], check=False).returncode == 0


def rows(switch: SwitchProcess) -> dict[str, dict[str, Any]]:
    """The forwarding table by MAC, flooding left out."""
    return {row["mac"]: row for row in switch.vx("fdb", "--json") if row["hop"] != "flood"}


def mac_of(namespace: Namespace) -> str:
    """The MAC of a container's interface."""
    return str(json.loads(namespace.run(["ip", "-j", "link", "show", "eth0"]).stdout)[0]["address"])


def numbered(source: Namespace, target: Namespace, address: str, flows: int, each: int) -> list[dict[str, int]]:
    """Send numbered datagrams there and back; what each end says."""
    server = target.popen([sys.executable, SEQUENCE, "echo", address, "7000"], stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None and server.stdout.readline() == b"ready\n"
        sent = source.run([sys.executable, SEQUENCE, "send", address, "7000", str(flows), str(each)], timeout=60)
        echoed = server.stdout.read()
    finally:
        target.end(server)
    return [json.loads(echoed), json.loads(sent.stdout)]


def test_ping_tcp_and_udp_between_all(world: World) -> None:
    one, two, three = world.containers
    for source in world.containers:
        for number in (1, 2, 3):
            assert ping(source, f"10.9.0.{number}")
    for flows in (1, 8):
        assert iperf.tcp(one, two, "10.9.0.2", seconds=1, flows=flows, both=True).received_bytes > 10 << 20
    assert iperf.udp(two, three, "10.9.0.3", size=400, pps=2000, seconds=1).lost == 0
    world.settled()


def test_no_datagram_of_a_flow_is_turned_round_or_doubled(world: World) -> None:
    one, two, _ = world.containers
    for told in numbered(one, two, "10.9.0.2", flows=40, each=500):
        assert told == {"got": 40 * 500, "reordered": 0, "duplicated": 0}
    world.settled()


def test_whoever_reads_a_port_receives_for_it(world: World) -> None:
    """Two containers of one host, 40 flows each, whose source ports alone would spread them over both processes."""
    one, two, _ = world.containers
    extra = world.attach(1, 9)
    pids = [world.switches[1].pid, *children(world.switches[1].pid)]
    try:
        shares = []
        for target, address in ((two, "10.9.0.2"), (extra, "10.9.0.9")):
            before = [writes(pid) for pid in pids]
            numbered(one, target, address, flows=40, each=200)
            shares.append([writes(pid) - count for pid, count in zip(pids, before, strict=True)])
        busiest = [share.index(max(share)) for share in shares]
        assert len(pids) == 2 and sorted(busiest) == [0, 1], shares
        assert all(max(share) > 20 * min(share) for share in shares), shares
    finally:
        world.switches[1].vx("detach", "red", "--netns", extra.name)
    world.settled()


def test_what_is_for_another_mac_is_divided_by_flow(lab: Lab) -> None:
    """40 flows to a MAC that a container took later: all on one side would be chance, one in 2^39."""
    world = flooding(lab)
    one, two = world.containers
    two.ip("link set eth0 address 02:00:00:00:00:77")
    assert ping(one, "10.9.0.2")
    pids = [world.switches[1].pid, *children(world.switches[1].pid)]
    before = [writes(pid) for pid in pids]
    for told in numbered(one, two, "10.9.0.2", flows=40, each=200):
        assert told == {"got": 40 * 200, "reordered": 0, "duplicated": 0}
    moved = [writes(pid) - count for pid, count in zip(pids, before, strict=True)]
    assert len(pids) == 2 and min(moved) > 200, moved


def writes(pid: int) -> int:
    """How often a process has called write(2): what comes from the underlay is written to a TAP by it."""
    found = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(found["syscw"])


def test_local_ports_of_different_workers_reach_each_other(world: World) -> None:
    extra = world.attach(0, 4)
    try:
        assert ping(extra, "10.9.0.1") and ping(world.containers[0], "10.9.0.4") and ping(extra, "10.9.0.2")
        for told in numbered(extra, world.containers[0], "10.9.0.1", flows=10, each=200):
            assert told == {"got": 10 * 200, "reordered": 0, "duplicated": 0}
    finally:
        world.switches[0].vx("detach", "red", "--netns", extra.name)
    world.settled()


def test_drops_of_all_processes_are_summed(world: World) -> None:
    """Frames too long for the network: each dies in the process that reads its port, for every port."""
    switch, extra = world.switches[0], world.attach(0, 5)
    before = switch.vx("drops", "--json")["reserved_group"]
    for namespace in (world.containers[0], extra):
        namespace.run([sys.executable, "-c", SEND_LLDP])
    until(
        lambda: switch.vx("drops", "--json")["reserved_group"] >= before + 20,
        DEADLINE,
        "10 drops of each of two ports",
    )
    by_port = {port["netns"]: port["drops"]["reserved_group"] for port in switch.vx("ports", "--json") if port["netns"]}
    assert all(n >= 10 for n in by_port.values()) and len(by_port) == 2
    switch.vx("detach", "red", "--netns", extra.name)
    assert switch.vx("drops", "--json")["reserved_group"] >= before + 20
    world.settled()


SEND_LLDP = """
import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("eth0", 0))
for _ in range(10):
    s.send(bytes.fromhex("0180c200000e") + s.getsockname()[4] + bytes.fromhex("88cc") + bytes(50))
"""


def test_a_port_that_goes_is_let_go_by_every_process(world: World) -> None:
    """The device goes with its last descriptor, wherever that is."""
    extra = world.attach(2, 6)
    assert ping(extra, "10.9.0.1")
    world.switches[2].vx("detach", "red", "--netns", extra.name)
    until(lambda: extra.run(["ip", "link", "show", "eth0"], check=False).returncode != 0, DEADLINE, "the TAP to go")


def test_a_namespace_that_ends_is_noticed_by_whoever_reads_it(world: World) -> None:
    doomed = [world.attach(2, number) for number in (7, 8)]  # read by different processes
    assert all(ping(extra, "10.9.0.1") for extra in doomed)
    for extra in doomed:
        subprocess.run(["ip", "netns", "del", extra.name], check=True)
    names = {extra.name for extra in doomed}
    until(lambda: not any(_named(world.switches[2], names)), DEADLINE, "both ports to go")


def _named(switch: SwitchProcess, names: set[str]) -> list[str]:
    return [port["id"] for port in switch.vx("ports", "--json") if any(name in port["id"] for name in names)]


def test_a_mac_moves(lab: Lab) -> None:
    """From one port to another of the same host, and to the other host: the later frame wins, in every process."""
    world = flooding(lab)
    one, two = world.containers
    mover = "02:00:00:00:00:77"
    assert ping(one, "10.9.0.2")
    for place in (two, world.attach(1, 3), world.attach(0, 4), two):
        own = mac_of(place)
        place.ip(f"link set eth0 address {mover}", "address add 10.9.0.77/24 dev eth0")
        one.ip(f"neighbour replace 10.9.0.77 lladdr {mover} dev eth0")
        assert place.run(["ping", "-c", "2", "-i", "0.05", "-I", "10.9.0.77", "10.9.0.1"]).returncode == 0
        until(lambda: ping(one, "10.9.0.77", 1), DEADLINE, "the MAC where it is now")
        place.ip(f"link set eth0 address {own}", "address del 10.9.0.77/24 dev eth0")
    world.settled()


def test_a_learned_mac_stays_while_it_sends_and_ages_after(lab: Lab) -> None:
    world = flooding(lab, "--set", "fdb.age=2")
    one, _ = world.containers
    flows = [one.popen(["ping", "-q", "-i", "0.2", "10.9.0.2"]) for _ in range(4)]
    mac = mac_of(one)
    try:
        until(lambda: mac in rows(world.switches[1]), DEADLINE, "the MAC to be learned")
        ages = [rows(world.switches[1])[mac]["age"] for _ in range(20)]  # some seconds: each asks a new process
        assert max(ages) < 2
    finally:
        for flow in flows:
            one.end(flow)
    one.ip("link set eth0 down")
    until(lambda: mac not in rows(world.switches[1]), DEADLINE, "the MAC to age")


def test_what_the_kernel_lost_at_a_workers_socket_is_counted(lab: Lab) -> None:
    """The main process holds every socket of the group, and asks for all of them."""
    world = flooding(lab, "--set", "underlay.receive_buffer=65536")
    one, _ = world.containers
    assert ping(one, "10.9.0.2")
    switch = world.switches[1]
    (worker,) = children(switch.pid)
    os.kill(worker, signal.SIGSTOP)
    try:
        one.run([sys.executable, "-c", SEND_MANY])
        until(lambda: switch.vx("drops", "--json")["underlay_overflow"] > 0, DEADLINE, "a loss to be counted")
    finally:
        os.kill(worker, signal.SIGCONT)
    world.settled()


SEND_MANY = """
import socket
socks = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(40)]
for _ in range(100):
    for sock in socks:
        sock.sendto(bytes(1000), ("10.9.0.2", 9))
"""


def test_a_lost_worker_is_the_end_with_a_clear_line(lab: Lab) -> None:
    world = make(lab, "--store", "static:", hosts=1)
    switch = world.switches[0]
    (worker,) = children(switch.pid)
    assert switch._process is not None
    os.kill(worker, signal.SIGKILL)
    assert switch._process.wait(DEADLINE) == 1
    assert f"worker 1 (process {worker}) is lost: killed by signal 9: ending the switch" in switch.stderr_tail()


def test_workers_die_with_the_main_process(lab: Lab) -> None:
    """And the next start takes ports and container over."""
    world = make(lab, "--store", lab.redis().url, hosts=2, workers="3")
    switch = world.switches[0]
    workers = children(switch.pid)
    assert len(workers) == 2 and ping(world.containers[0], "10.9.0.2")
    switch.kill()
    until(lambda: not any(map(alive, workers)), DEADLINE, "the workers to end")
    switch.start()
    until(lambda: ping(world.containers[0], "10.9.0.2", 1), DEADLINE, "the container to be back")
    workers = children(switch.pid)
    assert switch.stop() == 0
    assert not any(map(alive, workers))


def test_a_taken_port_is_still_found(lab: Lab) -> None:
    world = make(lab, "--store", "static:", hosts=1)
    second: Callable[..., SwitchProcess] = lab.hosts[0].switch
    other = second("--store", "static:", "--workers", "2", node="other", wait=False)
    assert other._process is not None and other._process.wait(DEADLINE) != 0
    assert f"cannot bind UDP {lab.hosts[0].ip4}:4789: in use by process {world.switches[0].pid}" in other.stderr_tail()
