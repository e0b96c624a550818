"""Payloads are opaque: whatever an attached container sends arrives byte for byte, or dies under its own name.

Frames go in and come out by packet sockets inside the containers, over two switches and the underlay between them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Raw

from tests.net.containers import Container, attach, drops
from tests.net.wire import BROADCAST, DEADLINE, Wire, frame, source_of
from vxswitch.lab import Lab, SwitchProcess, until


@dataclass(frozen=True, slots=True)
class Ends:
    """Containers on two hosts in ``red`` (tags stripped) and in ``blue`` (tags carried)."""

    switches: tuple[SwitchProcess, SwitchProcess]
    red: tuple[Container, Container]
    blue: tuple[Container, Container]


@pytest.fixture(scope="module")
def ends() -> Iterator[Ends]:
    with Lab(hosts=2) as lab:
        common = ("--network", "red=100", "--network", "blue=200", "--set", "networks.blue.vlan=carry")
        pairs = ((lab.hosts[0], lab.hosts[1]), (lab.hosts[1], lab.hosts[0]))
        switches = [host.switch(*common, "--peer", other.ip4, wait=False) for host, other in pairs]
        for switch in switches:
            switch.wait_ready()
        made = {
            name: [attach(lab, s, name, f"{name}{i}", f"10.9.0.{i}") for i, s in enumerate(switches, start=1)]
            for name in ("red", "blue")
        }
        one, two = switches
        yield Ends((one, two), (made["red"][0], made["red"][1]), (made["blue"][0], made["blue"][1]))


def carry(source: Container, destination: Container, data: list[bytes], expected: int | None = None) -> list[bytes]:
    """What arrives of these frames, in order; ``expected`` is how many, all of them if not said."""
    marker = frame(destination.mac, source.mac, b"marker")

    def ours(received: bytes) -> bool:
        return source_of(received) == source_of(marker)

    with Wire(source.namespace) as out, Wire(destination.namespace) as into:
        for one in data:
            out.send(one)
        got = into.take(len(data) if expected is None else expected, ours)
        out.send(marker)
        return got + list(filter(ours, into.until(marker)))


def odd_frames(src: str, dst: str) -> dict[str, bytes]:
    """Frames that a switch which looks into payloads would drop, pad or repair; their IP addresses are nobody's."""
    ether = Ether(src=src, dst=dst)
    ip = ether / IP(src="10.9.9.1", dst="10.9.9.2", id=7)
    text = Raw(b"odd" * 33)
    good = bytes(ip / UDP(sport=9, dport=9) / text)
    return {
        "14 bytes": frame(dst, src),
        "15 bytes": frame(dst, src, b"x"),
        "length instead of a type": frame(dst, src, bytes(3) + b"llc", 3),
        "ethertype 0": frame(dst, src, b"zero", 0),
        "ethertype ffff": frame(dst, src, b"ones", 0xFFFF),
        "mpls": frame(dst, src, bytes(40), 0x8847),
        "ip with nothing": frame(dst, src, b"", 0x0800),
        "ip with ihl 0": frame(dst, src, b"\x40" + good[15:], 0x0800),
        "ip with ihl 15, too short": frame(dst, src, b"\x4f" + good[15:40], 0x0800),
        "ip version 7": frame(dst, src, b"\x75" + good[15:], 0x0800),
        "ip total length too long": bytes(ether / IP(src="10.9.9.1", dst="10.9.9.2", len=9999) / UDP() / text),
        "ip total length too short": bytes(ether / IP(src="10.9.9.1", dst="10.9.9.2", len=21) / UDP() / text),
        "ip header checksum": bytes(ether / IP(src="10.9.9.1", dst="10.9.9.2", chksum=0xDEAD) / UDP() / text),
        "udp checksum": bytes(ip / UDP(chksum=0xDEAD) / text),
        "udp checksum 0": bytes(ip / UDP(chksum=0) / text),
        "udp length": bytes(ip / UDP(len=3) / text),
        "tcp checksum": bytes(ip / TCP(chksum=0xDEAD) / text),
        "tcp data offset 0": bytes(ip / TCP(dataofs=0) / text),
        "tcp xmas": bytes(ip / TCP(flags="FSRPAUEC", options=[("Timestamp", (1, 2)), ("NOP", None)]) / text),
        "fragment": bytes(ether / IP(src="10.9.9.1", dst="10.9.9.2", frag=100, flags="MF") / text),
        "ipv6 hop-by-hop cut short": bytes(ether / IPv6(src="fd09::9:1", dst="fd09::9:2", nh=0, plen=500)) + b"\x3a",
        "ipv6 udp checksum 0": bytes(ether / IPv6(src="fd09::9:1", dst="fd09::9:2") / UDP(chksum=0) / text),
        "arp with a long tail": bytes(ether / ARP(op=2, hwsrc=src, psrc="10.9.9.1", pdst="10.9.9.2"))
        + bytes(range(200)),
        "icmp with trailing bytes": bytes(ip / ICMP()) + b"trailer",
    }


@pytest.mark.parametrize("way", [0, 1])
@pytest.mark.parametrize("to", ["unicast", "broadcast"])
def test_odd_frames_arrive_byte_for_byte(ends: Ends, way: int, to: str) -> None:
    source, destination = ends.red[way], ends.red[1 - way]
    odd = odd_frames(source.mac, destination.mac if to == "unicast" else BROADCAST)
    got = carry(source, destination, list(odd.values()))
    missing = [name for name, data in odd.items() if data not in got]
    assert not missing
    assert sorted(got) == sorted(odd.values())


def test_frames_of_every_length_keep_their_bytes_and_their_order(ends: Ends) -> None:
    """One flow: what is sent in order arrives in order, batched with equals or not."""
    source, destination = ends.red
    rng = random.Random(7)
    lengths = [*range(80), 511, 512, 1000, *[64] * 200, *(rng.randrange(1500 - 50) for _ in range(200)), 1450]
    data = [frame(destination.mac, source.mac, rng.randbytes(length)) for length in lengths]
    assert carry(source, destination, data) == data


def test_random_bytes_under_any_ethertype_arrive(ends: Ends) -> None:
    source, destination = ends.red
    rng = random.Random(11)
    types = [0x0800, 0x86DD, 0x0806, 0x88F7, *(rng.randrange(0x600, 0x10000) for _ in range(300))]
    data = [
        frame(destination.mac, source.mac, rng.randbytes(rng.randrange(200)), kind)
        for kind in types
        if kind not in (0x8100, 0x88A8)
    ]
    assert sorted(carry(source, destination, data)) == sorted(data)


@pytest.mark.parametrize("tags", [1, 2])
def test_R26_R27_tags_are_stripped_or_carried_as_the_network_says(ends: Ends, tags: int) -> None:
    for source, destination, carried in ((*ends.red, False), (*ends.blue, True)):
        plain = frame(destination.mac, source.mac, b"under the tag" * 5)
        tag = bytes(Dot1Q(vlan=5, prio=3))[:2]
        tagged = plain[:12] + (b"\x81\x00" + tag) * tags + plain[12:]
        assert carry(source, destination, [tagged]) == [tagged if carried else plain]


def test_a_link_local_group_never_leaves_its_link(ends: Ends) -> None:
    source, destination = ends.red
    before = drops(ends.switches[0]).get("reserved_group", 0)
    data = [frame(f"01:80:c2:00:00:{last:02x}", source.mac, b"control") for last in range(16)]
    neighbour = frame("01:80:c2:00:00:10", source.mac, b"not link-local")
    assert carry(source, destination, [*data, neighbour], 1) == [neighbour]
    assert drops(ends.switches[0])["reserved_group"] - before == 16


def test_another_source_than_the_ports_own_is_refused_and_named(ends: Ends) -> None:
    """Anti-spoofing of attached ports is `mac` by default."""
    source, destination = ends.red
    before = drops(ends.switches[0])
    with Wire(source.namespace) as out:
        out.send(frame(destination.mac, "02:00:00:00:00:66", b"not me"))
        out.send(frame(destination.mac, destination.mac, b"not me either"))
        out.send(frame(destination.mac, "00:00:00:00:00:00", b"nobody"))
        out.send(frame(destination.mac, "03:00:00:00:00:01", b"a group"))

    def counted() -> bool:
        now = drops(ends.switches[0])
        return [now.get(name, 0) - before.get(name, 0) for name in ("spoofed_source", "bad_source")] == [2, 2]

    until(counted, DEADLINE, "four drops with their reasons")
