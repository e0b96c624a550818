"""Whole frames: what a switch overhears, and the questions that it asks itself, with scapy on the other side."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.contrib.pim import PIMv2Hdr, PIMv2Hello
from scapy.layers.igmp import IGMP, IGMPv3_MQ
from scapy.layers.inet import IP, UDP, IPOption_Router_Alert
from scapy.layers.inet6 import (
    ICMPv6MLQuery,
    ICMPv6MLQuery2,
    ICMPv6MLReport,
    ICMPv6ND_NS,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    RouterAlert,
)
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Packet, Raw

from vxswitch.wire import multicast, snoop
from vxswitch.wire.address import STAND_IN
from vxswitch.wire.multicast import BAD, JOINED, QUERY, REPORT, ROUTER, Message

ETHER = Ether(src="02:00:00:00:00:01", dst="01:00:5e:01:02:03")
G4, G6 = bytes((239, 1, 2, 3)), ipaddress.ip_address("ff0e::9").packed
REPORT_4, REPORT_6 = IGMP(type=0x16, gaddr="239.1.2.3"), ICMPv6MLReport(mladdr="ff0e::9")
V4 = IP(src="10.0.0.1", dst="239.1.2.3", ttl=1, proto=2)
V6 = IPv6(src="fe80::1", dst="ff0e::9", hlim=1)
ALERT = IPv6ExtHdrHopByHop(options=[RouterAlert()])
JOIN_4, JOIN_6 = Message(REPORT, 4, records=((G4, JOINED),)), Message(REPORT, 6, records=((G6, JOINED),))


def read(packet: Packet | bytes) -> Message | None:
    frame = bytes(packet)
    return snoop.read(memoryview(b"\xa5" * 9 + frame + b"\xa5" * 9), 9, len(frame))


@pytest.mark.parametrize(
    ("packet", "said"),
    [
        (ETHER / V4 / REPORT_4, JOIN_4),
        (ETHER / IP(src="10.0.0.1", dst="239.1.2.3", proto=2, options=[IPOption_Router_Alert()]) / REPORT_4, JOIN_4),
        (ETHER / V4 / REPORT_4 / Raw(b""), JOIN_4),
        (bytes(ETHER / V4 / REPORT_4) + bytes(18), JOIN_4),  # Ethernet's padding is no part of it
        (ETHER / V6 / REPORT_6, JOIN_6),
        (ETHER / V6 / ALERT / REPORT_6, JOIN_6),
        (ETHER / V6 / ALERT / IPv6ExtHdrDestOpt() / REPORT_6, JOIN_6),
        (bytes(ETHER / V6 / ALERT / REPORT_6) + bytes(18), JOIN_6),
        (ETHER / V6 / ALERT / ICMPv6MLQuery(mladdr="::", mrd=1000), Message(QUERY, 6, b"", 1.0, True)),
        (ETHER / IP(dst="224.0.0.13", proto=103) / PIMv2Hdr() / PIMv2Hello(), Message(ROUTER, 4)),
        (ETHER / IPv6(src="fe80::1", dst="ff02::d", nh=103) / PIMv2Hdr() / PIMv2Hello(), Message(ROUTER, 6)),
        (ETHER / V4 / IGMP(type=0x16, gaddr="239.1.2.3", chksum=1), Message(BAD, 4)),
    ],
)
def test_what_is_said(packet: Packet, said: Message) -> None:
    assert read(packet) == said


@pytest.mark.parametrize(
    "packet",
    [
        ETHER / IP(dst="239.1.2.3") / UDP(),
        ETHER / IP(dst="239.1.2.3", proto=2, flags="MF") / REPORT_4,
        ETHER / IP(dst="239.1.2.3", proto=2, len=200) / REPORT_4,
        ETHER / IP(dst="239.1.2.3", proto=2, len=4) / REPORT_4,
        ETHER / Dot1Q() / V4 / REPORT_4,
        ETHER / V6 / ICMPv6ND_NS(tgt="fe80::2"),
        ETHER / V6 / UDP(),
        ETHER / IPv6(src="fe80::1", dst="fe80::2") / REPORT_6,  # to a station, not to a group
        ETHER / IPv6(src="fe80::1", dst="ff0e::9", plen=200) / REPORT_6,
        ETHER / V6 / IPv6ExtHdrFragment(m=1) / REPORT_6,
        ETHER / IP(dst="224.0.0.13", proto=103) / PIMv2Hdr(type=3),  # join/prune: the hello was before
        ETHER / IP(dst="239.1.2.3", proto=103) / PIMv2Hdr() / PIMv2Hello(),
        ETHER,
    ],
)
def test_ordinary_frames(packet: Packet) -> None:
    assert read(packet) is None


@pytest.mark.parametrize(("group", "to"), [("", "224.0.0.1"), ("239.1.2.3", "239.1.2.3")])
def test_our_question_about_ipv4_groups(group: str, to: str) -> None:
    about = ipaddress.ip_address(group).packed if group else b""
    frame = snoop.query_frame(4, about, 10.0, 125.0, 2)
    made = Ether(frame)
    head = made[IP]
    assert (head.src, head.dst, head.ttl, head.tos, head.proto) == ("0.0.0.0", to, 1, 0xC0, 2)
    assert isinstance(head.options[0], IPOption_Router_Alert) and head.len == len(frame) - 14
    query = head[IGMPv3_MQ]
    assert (query.type, query.qrv, query.qqic, query.gaddr) == (0x11, 2, 125, group or "0.0.0.0")
    assert made.src == STAND_IN.hex(":") and made.dst == multicast.mac_of(head_bytes(to)).hex(":")
    sums = head.chksum
    del head.chksum
    assert IP(bytes(head)).chksum == sums
    assert read(frame) == Message(QUERY, 4, about, 10.0, False)


@pytest.mark.parametrize(("group", "to"), [("", "ff02::1"), ("ff0e::9", "ff0e::9")])
def test_our_question_about_ipv6_groups(group: str, to: str) -> None:
    about = ipaddress.ip_address(group).packed if group else b""
    frame = snoop.query_frame(6, about, 1.5, 125.0, 3)
    made = Ether(frame)
    head = made[IPv6]
    assert (head.dst, head.hlim, head.nh, head.plen) == (to, 1, 0, len(frame) - 54)
    assert head.src.startswith("fe80::") and head[IPv6ExtHdrHopByHop].options[0].otype == 5
    query = made[ICMPv6MLQuery2]
    assert (query.QRV, query.QQIC, query.mrd, query.mladdr) == (3, 125, 1500, group or "::")
    sums = query.cksum
    del query.cksum
    assert Ether(bytes(made))[ICMPv6MLQuery2].cksum == sums
    assert read(frame) == Message(QUERY, 6, about, 1.5, False)  # another switch's stand-in is no router


def head_bytes(text: str) -> bytes:
    return ipaddress.ip_address(text).packed


MACS = bytes.fromhex("01005e010203020000000001")
FRAMES = st.binary(max_size=120) | st.builds(
    lambda first, second, rest: MACS + first + second + rest,
    st.sampled_from([b"\x08\x00\x45", b"\x08\x00\x46", b"\x08\x00\x4f", b"\x86\xdd\x60"]),
    st.binary(max_size=9),
    st.binary(max_size=120),
)


@given(FRAMES, st.sampled_from([0, 2, 43, 58, 60, 103]), st.integers(0, 255))
def test_any_bytes_in_and_never_an_exception_out(frame: bytes, protocol: int, low: int) -> None:
    told = bytearray(frame)
    if len(told) > 23:  # lead the parser on
        told[23 if told[12:13] == b"\x08" else 20] = protocol
        told[17 if told[12:13] == b"\x08" else 19] = low
    message = snoop.read(memoryview(told), 0, len(told))
    assert message is None or message.family in (4, 6)
    if len(told) >= 14:
        assert len(multicast.group_of(told, 0, len(told))) in (0, 4, 16)
