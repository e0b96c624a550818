"""The kernel's cutting: what goes through the door arrives as what the switch itself would have sent, in its place."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.dataplane.fabric import CablePort
from tests.dataplane.frames import IP4, IP6, cut, ethernet, finish, mac, partial, plain, super_frame, tcp, udp, vxlan
from tests.dataplane.wires import ONE4, ONE6, TWO4, TWO6, runs, sniffed, sniffer, underlay
from tests.kernel.namespaces import Namespace
from vxswitch.attach.kernel_cut import open_door
from vxswitch.counters import Stats
from vxswitch.dataplane.encap import Encap
from vxswitch.dataplane.kernel_cut import HOLD, Door
from vxswitch.dataplane.underlay import Receiver
from vxswitch.fdb import Peer, Table
from vxswitch.model import PortSpec, Vtep

pytestmark = pytest.mark.root

VNI = 7
Pair = tuple[Namespace, Namespace]
OUTER4, OUTER6 = (ONE4, TWO4), (ONE6, TWO6)
FOUR, SIX = ("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")
families = pytest.mark.parametrize("outer", [OUTER4, OUTER6], ids=["ipv4", "ipv6"])


class Sender:
    """The way out of one port, through the door; and the receiver at the other end of the wire."""

    def __init__(self, encap: Encap, port: CablePort, receiver: Receiver) -> None:
        self.encap, self.port, self.receiver = encap, port, receiver
        self.now = 10.0

    def send(self, *frames: bytes) -> list[bytes]:
        """Send in one burst; the datagrams that arrive."""
        self.port.inbox.extend(frames)
        before = self.encap.underlay.sent
        self.encap.burst(self.port, self.now)
        assert self.port.counts.as_dict(zeros=False) == {}
        expected = self.encap.underlay.sent - before
        return [row for run in runs(self.receiver, expected) for row in run]


@pytest.fixture
def sender(pair: Pair, outer: tuple[str, str]) -> Iterator[Sender]:
    """Two namespaces whose wire carries nothing that is larger than its MTU, or half finished."""
    one, two = pair
    for side in pair:
        side.execute("ethtool", "-K", "u0", "tx", "off")
    with underlay(one, Vtep(outer[0]), send_sockets=4) as near, underlay(two, Vtep(outer[1])) as far:
        opened = one.call(open_door)
        door = Door(opened.fd, opened.mac, near.options.ttl)
        table = Table("n", VNI, mtu=1420, learning="flood")
        spec = PortSpec("p", VNI, mac(1), antispoof=False, max_macs=9, bum_pps=9, bum_burst=9)
        port = CablePort(spec, table, 0.0)
        table.install(mac(2), Peer(Vtep(outer[1])), "static", 0.0)
        encap = Encap(near, Stats())
        encap.leaving.door = door
        (receiver,) = far.receivers.values()
        yield Sender(encap, port, receiver)
        for _ in range(2):
            door.close()
        os.close(opened.exit_fd)


def bulk(size: int, ends: tuple[str, str] = FOUR, flags: int = 0x18, sport: int = 1) -> bytes:
    """A TCP super-frame of ``size`` bytes of payload in segments of 1300."""
    packet = tcp(*ends, sport, 2, bytes(n % 251 for n in range(size)), flags=flags)
    return super_frame(ethernet(mac(2), mac(1), IP6 if ends is SIX else IP4, packet), *ends, 1300)


def decide(sender: Sender, ends: tuple[str, str] = FOUR) -> None:
    """The first frame of a flow is judged, and goes by the sockets."""
    assert len(sender.send(plain(bulk(10, ends)[10:]))) == 1


@families
@pytest.mark.parametrize("ends", [FOUR, SIX])
@pytest.mark.parametrize("size", [1301, 2600, 60_000])
def test_a_super_frame_arrives_cut(sender: Sender, outer: Any, ends: tuple[str, str], size: int) -> None:
    decide(sender, ends)
    whole = bulk(size, ends)
    assert sender.send(whole) == [vxlan(VNI, frame) for frame in cut(whole)]
    assert sender.encap.leaving.door is not None and sender.encap.leaving.door.sent == 1
    assert sender.receiver.tos == 0 and sender.receiver.frames == sender.encap.underlay.sent


@families
def test_a_super_frame_that_no_outer_packet_can_hold_is_cut_here(sender: Sender, outer: Any) -> None:
    decide(sender)
    whole = bulk(65_535 - 40)
    assert sender.send(whole) == [vxlan(VNI, frame) for frame in cut(whole)]


@families
def test_frames_behind_a_super_frame_stay_behind_it(sender: Sender, outer: Any) -> None:
    """For HOLD seconds they go the same way, with their checksums finished; then by the sockets again."""
    decide(sender)
    small = partial(ethernet(mac(2), mac(1), IP4, tcp(*FOUR, 1, 2, b"small, and last")), *FOUR)
    sent = [bulk(20_000), small, bulk(5_000), small, small]
    assert sender.send(*sent) == [vxlan(VNI, frame) for data in sent for frame in cut(data)]
    door = sender.encap.leaving.door
    assert door is not None and door.sent == 5
    sender.now += 2 * HOLD
    assert sender.send(small) == [vxlan(VNI, finish(small))]
    assert door.sent == 5


@families
def test_udp_is_cut_here(sender: Sender, outer: Any) -> None:
    packet = udp(*FOUR, 1, 2, bytes(5000))
    whole = super_frame(ethernet(mac(2), mac(1), IP4, packet), *FOUR, 1300)
    for _ in range(2):
        assert sender.send(whole) == [vxlan(VNI, frame) for frame in cut(whole)]
    assert sender.encap.leaving.door is not None and sender.encap.leaving.door.sent == 0


@families
def test_the_outer_packets_are_the_same_as_by_the_sockets(sender: Sender, outer: Any, pair: Pair) -> None:
    """Source port, addresses, TTL, DF, checksum: seen on the wire, with scapy."""
    with sniffer(pair[1]) as wire:
        sender.send(bulk(2000))
        sender.send(bulk(2000))
        packets = sniffed(wire, 4)
    layer = "IPv6" if ":" in outer[0] else "IP"
    assert sender.encap.leaving.door is not None and sender.encap.leaving.door.sent == 1
    for by_socket, by_door in zip(packets[:2], packets[2:], strict=True):
        for field in ("src", "dst", "hlim" if layer == "IPv6" else "ttl", "tc" if layer == "IPv6" else "tos"):
            assert getattr(by_socket[layer], field) == getattr(by_door[layer], field)
        if layer == "IP":
            assert by_socket[layer].flags == by_door[layer].flags == "DF"
        assert by_socket["UDP"].sport == by_door["UDP"].sport
        assert by_socket["UDP"].chksum == by_door["UDP"].chksum != 0
