"""scapy reads what is built here."""

from __future__ import annotations

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from vxswitch.control.traceframe import ETH_P_EXPERIMENT, build
from vxswitch.errors import UsageError

SRC, DST = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")


@pytest.mark.parametrize(("src", "dst", "layer"), [("10.0.0.1", "10.0.0.2", IP), ("fd00::1", "fd00::2", IPv6)])
@pytest.mark.parametrize(("proto", "kind"), [("tcp", TCP), ("udp", UDP)])
def test_a_packet_with_ports(src: str, dst: str, layer: type, proto: str, kind: type) -> None:
    frame = Ether(build(SRC, DST, src, dst, proto, 443))
    assert (frame.src, frame.dst) == ("02:00:00:00:00:01", "02:00:00:00:00:02")
    assert (frame[layer].src, frame[layer].dst) == (src, dst)
    assert frame[kind].dport == 443


def test_without_a_protocol_it_is_an_echo() -> None:
    assert ICMP in Ether(build(SRC, DST, "10.0.0.1", "10.0.0.2", None, None))
    assert Ether(build(SRC, DST, "fd00::1", "fd00::2", None, None))[IPv6].nh == 58


def test_lengths_are_those_of_the_packet() -> None:
    four, six = build(SRC, DST, "10.0.0.1", "10.0.0.2", "udp", 53), build(SRC, DST, "fd00::1", "fd00::2", "tcp", 53)
    assert Ether(four)[IP].len == len(four) - 14
    assert Ether(six)[IPv6].plen == len(six) - 14 - 40


@pytest.mark.parametrize(("src", "dst"), [(None, None), ("10.0.0.1", None), (None, "10.0.0.1")])
def test_without_addresses_it_is_a_frame_of_the_experimental_ethertype(src: str | None, dst: str | None) -> None:
    frame = build(SRC, DST, src, dst, None, None)
    assert Ether(frame).type == ETH_P_EXPERIMENT and len(frame) == 60


def test_ports_need_addresses_and_addresses_one_family() -> None:
    with pytest.raises(UsageError, match="give IP addresses"):
        build(SRC, DST, None, None, "tcp", 80)
    with pytest.raises(UsageError, match="different families"):
        build(SRC, DST, "10.0.0.1", "fd00::1", None, None)
