"""Neighbour discovery, with scapy as the other implementation."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet6 import (
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
)
from scapy.layers.l2 import Ether

from vxswitch.wire import nd

A, B = "02:00:00:00:00:01", "02:00:00:00:00:02"
ONE, TWO = "2001:db8::1", "2001:db8::2"
MACS = st.binary(min_size=6, max_size=6)
ADDRESSES = st.binary(min_size=15, max_size=15).map(lambda rest: b"\x20" + rest)


def raw(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def ip(text: str) -> bytes:
    return ipaddress.IPv6Address(text).packed


def solicitation(**ip_fields: object) -> Ether:
    fields = {"src": ONE, "dst": "ff02::1:ff00:2", "hlim": 255} | ip_fields
    return Ether(src=A, dst="33:33:ff:00:00:02") / IPv6(**fields) / ICMPv6ND_NS(tgt=TWO)


def read(packet: Ether | bytes) -> nd.Discovery | None:
    data = bytes(packet)
    return nd.parse(b"\xa5" * 3 + data + b"\xa5" * 9, 3, len(data))


@given(MACS, ADDRESSES, ADDRESSES)
def test_what_is_made_is_what_scapy_would_have_made(mac: bytes, one: bytes, two: bytes) -> None:
    asked = nd.solicit(nd.group_mac(nd.group_of(two)), mac, one, nd.group_of(two), two)
    told = nd.advertise(mac, mac, one, two, nd.SOLICITED | nd.OVERRIDE)
    for frame, kind in ((asked, ICMPv6ND_NS), (told, ICMPv6ND_NA)):
        again = Ether(frame)
        del again[kind].cksum
        assert bytes(again) == frame
    assert nd.parse(asked, 0, len(asked)) == nd.Discovery(nd.SOLICITATION, 0, one, nd.group_of(two), two, mac)
    assert nd.parse(told, 0, len(told)) == nd.Discovery(nd.ADVERTISEMENT, 0x60, two, one, two, mac)


def test_scapys_packets_are_read_with_and_without_options() -> None:
    assert read(solicitation()) == nd.Discovery(nd.SOLICITATION, 0, ip(ONE), ip("ff02::1:ff00:2"), ip(TWO), None)
    found = read(solicitation() / ICMPv6NDOptSrcLLAddr(lladdr=B))
    assert found is not None and found.link == raw(B)
    told = Ether(src=B, dst=A) / IPv6(src=TWO, dst=ONE, hlim=255)
    found = read(told / ICMPv6ND_NA(tgt=TWO, R=1, S=1, O=0) / ICMPv6NDOptDstLLAddr(lladdr=B))
    assert found == nd.Discovery(nd.ADVERTISEMENT, nd.ROUTER | nd.SOLICITED, ip(TWO), ip(ONE), ip(TWO), raw(B))
    assert read(solicitation(src="::")) is not None  # duplicate address detection


@pytest.mark.parametrize(
    "packet",
    [
        solicitation(hlim=64),
        solicitation(nh=59),
        solicitation(src="::", dst="ff02::1"),
        solicitation(src="::") / ICMPv6NDOptSrcLLAddr(lladdr=A),
        Ether(src=A, dst=B) / IPv6(src=ONE, dst=TWO, hlim=255) / ICMPv6ND_NS(tgt="ff02::5"),
        Ether(src=A, dst=B) / IPv6(src=ONE, dst=TWO, hlim=255) / ICMPv6ND_NS(tgt=TWO, code=1),
        Ether(src=A, dst=B) / IPv6(src=ONE, dst=TWO, hlim=255) / ICMPv6ND_NS(tgt=TWO, cksum=0x1234),
        Ether(src=A, dst="33:33:00:00:00:01") / IPv6(src=ONE, dst="ff02::1", hlim=255) / ICMPv6ND_NA(tgt=ONE, S=1),
        solicitation() / ICMPv6NDOptSrcLLAddr(lladdr=A, len=0),
        solicitation() / ICMPv6NDOptSrcLLAddr(lladdr=A, len=2),
        Ether(src=A, dst=B) / IPv6(src=ONE, dst="ff02::2", hlim=255) / ICMPv6ND_RS(),
    ],
)
def test_what_rfc_4861_calls_invalid_is_not_read(packet: Ether) -> None:
    assert read(packet) is None


def test_a_frame_that_is_cut_short_is_not_read() -> None:
    frame = bytes(solicitation() / ICMPv6NDOptSrcLLAddr(lladdr=A))
    assert all(nd.parse(frame, 0, length) is None for length in range(len(frame)))
