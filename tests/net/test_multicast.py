"""Multicast between real sockets on three hosts: copies go where somebody has joined, and nowhere else.

Who gets a copy is counted on the underlay's bridge. The third switch has two processes, of which one hears what its
container says and the other forwards as well.
"""

from __future__ import annotations

import itertools
import json
import socket
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from scapy.layers.igmp import IGMP
from scapy.layers.inet import IP
from scapy.layers.l2 import Ether

from benchmarks import load
from tests.net.containers import Container, ask, attach, drops, full_mesh
from tests.net.wire import DEADLINE, Watch, Wire, made_in
from vxswitch.lab import Lab, SwitchProcess, until

PORT = 7777
STREAM_BYTES = 200  # of payload
GROUPS = ("239.7.7.7", "ff15::7:7")
LINK_LOCAL = ("224.0.0.251", "ff02::fb")
IP_MULTICAST_ALL, IPV6_MULTICAST_ALL = 49, 29  # linux/in.h, linux/in6.h: 0 = what this socket has joined, only
UDP_SEGMENT = 103  # linux/udp.h
IP_ADD_SOURCE_MEMBERSHIP = 39  # linux/in.h, struct ip_mreq_source: group, interface, source
_serial = itertools.count()


@dataclass
class World:
    """Host i has ``switches[i]`` and ``containers[i]``, counted from 0."""

    lab: Lab
    switches: list[SwitchProcess]
    containers: list[Container]

    def rows(self, host: int, group: str) -> list[dict[str, Any]]:
        """What a switch says of a group."""
        return [row for row in ask(self.switches[host], "mcast", network="red") if row["group"] == group]

    def wait_members(self, group: str, *members: int) -> None:
        """Until every switch knows these hosts' containers as the members of the group, and no others."""

        def known() -> bool:
            for host in range(3):
                rows = self.rows(host, group)
                found = {(*row["ports"], *row["nodes"]) for row in rows}
                ours = {self.containers[host].port} if host in members else set()
                if found != ({(*ours, *(f"h{n + 1}" for n in members if n != host))} if members else set()):
                    return False
            return True

        until(known, DEADLINE, f"members {members} of {group} to be known")

    def wait_everything(self, *hosts: int) -> None:
        """Until every switch knows that these hosts want everything of IPv4, and no others do."""

        def known() -> bool:
            return all(
                row["nodes"] == [f"h{n + 1}" for n in hosts if n != host]
                for host in range(3)
                for row in self.rows(host, "0.0.0.0")
            )

        until(known, DEADLINE, f"hosts {hosts} to want everything")

    def copies(self, watch: Watch, payload: bytes) -> dict[str, int]:
        """On the underlay, the datagrams with this payload by the host that they went out to."""
        found: dict[str, int] = {}
        for seen in watch.seen():
            if seen.way == "out" and seen.inner.endswith(payload):
                found[seen.port] = found.get(seen.port, 0) + 1
        return found


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with Lab(hosts=3) as lab:
        common = ("--store", lab.redis().url, "--network", "red=100", "--set", "mcast.last_member=0.3")
        extra: tuple[tuple[str, ...], ...] = ((), (), ("--workers", "2"))
        switches = [host.switch(*common, *extra[n], wait=False) for n, host in enumerate(lab.hosts)]
        for switch in switches:
            switch.wait_ready()
        containers = [
            attach(lab, switch, "red", f"c{n}", f"10.9.0.{n + 1}", ip6=f"fd09::{n + 1}")
            for n, switch in enumerate(switches)
        ]
        made = World(lab, switches, containers)
        until(lambda: full_mesh(switches, "red"), DEADLINE, "full flood lists")
        until(lambda: not any(map(tentative, containers)), DEADLINE, "usable IPv6 addresses")
        made.wait_everything()
        yield made


def tentative(container: Container) -> bool:
    """Duplicate address detection is not over."""
    return bool(container.namespace.run(["ip", "-6", "address", "show", "tentative"]).stdout)


def listening(container: Container, group: str) -> socket.socket:
    """A UDP socket that has joined a group."""

    def make() -> socket.socket:
        index = socket.if_nametoindex("eth0")
        sock = _socket(group)
        sock.bind((group, PORT, 0, index) if ":" in group else (group, PORT))
        if ":" in group:
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0)
            asked = socket.inet_pton(socket.AF_INET6, group) + struct.pack("@I", index)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, asked)
        else:
            sock.setsockopt(socket.IPPROTO_IP, IP_MULTICAST_ALL, 0)
            asked = struct.pack("@4s4si", socket.inet_aton(group), bytes(4), index)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, asked)
        return sock

    return made_in(container.namespace, make)


def sending(container: Container, group: str) -> socket.socket:
    """A UDP socket whose multicast leaves by eth0."""

    def make() -> socket.socket:
        index = socket.if_nametoindex("eth0")
        sock = _socket(group)
        if ":" in group:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        else:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("@4s4si", bytes(4), bytes(4), index))
        return sock

    return made_in(container.namespace, make)


def _socket(group: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in group else socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.settimeout(DEADLINE)
    return sock


def payload() -> bytes:
    """Something that was never sent before."""
    return b"multicast %06d" % next(_serial)


@pytest.mark.parametrize("group", GROUPS)
def test_only_vteps_with_members_get_copies(world: World, group: str) -> None:
    with ExitStack() as stack:
        sender = stack.enter_context(sending(world.containers[0], group))
        watch = stack.enter_context(Watch(world.lab.net))
        two = stack.enter_context(listening(world.containers[1], group))
        world.wait_members(group, 1)
        first = payload()
        sender.sendto(first, (group, PORT))
        assert two.recv(100) == first
        assert world.copies(watch, first) == {"h2": 1}
        three = stack.enter_context(listening(world.containers[2], group))
        world.wait_members(group, 1, 2)
        second = payload()
        sender.sendto(second, (group, PORT))
        assert two.recv(100) == three.recv(100) == second
        assert world.copies(watch, second) == {"h2": 1, "h3": 1}
        two.close()
        world.wait_members(group, 2)
        third = payload()
        sender.sendto(third, (group, PORT))
        assert three.recv(100) == third
        assert world.copies(watch, third) == {"h3": 1}
    world.wait_members(group)


def test_a_stream_flows_at_its_rate_and_ends_where_its_listener_leaves(world: World) -> None:
    """To a neighbouring port and to two hosts, of which one has enough of it: far beyond the budget for floods."""
    group, (source, leaving, remote) = "239.7.7.8", world.containers
    local = attach(world.lab, world.switches[0], "red", "c3", "10.9.0.9")
    for container in (source, local, remote):
        container.namespace.ip("route add 239.0.0.0/8 dev eth0")
    source.namespace.ip("link set eth0 txqueuelen 10000")  # what a busy machine reads too late is not lost
    with listening(leaving, group) as listener, ThreadPoolExecutor() as beside:

        def joined() -> None:
            until(lambda: members() == {local.port, "h2", "h3"}, DEADLINE, "all three members")

        def members() -> set[str]:
            return {name for row in world.rows(0, group) for name in (*row["ports"], *row["nodes"])}

        def stream() -> list[load.Load]:
            to = [local.namespace, remote.namespace]
            how = {"sizes": (STREAM_BYTES,), "pps": 5000, "seconds": 1.5, "port": PORT, "joined": joined}
            return load.multicast(source.namespace, to, group, **how)

        running = beside.submit(stream)
        assert listener.recv(2000)
        listener.close()
        until(lambda: stopped(world), DEADLINE, "the stream to host 2 to end")
        assert not running.done()
        loads = running.result()
    assert [(one.lost, one.duplicates, one.reordered) for one in loads] == [(0, 0, 0)] * 2
    assert loads[0].sent > 3000
    assert "storm" not in drops(world.switches[0])
    stats = ask(world.switches[0], "stats")
    assert stats["mcast_frames"] >= loads[0].sent and stats["mcast_copies"] >= 2 * loads[0].sent


def stopped(world: World) -> bool:
    """While a stream goes out to host 3, next to nothing goes out to host 2."""
    two, three, some = sent_to(world, "h2"), sent_to(world, "h3"), 100 * STREAM_BYTES
    until(lambda: sent_to(world, "h3") - three > some, DEADLINE, "a hundred frames to host 3")
    return sent_to(world, "h2") - two < some // 10


def sent_to(world: World, host: str) -> int:
    """Bytes that the underlay has carried to a host."""
    (link,) = json.loads(world.lab.net.run(["ip", "-j", "-s", "link", "show", host]).stdout)
    return int(link["stats64"]["tx"]["bytes"])


@pytest.mark.parametrize(
    ("group", "setting"),
    [(GROUPS[0], "net.ipv4.conf.eth0.force_igmp_version=2"), (GROUPS[1], "net.ipv6.conf.eth0.force_mld_version=1")],
)
def test_hosts_that_speak_the_older_version(world: World, group: str, setting: str) -> None:
    namespace = world.containers[1].namespace
    namespace.run(["sysctl", "-qw", setting])
    try:
        with listening(world.containers[1], group):
            world.wait_members(group, 1)
        world.wait_members(group)
    finally:
        namespace.run(["sysctl", "-qw", f"{setting.partition('=')[0]}=0"])


def test_a_host_that_wants_one_source_only(world: World) -> None:
    """It does not say that it leaves the group, but blocks its source, and is asked whether anything is left."""
    container, group = world.containers[2], "232.1.2.3"

    def make() -> socket.socket:
        sock = _socket(group)
        asked = [socket.inet_aton(address) for address in (group, container.ip, world.containers[0].ip)]
        sock.setsockopt(socket.IPPROTO_IP, IP_ADD_SOURCE_MEMBERSHIP, b"".join(asked))
        return sock

    with made_in(container.namespace, make):
        world.wait_members(group, 2)
    world.wait_members(group)


@pytest.mark.parametrize("group", GROUPS)
def test_a_late_joiner_gets_the_next_datagrams(world: World, group: str) -> None:
    """Somebody sends and sends, to nobody at first."""
    with sending(world.containers[0], group) as sender, listening(world.containers[2], group) as late:
        late.settimeout(0.02)
        said = payload()

        def received() -> bool:
            sender.sendto(said, (group, PORT))
            try:
                return late.recv(100) == said
            except TimeoutError:
                return False

        until(received, DEADLINE, "the first datagram")
    world.wait_members(group)


def test_a_group_that_nobody_has_joined_stays_at_home(world: World) -> None:
    with sending(world.containers[0], GROUPS[0]) as sender, Watch(world.lab.net) as watch:
        unheard, marker = payload(), payload()
        sender.sendto(unheard, ("239.8.8.8", PORT))
        with listening(world.containers[1], GROUPS[0]) as two:
            world.wait_members(GROUPS[0], 1)
            sender.sendto(marker, (GROUPS[0], PORT))
            assert two.recv(100) == marker
        found = watch.seen()
        assert not any(seen.inner.endswith(unheard) for seen in found)
        assert any(seen.inner.endswith(marker) for seen in found)
    world.wait_members(GROUPS[0])


@pytest.mark.parametrize("group", LINK_LOCAL)
def test_link_local_groups_are_flooded(world: World, group: str) -> None:
    with ExitStack() as stack:
        sender = stack.enter_context(sending(world.containers[0], group))
        watch = stack.enter_context(Watch(world.lab.net))
        ears = [stack.enter_context(Wire(container.namespace)) for container in world.containers[1:]]
        said = payload()
        sender.sendto(said, (group, PORT))
        for ear in ears:
            assert len(ear.take(1, lambda data: data.endswith(said))) == 1
        assert world.copies(watch, said) == {"h2": 1, "h3": 1}
        assert all(world.rows(host, group) == [] for host in range(3))


def test_a_router_gets_every_group(world: World) -> None:
    group, router = "239.8.8.8", world.containers[2]
    query = Ether(src=router.mac, dst="01:00:5e:00:00:01") / IP(src=router.ip, dst="224.0.0.1", ttl=1)
    with ExitStack() as stack:
        sender = stack.enter_context(sending(world.containers[0], group))
        watch = stack.enter_context(Watch(world.lab.net))
        ear = stack.enter_context(Wire(router.namespace))
        ear.send(bytes(query / IGMP(type=0x11, mrcode=10, gaddr="0.0.0.0")))
        world.wait_everything(2)
        said = payload()
        sender.sendto(said, (group, PORT))
        assert len(ear.take(1, lambda data: data.endswith(said))) == 1
        assert world.copies(watch, said) == {"h3": 1}


def test_a_switch_that_starts_again_asks_and_loses_nothing_meanwhile(world: World) -> None:
    """Hosts have joined before it came: its own questions tell it, and until they have it lets everything through."""
    with ExitStack() as stack:
        pairs = []
        for group in GROUPS:
            sender = stack.enter_context(sending(world.containers[0], group))
            pairs.append((group, sender, stack.enter_context(listening(world.containers[1], group))))
            world.wait_members(group, 1)
        world.switches[1].restart()
        until(lambda: full_mesh(world.switches, "red"), DEADLINE, "full flood lists")
        for group, sender, ear in pairs:
            said = payload()
            sender.sendto(said, (group, PORT))
            assert ear.recv(100) == said
        for group, sender, ear in pairs:
            world.wait_members(group, 1)
            said = payload()
            sender.sendto(said, (group, PORT))
            assert ear.recv(100) == said


@pytest.mark.parametrize("group", GROUPS)
def test_what_a_sender_hands_over_in_one_piece_arrives_as_datagrams(world: World, group: str) -> None:
    with ExitStack() as stack:
        sender = stack.enter_context(sending(world.containers[0], group))
        ears = [stack.enter_context(listening(container, group)) for container in world.containers[1:]]
        world.wait_members(group, 1, 2)
        sender.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1000)
        pieces = [bytes((n,)) * 1000 for n in range(30)] + [b"the last one is shorter"]
        for _ in range(3):  # the first is decided, the next go by that
            sender.sendto(b"".join(pieces), (group, PORT))
            assert all([ear.recv(2000) for _ in pieces] == pieces for ear in ears)
    world.wait_members(group)


def test_the_command_line_shows_it(world: World) -> None:
    with listening(world.containers[2], GROUPS[0]):
        world.wait_members(GROUPS[0], 2)
        (here,) = [row for row in world.switches[2].vx("mcast", "red", "--json") if row["group"] == GROUPS[0]]
        assert (here["ports"], here["source"], here["vteps"]) == ([world.containers[2].port], "snooped", [])
        (there,) = [row for row in world.switches[0].vx("mcast", "--json") if row["group"] == GROUPS[0]]
        assert (there["nodes"], there["source"], there["age"]) == (["h3"], "store", None)
        assert there["vteps"] == [f"{world.lab.hosts[2].ip4}:4789"]
        assert GROUPS[0] in world.switches[0].vx("mcast", "red")
