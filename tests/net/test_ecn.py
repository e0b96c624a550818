"""ECN through the tunnel by RFC 6040, with a router in between that really marks (nftables on the bridge port)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from tests.net import traffic
from tests.net.containers import Container, ask, attach
from tests.net.underlay import grown
from tests.net.wire import DEADLINE, Watch, Wire, frame, source_of
from vxswitch.lab import Lab, Namespace, SwitchProcess, tcp_transfer, until

NOT_ECT, ECT1, ECT0, CE = 0, 1, 2, 3
NAMES = {NOT_ECT: "not-ect", ECT1: "ect1", ECT0: "ect0", CE: "ce"}
EXPEDITED = 0xB8  # DSCP EF (RFC 3246)
INNER_DESTINATION = (8 + 8) * 8  # bits before the inner destination MAC: UDP (RFC 768), VXLAN (RFC 7348, 5)


@dataclass(frozen=True, slots=True)
class Ends:
    """``one`` sends, ``two`` receives; what leaves the first host passes the bridge port ``h1``."""

    lab: Lab
    switches: tuple[SwitchProcess, SwitchProcess]
    one: Container
    two: Container


@pytest.fixture(scope="module")
def ends() -> Iterator[Ends]:
    with Lab(hosts=2) as lab:
        first, second = lab.hosts
        near = first.switch("--network", "red=100", "--peer", second.ip4, wait=False)
        far = second.switch("--network", "red=100", "--peer", first.ip4, wait=False)
        near.wait_ready()
        far.wait_ready()
        one, two = attach(lab, near, "red", "one", "10.9.0.1"), attach(lab, far, "red", "two", "10.9.0.2")
        yield Ends(lab, (near, far), one, two)


def mark(ends: Ends, what: str) -> None:
    """From now on the bridge port ``h1`` applies these words of nft to each datagram with a frame for ``two``.

    To no other: what the kernel says by itself on a host's own TAP (all of it multicast) is not marked.
    """
    match = f"udp dport 4789 @th,{INNER_DESTINATION},48 0x{ends.two.mac.replace(':', '')}"
    table = "add table netdev marks\ndelete table netdev marks\nadd table netdev marks\n"
    chain = 'add chain netdev marks line { type filter hook ingress device "h1" priority 0; }\n'
    ends.lab.net.run(["nft", "-f", "-"], input=f"{table}{chain}add rule netdev marks line {match} {what}\n")


def after_rfc6040(inner: int, outer: int) -> int | None:
    """Figure 4 of RFC 6040: the inner field on decapsulation; None: the packet is dropped."""
    if outer == CE:
        return None if inner == NOT_ECT else CE
    return ECT1 if (inner, outer) == (ECT0, ECT1) else inner


def packet(ends: Ends, version: int, tos: int) -> bytes:
    """A UDP packet between addresses that nobody has, with good checksums."""
    ip = IP(src="10.9.9.1", dst="10.9.9.2", tos=tos) if version == 4 else IPv6(src="fd09::9", dst="fd09::8", tc=tos)
    return bytes(Ether(src=ends.one.mac, dst=ends.two.mac) / ip / UDP(sport=9, dport=9) / Raw(b"ecn"))


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("outer", NAMES, ids=NAMES.values())
def test_decapsulation_is_figure_4_of_rfc_6040(ends: Ends, version: int, outer: int) -> None:
    mark(ends, f"ip ecn set {NAMES[outer]}")
    before = ask(ends.switches[1], "drops")
    expected = [after_rfc6040(inner, outer) for inner in NAMES]
    wanted = [packet(ends, version, EXPEDITED | tos) for tos in expected if tos is not None]
    marker = frame(ends.two.mac, ends.one.mac, b"marker")
    with Wire(ends.one.namespace) as out, Wire(ends.two.namespace) as into:
        for inner in NAMES:
            out.send(packet(ends, version, EXPEDITED | inner))
        got = into.take(len(wanted), lambda data: source_of(data) == source_of(marker))
        out.send(marker)
        got += [data for data in into.until(marker) if source_of(data) == source_of(marker)]
    assert sorted(got) == sorted(wanted)
    until(lambda: grown(ends.switches[1], before).get("ecn_not_ect", 0) == expected.count(None), DEADLINE, "the drop")


def test_encapsulation_copies_ecn_and_not_dscp(ends: Ends) -> None:
    mark(ends, "accept")
    for version, inner in itertools.product((4, 6), NAMES):
        data = packet(ends, version, EXPEDITED | inner)
        with Watch(ends.lab.net) as watch, Wire(ends.one.namespace) as out, Wire(ends.two.namespace) as into:
            out.send(data)
            into.until(data)
            (sent,) = [seen for seen in watch.seen() if seen.inner == data and seen.way == "in"]
        assert sent.outer["IP"].tos == inner


def delivered_ce(where: Namespace) -> int:
    """Segments that the other side said arrived with CE (RFC 3168 ECE, TcpExt in /proc/net/netstat)."""
    names, values = (
        line.split()[1:]
        for line in where.run(["cat", "/proc/net/netstat"]).stdout.splitlines()
        if line.startswith("TcpExt:")
    )
    return int(dict(zip(names, values, strict=True))["TCPDeliveredCE"])


def test_tcp_hears_of_congestion_on_the_underlay_and_arrives_whole(ends: Ends) -> None:
    for container in (ends.one, ends.two):
        container.namespace.run(["sysctl", "-qw", "net.ipv4.tcp_ecn=1"])
    mark(ends, "ip ecn != not-ect numgen inc mod 20 == 0 ip ecn set ce")
    moved = tcp_transfer(ends.one.namespace, ends.two.namespace, ends.two.ip, 20_000_000)
    assert moved.intact
    assert delivered_ce(ends.one.namespace) > 0
    mark(ends, "accept")
    traffic.tcp(ends.one.namespace, ends.two.namespace, ends.two.ip, 20_000_000)
