"""Which received frames are one plain TCP or UDP packet."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption
from scapy.layers.inet6 import IPv6, IPv6ExtHdrHopByHop
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Packet

from tests.offload.frames import LINK, fold, ip4, ip6, load, tcp, udp, words
from vxswitch.offload.packet import plain_transport, pseudo_sum


def found(frame: bytes) -> tuple[int, int]:
    return plain_transport(load(frame).view, 13, len(frame))


@pytest.mark.parametrize("payload", [b"", b"x", bytes(9000)])
def test_plain_packets(payload: bytes) -> None:
    assert found(bytes(ip4() / tcp() / payload)) == (34, 6)
    assert found(bytes(ip4() / udp() / payload)) == (34, 17)
    assert found(bytes(ip6() / tcp() / payload)) == (54, 6)
    assert found(bytes(ip6() / udp() / payload)) == (54, 17)


@pytest.mark.parametrize(
    "frame",
    [
        LINK / ARP(),
        LINK / bytes(100),
        LINK,
        LINK / Dot1Q() / ip4().payload / tcp(),
        ip4() / ICMP(),
        ip4(options=[IPOption(b"\x94\x04\x00\x00")]) / tcp(),
        ip4(frag=1) / tcp(),
        ip4(flags="MF") / tcp(),
        ip4(version=6) / tcp(),
        ip4(len=60) / tcp(),
        ip4() / tcp() / b"" / IP(),
        ip4(proto=6) / bytes(8),
        ip6() / IPv6ExtHdrHopByHop() / tcp(),
        ip6(version=4) / tcp(),
        ip6(plen=1) / tcp(),
        ip6(nh=6) / bytes(8),
    ],
    ids=lambda frame: frame.summary(),
)
def test_what_is_not_plain(frame: Packet) -> None:
    if IP in frame and frame.getlayer(IP, 2):
        frame = Ether(bytes(ip4() / tcp()) + b"\0")  # padded behind its end
    assert found(bytes(frame)) == (0, 0)


@pytest.mark.parametrize("family", [ip4, ip6])
@pytest.mark.parametrize("kind", [tcp, udp])
def test_the_pseudo_sum_is_what_a_finished_checksum_lacks(family: type[Packet], kind: type[Packet]) -> None:
    """scapy's checksum, the data and the pseudo-header together are 65535."""
    frame = bytes(family() / kind() / b"payload")
    first, protocol = found(frame)
    assert (TCP if protocol == 6 else UDP) in Ether(frame)
    summed = pseudo_sum(load(frame).view, 13, len(frame), first, protocol)
    assert fold(words(frame[first:]) + summed) == 0xFFFF


@settings(max_examples=500, deadline=None)
@given(
    frame=st.binary(max_size=100), kind=st.sampled_from([b"", b"\x08\x00\x45", b"\x86\xdd\x60"]), right=st.booleans()
)
def test_no_bytes_raise_and_what_is_plain_has_its_header(frame: bytes, kind: bytes, right: bool) -> None:
    data = bytearray(frame[:12] + kind + frame[12 + len(kind) :])
    if right and len(data) > 20:
        struct.pack_into(
            "!H", data, 16 if kind[:1] == b"\x08" else 18, max(0, len(data) - (14 if kind[:1] == b"\x08" else 54))
        )
    first, protocol = found(bytes(data))
    if first:
        assert len(data) >= first + {6: 20, 17: 8}[protocol]
        assert (IP if first == 34 else IPv6) in Ether(bytes(data))
