"""The addresses that a frame speaks for."""

from __future__ import annotations

import ipaddress

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import ICMPv6ND_NA, IPv6
from scapy.layers.l2 import ARP, Ether

from vxswitch.wire.address import link_local, used

A, B = "02:00:00:00:00:01", "02:00:00:00:00:02"


def ip(text: str) -> bytes:
    return ipaddress.ip_address(text).packed


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        (IP(src="10.0.0.1", dst="10.0.0.2") / UDP(), {"10.0.0.1"}),
        (IP(src="0.0.0.0", dst="255.255.255.255") / UDP(sport=68, dport=67), None),
        (IPv6(src="fd00::1", dst="fd00::2") / UDP(), {"fd00::1"}),
        (IPv6(src="::", dst="ff02::16"), None),
        (IPv6(src="fd00::1", dst="ff02::1", hlim=255) / ICMPv6ND_NA(tgt="fd00::9", S=0), {"fd00::1", "fd00::9"}),
        (ARP(op=1, hwsrc=A, psrc="10.0.0.1", pdst="10.0.0.2"), {"10.0.0.1"}),
        (ARP(op=1, hwsrc=A, psrc="0.0.0.0", pdst="10.0.0.2"), None),
    ],
)
def test_what_is_used(payload: object, told: set[str] | None) -> None:
    data = bytes(Ether(src=A, dst=B) / payload)
    assert used(data, 0, len(data)) == (None if told is None else set(map(ip, told)))


def test_what_calls_itself_ip_and_is_not_uses_nothing_and_is_told_from_what_is_not_ip() -> None:
    for ethertype in (0x0800, 0x86DD):
        broken = bytes(Ether(src=A, dst=B, type=ethertype)) + b"\x4f" + bytes(30)
        assert used(broken, 0, len(broken)) == frozenset()
    other = bytes(Ether(src=A, dst=B, type=0x88CC))
    assert used(other, 0, len(other)) is None


def test_the_link_local_address_of_a_mac() -> None:
    assert link_local(bytes.fromhex("020000000001")) == ip("fe80::ff:fe00:1")
