"""`underlay.kernel_cut`: what the kernel cuts is what we cut, and nothing of the host's settings is left behind.

A packet socket in the container sends the same super-frames with both settings; a wire-like underlay shows the
datagrams that leave the host. They must be the same byte for byte, but for what belongs to a life of the switch (its
source ports, so the UDP checksum) and what is arbitrary in each packet: the outer IPv4 ID (RFC 6864: DF is set) and
the outer IPv6 flow label (the kernel's sockets choose one, RFC 6437).
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from tests.net import traffic
from tests.net.containers import Container, attach
from tests.net.refusal import TUNNEL, refusing
from tests.net.wire import DEADLINE, Seen, Watch, made_in
from tests.offload.frames import ACK, CWR, ECE, FIN, PSH, TIMESTAMPS, SuperFrame, ip4, ip6, pattern, super_frame, tcp
from vxswitch.lab import Host, Lab, LabError, SwitchProcess, ping, until

ON, OFF, AUTO = (("--set", f"underlay.kernel_cut={word}") for word in ("on", "off", "auto"))
DOOR = "vxt-"  # what its TAP's name begins with
SOL_PACKET, PACKET_VNET_HDR = 263, 15  # linux/socket.h, linux/if_packet.h
over_ipv4 = pytest.mark.parametrize("ends", ["ipv4"], indirect=True)  # what does not depend on the family
MSS = 1378  # fits over IPv6, too: an MTU of 1430 less IPv4 and TCP headers

SUPER_FRAMES: dict[str, tuple[Packet, int, int]] = {
    "full segments": (ip4() / tcp(), 42 * MSS, MSS),
    "a short last one": (ip4() / tcp(), 40 * MSS + 7, MSS),
    "an odd size": (ip4() / tcp(options=TIMESTAMPS), 41 * 1365 + 1, 1365),
    "two segments": (ip4() / tcp(), 1000, 999),
    "flags of the last": (ip4() / tcp(flags=ACK | PSH | FIN), 30_000, MSS),
    "flags of the first": (ip4(tos=0x02) / tcp(flags=ACK | ECE | CWR), 30_000, MSS),
    "tos, ttl, a wrapping id": (ip4(tos=0xB9, ttl=3, id=65530) / tcp(), 30_000, MSS),
    "small segments": (ip4() / tcp(), 10_000, 88),
    "ipv6": (ip6() / tcp(), 43 * 1358, 1358),
    "ipv6, options, ecn": (ip6(tc=0x03) / tcp(options=TIMESTAMPS), 43 * 1345 + 3, 1345),
}


@dataclass(frozen=True, slots=True)
class Ends:
    """Our container, on the first host; the other host is a peer as any."""

    lab: Lab
    ours: Container
    theirs: Container
    args: tuple[str, ...]

    @property
    def host(self) -> Host:
        """Where the kernel may cut."""
        return self.lab.hosts[0]

    def switch(self, setting: tuple[str, ...]) -> SwitchProcess:
        """The switch of the first host with this setting, forwarding; its container is the same every time."""
        switch = self.host.switch(*self.args, *setting)
        assert ping(self.theirs.namespace, self.ours.ip).received
        return switch


@pytest.fixture(scope="module", params=["ipv4", "ipv6"])
def ends(request: pytest.FixtureRequest) -> Iterator[Ends]:
    with Lab(hosts=2, wire_like=True) as lab:
        one, two = lab.hosts
        here, there = (one.ip6, two.ip6) if request.param == "ipv6" else (one.ip4, two.ip4)
        far = two.switch("--vtep", vtep(there), "--network", "red=100", "--peer", vtep(here), wait=False)
        args = ("--vtep", vtep(here), "--network", "red=100", "--peer", vtep(there))
        near = one.switch(*args)
        far.wait_ready()
        ours, theirs = attach(lab, near, "red", "ours", "10.9.0.1"), attach(lab, far, "red", "theirs", "10.9.0.2")
        near.stop()
        yield Ends(lab, ours, theirs, args)


def vtep(address: str) -> str:
    """As the command line wants it."""
    return f"[{address}]:4789" if ":" in address else address


@pytest.fixture(scope="module")
def captured(ends: Ends) -> dict[str, dict[str, list[Seen]]]:
    """The datagrams that leave the host for each super-frame, cut by us ("off") and by the kernel ("on")."""
    found = {}
    for word, setting in (("off", OFF), ("on", ON)):
        switch = ends.switch(setting)
        found[word] = {name: capture(ends, *what) for name, what in SUPER_FRAMES.items()}
        assert through_the_door(ends.host) >= (0 if word == "off" else len(SUPER_FRAMES))
        switch.stop()
    return found


def capture(ends: Ends, headers: Packet, length: int, mss: int) -> list[Seen]:
    """What leaves for one super-frame, and for a small frame before it (by which the flow is decided) and after it."""
    headers = headers.copy()
    headers[Ether].src, headers[Ether].dst = ends.ours.mac, ends.theirs.mac
    small = super_frame(headers, b"small", mss)
    plain = struct.pack("=BBHHHH", 1, 0, 0, 0, small.csum_start, small.csum_offset)
    bulk = super_frame(headers, pattern(length), mss)
    count = 2 + -(-length // mss)
    with Watch(ends.lab.net) as watch, made_in(ends.ours.namespace, vnet_socket) as out:
        found: list[Seen] = []

        def arrived() -> bool:
            found.extend(one for one in watch.seen() if (one.port, one.way) == ("h1", "in") and ours(one, small))
            return len(found) >= count

        for data in (plain + small.frame, bulk.vnet + bulk.frame, plain + small.frame):
            out.send(data)
        until(arrived, DEADLINE, f"{count} datagrams")
    return found


def ours(one: Seen, frame: SuperFrame) -> bool:
    """The same Ethernet header and IP version: nobody else in the container speaks IP."""
    return one.inner[:15] == frame.frame[:15]


def vnet_socket() -> socket.socket:
    """Frames with a virtio_net_hdr in front, sent into the container's interface."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sock.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    sock.bind(("eth0", 0))
    return sock


@pytest.mark.parametrize("name", SUPER_FRAMES)
def test_the_kernel_cuts_as_we_do(captured: dict[str, dict[str, list[Seen]]], name: str) -> None:
    ours, theirs = captured["off"][name], captured["on"][name]
    _, length, mss = SUPER_FRAMES[name]
    assert len(ours) == len(theirs) == 2 + -(-length // mss)
    assert [one.inner for one in theirs] == [one.inner for one in ours]
    assert [comparable(one.outer) for one in theirs] == [comparable(one.outer) for one in ours]
    for datagrams in (ours, theirs):
        assert len({one.outer[UDP].sport for one in datagrams}) == 1
        for one in datagrams:
            assert one.outer[UDP].sport >= 49152
            assert checksums(one.outer) == checksums(recomputed(one.outer))


def comparable(outer: Ether) -> bytes:
    """Without what may differ: see the head of this file."""
    packet = outer.copy()
    network, udp = packet.payload, packet.payload.payload
    udp.sport = udp.chksum = 0
    if isinstance(network, IP):
        network.id = network.chksum = 0
    else:
        network.fl = 0
    return bytes(packet)


def recomputed(outer: Ether) -> Ether:
    """With the outer checksums that scapy gives it."""
    packet = outer.copy()
    del packet.payload.payload.chksum
    if isinstance(packet.payload, IP):
        del packet.payload.chksum
    return Ether(bytes(packet))


def checksums(outer: Ether) -> tuple[int, int]:
    """Of the outer IPv4 header (0 for IPv6) and UDP."""
    network = outer.payload
    return network.chksum if isinstance(network, IP) else 0, network.payload.chksum


def links(host: Host) -> list[dict[str, Any]]:
    """Every interface, with statistics."""
    found: list[dict[str, Any]] = json.loads(host.run(["ip", "-j", "-s", "link"]).stdout)
    return found


def through_the_door(host: Host) -> int:
    """Packets that the switch has put into the host's stack; 0 without a door."""
    return sum(link["stats64"]["rx"]["packets"] for link in links(host) if link["ifname"].startswith(DOOR))


def settings(host: Host) -> tuple[set[str], str]:
    """Names of the interfaces, and every setting that has to do with forwarding, of all of them."""
    names = {link["ifname"] for link in links(host)}
    words = r"forward|rp_filter|accept_local|addr_gen_mode|accept_ra$"
    return names, host.run(["sysctl", "-a", "-r", words]).stdout


@over_ipv4
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_everything_is_undone_when_the_switch_ends(ends: Ends, end: str) -> None:
    ends.switch(OFF).stop()
    before = settings(ends.host)
    switch = ends.switch(ON)
    made = settings(ends.host)[0] - before[0]
    assert [name.startswith(DOOR) for name in made] == [True, True], "the door, and the exit of its trials"
    getattr(switch, end)()
    until(lambda: settings(ends.host)[0] == before[0], DEADLINE, "the interface to be gone")
    assert settings(ends.host) == before


def test_everything_works_through_it(ends: Ends) -> None:
    """Also where reverse paths are filtered loosely, as many distributions have it."""
    ends.host.run(["sysctl", "-qw", "net.ipv4.conf.all.rp_filter=2"])
    switch = ends.switch(ON)
    traffic.everything(ends.ours.namespace, ends.theirs.namespace, ends.theirs.ip, ends.ours.mtu, 20_000_000)
    traffic.everything(ends.theirs.namespace, ends.ours.namespace, ends.ours.ip, ends.ours.mtu, 20_000_000)
    assert through_the_door(ends.host) > 100
    switch.stop()
    ends.host.run(["sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0"])


@over_ipv4
def test_a_host_that_filters_by_reverse_path_is_not_touched(ends: Ends) -> None:
    """Its own setting outranks that of the TAP, and is not changed."""
    ends.host.run(["sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1"])
    try:
        falls_back(ends, "net.ipv4.conf.all.rp_filter is 1")
    finally:
        ends.host.run(["sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0"])


def test_a_firewall_that_forwards_nothing_is_noticed(ends: Ends) -> None:
    """At the start, and when it comes later (Docker sets the policy of FORWARD to DROP)."""
    tool = "ip6tables" if ":" in ends.args[1] else "iptables"
    try:
        ends.host.run([tool, "-P", "FORWARD", "DROP"])
        falls_back(ends, "this host forwards nothing that comes in by interfaces", doors=2)
        ends.host.run([tool, "-I", "FORWARD", "-i", f"{DOOR}+", "-j", "ACCEPT"])
        switch = ends.switch(AUTO)
        assert transfer_through_the_door(ends) > 100
        ends.host.run([tool, "-F", "FORWARD"])
        until(lambda: "super-frames are cut here from now on" in switch.stderr_tail(), DEADLINE, "the fallback")
        assert transfer_through_the_door(ends) < 100, "trials alone"
        ends.host.run([tool, "-P", "FORWARD", "ACCEPT"])
        until(lambda: "the kernel cuts super-frames" in switch.stderr_tail(), DEADLINE, "the door's use")
        assert transfer_through_the_door(ends) > 100
        switch.stop()
    finally:
        ends.host.run([tool, "-P", "FORWARD", "ACCEPT"])
        ends.host.run([tool, "-F", "FORWARD"])


def transfer_through_the_door(ends: Ends) -> int:
    """Bytes cross the network and are compared; packets that went through the door meanwhile."""
    before = through_the_door(ends.host)
    traffic.tcp(ends.ours.namespace, ends.theirs.namespace, ends.theirs.ip, 20_000_000)
    return through_the_door(ends.host) - before


@over_ipv4
def test_a_kernel_that_cannot_is_not_asked_to(ends: Ends) -> None:
    """Before linux 6.17 a TAP has no offload for UDP tunnels."""
    falls_back(ends, "no UDP tunnel offload on TAPs", refusing(TUNNEL))


def falls_back(ends: Ends, reason: str, env: dict[str, str] | None = None, doors: int = 0) -> None:
    """`on` does not start and says why; `auto` says why and cuts by itself, with ``doors`` TAPs left to try again."""
    refused = ends.host.switch(*ends.args, *ON, env=env, wait=False)
    with pytest.raises(LabError, match=rf"exited with 1(?s:.*)the kernel cannot cut: {reason}"):
        refused.wait_ready()
    switch = ends.host.switch(*ends.args, *AUTO, env=env)
    assert ping(ends.theirs.namespace, ends.ours.ip).received
    assert f"super-frames are cut here: the kernel cannot cut: {reason}" in switch.stderr_tail()
    assert sum(link["ifname"].startswith(DOOR) for link in links(ends.host)) == doors
    traffic.tcp(ends.ours.namespace, ends.theirs.namespace, ends.theirs.ip, 5_000_000)
    switch.stop()
