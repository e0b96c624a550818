"""Scenarios in which a frame is lost: the list of them, and those on the way from a port to the underlay."""

from __future__ import annotations

import errno
from collections.abc import Callable
from unittest import mock

from tests.dataplane.conftest import VNI, Duo
from tests.dataplane.fabric import Host
from tests.dataplane.frames import (
    ARP,
    BROADCAST,
    IP4,
    NEEDS_CSUM,
    VLAN,
    VNET,
    ethernet,
    mac,
    super_frame,
    tcp,
    udp,
    vxlan,
)
from vxswitch.counters import Drop
from vxswitch.dataplane import underlay
from vxswitch.dataplane.bucket import Bucket
from vxswitch.dataplane.sockets import udp_losses

DATA = b"x" * 40
TO_B = ethernet(mac(2), mac(1), 0x1234, DATA)
TO_A = ethernet(mac(1), mac(9), 0x1234, DATA)
A, B = "192.0.2.1", "192.0.2.2"
BULK = tcp("10.0.0.1", "10.0.0.2", 1, 2, bytes(3000))

Scenario = Callable[[Duo], Host]
SCENARIOS: dict[Drop, list[tuple[Scenario, int]]] = {}


def loses(reason: Drop, count: int = 1) -> Callable[[Scenario], Scenario]:
    """The scenario returns the host that must have dropped ``count`` frames for this reason and none for another."""

    def keep(scenario: Scenario) -> Scenario:
        SCENARIOS.setdefault(reason, []).append((scenario, count))
        return scenario

    return keep


def known(duo: Duo) -> None:
    """Both ends know both MACs."""
    duo.ta.install(mac(2), duo.a.peer(duo.b), "static", 0.0)
    duo.tb.install(mac(1), duo.b.peer(duo.a), "static", 0.0)


def arrives(duo: Duo, payload: bytes, **outer: object) -> Host:
    """B's address sends one datagram to A."""
    duo.fabric.inject(duo.a, payload, B, **outer)
    return duo.a


# -- from a port ----------------------------------------------------------------------------------------------------


@loses(Drop.RUNT_FRAME)
def runt(duo: Duo) -> Host:
    duo.pa.send(TO_B[:13])
    return duo.a


@loses(Drop.BAD_VNET_HDR)
def checksum_outside_the_frame(duo: Duo) -> Host:
    duo.pa.inbox.append(VNET.pack(NEEDS_CSUM, 0, 0, 0, 34, 999) + TO_B)
    return duo.a


@loses(Drop.BAD_VNET_HDR, 3)
def super_frame_whose_headers_lie(duo: Duo) -> Host:
    """The vnet header looks right; only the cutter sees that the TCP header is none."""
    known(duo)
    frame = bytearray(super_frame(ethernet(mac(2), mac(1), IP4, BULK), "10.0.0.1", "10.0.0.2", 1400))
    frame[10 + 34 + 12] = 0x10
    duo.pa.inbox.append(bytes(frame))
    return duo.a


@loses(Drop.BAD_VNET_HDR, 2)
def the_same_flooded(duo: Duo) -> Host:
    c = duo.fabric.host()
    duo.join(c, 3)
    duo.fabric.mesh(VNI, duo.a, duo.b, c)
    frame = bytearray(super_frame(ethernet(BROADCAST, mac(1), IP4, BULK), "10.0.0.1", "10.0.0.2", 4000))
    frame[10 + 34 + 12] = 0x10
    duo.ta.resize(4000)
    duo.pa.inbox.append(bytes(frame))
    return duo.a


@loses(Drop.UNSUPPORTED_GSO)
def ufo(duo: Duo) -> Host:
    duo.pa.inbox.append(VNET.pack(NEEDS_CSUM, 3, 0, 1000, 34, 6) + ethernet(mac(2), mac(1), IP4, BULK))
    return duo.a


@loses(Drop.OVERSIZE)
def oversize(duo: Duo) -> Host:
    duo.pa.send(ethernet(mac(2), mac(1), 0x1234, bytes(1451)))
    return duo.a


@loses(Drop.OVERSIZE)
def oversize_in_a_known_flow(duo: Duo) -> Host:
    known(duo)
    for size in (1422, 1423):
        duo.pa.send(ethernet(mac(2), mac(1), IP4, udp("10.0.0.1", "10.0.0.2", 5, 6, bytes(size))))
    return duo.a


@loses(Drop.OVERSIZE, 3)
def super_frame_of_segments_over_the_mtu(duo: Duo) -> Host:
    frame = super_frame(ethernet(mac(2), mac(1), IP4, tcp("10.0.0.1", "10.0.0.2", 1, 2, bytes(4300))), A, B, 1500)
    duo.pa.inbox.append(frame)
    return duo.a


@loses(Drop.BAD_SOURCE)
def group_source(duo: Duo) -> Host:
    duo.pa.send(ethernet(mac(2), BROADCAST, 0x1234, DATA))
    return duo.a


@loses(Drop.SPOOFED_SOURCE)
def spoofed(duo: Duo) -> Host:
    duo.pa.antispoof = True
    duo.pa.send(ethernet(mac(2), mac(9), 0x1234, DATA))
    duo.fabric.run()
    assert mac(9) not in duo.ta.rows, "spoofed, and learned all the same"
    return duo.a


@loses(Drop.VLAN_POLICY)
def tag_cut_short(duo: Duo) -> Host:
    duo.pa.send(ethernet(mac(2), mac(1), VLAN, b"\0"))
    return duo.a


@loses(Drop.VLAN_POLICY)
def tag_cut_short_where_tags_are_carried(duo: Duo) -> Host:
    duo.ta.vlan = "carry"
    return tag_cut_short(duo)


@loses(Drop.RESERVED_GROUP)
def lldp(duo: Duo) -> Host:
    duo.pa.send(ethernet(bytes.fromhex("0180c200000e"), mac(1), 0x88CC, DATA))
    return duo.a


@loses(Drop.HAIRPIN)
def hairpin(duo: Duo) -> Host:
    duo.pa.send(ethernet(mac(5), mac(1), 0x1234, DATA))
    duo.ta.learn(mac(5), duo.pa, duo.fabric.now)
    return duo.a


@loses(Drop.UNKNOWN_UNICAST)
def unknown_unicast(duo: Duo) -> Host:
    duo.ta.unknown = "drop"
    duo.pa.send(ethernet(mac(77), mac(1), 0x1234, DATA))
    return duo.a


@loses(Drop.NO_FLOOD_PEERS)
def nobody_to_flood_to(duo: Duo) -> Host:
    duo.ta.set_peers([], 0, {})
    duo.pa.send(ethernet(BROADCAST, mac(1), ARP, DATA))
    return duo.a


@loses(Drop.SUSPENDED)
def all_suspended(duo: Duo) -> Host:
    duo.ta.set_peers([], 1, duo.ta.senders)
    duo.pa.send(ethernet(BROADCAST, mac(1), ARP, DATA))
    return duo.a


@loses(Drop.STORM, 5)
def storm(duo: Duo) -> Host:
    duo.pa.bum = Bucket(10, 20, duo.fabric.now)
    for n in range(25):
        duo.pa.send(ethernet(BROADCAST if n % 2 else mac(88), mac(1), ARP, DATA))
    duo.pa.send(TO_B)
    known(duo)
    return duo.a


@loses(Drop.RATE, 3)
def frames_per_second(duo: Duo) -> Host:
    known(duo)
    port = duo.a.port(VNI, mac(3), pps=20)
    for _ in range(5):
        port.send(ethernet(mac(2), mac(3), 0x1234, DATA))
    return duo.a


@loses(Drop.RATE, 3)
def bits_per_second(duo: Duo) -> Host:
    known(duo)
    port = duo.a.port(VNI, mac(3), rate_bits=8 * 1464)
    for _ in range((1 << 16) // 1464 + 3):
        port.send(ethernet(mac(2), mac(3), 0x1234, bytes(1450)))
    return duo.a


# -- on the underlay ------------------------------------------------------------------------------------------------


@loses(Drop.NO_VTEP_ADDRESS)
def another_family(duo: Duo) -> Host:
    six = duo.fabric.host("2001:db8::9")
    duo.ta.install(mac(6), duo.a.peer(six), "static", 0.0)
    duo.pa.send(ethernet(mac(6), mac(1), 0x1234, DATA))
    return duo.a


@loses(Drop.NO_VTEP_ADDRESS)
def flooding_to_another_family(duo: Duo) -> Host:
    six = duo.a.peer(duo.fabric.host("2001:db8::9"))
    duo.ta.set_peers([*duo.ta.flood, six], 0, duo.ta.senders)
    duo.pa.send(ethernet(BROADCAST, mac(1), 0x1234, DATA))
    return duo.a


def refuses(duo: Duo, *codes: int) -> Host:
    known(duo)
    for pool in duo.a.underlay._pools.values():
        for sock in pool.socks:
            sock.errors.extend(codes)  # type: ignore[attr-defined]
    duo.pa.send(TO_B)
    return duo.a


@loses(Drop.UNDERLAY_BUSY)
def busy(duo: Duo) -> Host:
    return refuses(duo, errno.ENOBUFS)


@loses(Drop.UNDERLAY_ERROR)
def another_error(duo: Duo) -> Host:
    return refuses(duo, errno.EPERM)


@loses(Drop.UNDERLAY_MTU)
def underlay_mtu(duo: Duo) -> Host:
    known(duo)
    duo.fabric.mtu = 1400
    duo.pa.send(ethernet(mac(2), mac(1), 0x1234, bytes(1450)))
    return duo.a


@loses(Drop.UNDERLAY_OVERFLOW, 4)
def overflow(duo: Duo) -> Host:
    """The kernel's counter is a 32-bit one and has wrapped; what it lost was never offered to us."""
    (receiver,) = duo.a.underlay.receivers.values()
    wire = duo.fabric.wires[receiver.vtep.sockaddr]
    wire.lost = 0xFFFFFFFE
    receiver.lost()
    wire.lost = 2
    before = udp_losses()
    with mock.patch.object(underlay, "udp_losses", return_value=before._replace(room=before.room + 4)):
        duo.a.underlay.poll()
    receiver.frames += 4
    return duo.a


@loses(Drop.RX_FRAGMENT)
def fragment(duo: Duo) -> Host:
    (receiver,) = duo.a.underlay.receivers.values()
    receiver.accept_fragments = False
    return arrives(duo, vxlan(VNI, TO_A), fragmented=True)
