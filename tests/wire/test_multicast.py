"""Groups and their Ethernet addresses, and which frames may go to listeners alone."""

import ipaddress

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Packet, Raw
from scapy.utils6 import in6_getnsmac

from vxswitch.wire import multicast

STATION = "02:00:00:00:00:01"


def packed(text: str) -> bytes:
    return ipaddress.ip_address(text).packed


def sent_to(group: str, mac: str | None = None, **fields: object) -> bytes:
    layer: Packet = IPv6(src="fe80::1", dst=group) if ":" in group else IP(src="10.0.0.1", dst=group, **fields)
    return bytes(Ether(src=STATION, dst=mac or multicast.mac_of(packed(group)).hex(":")) / layer / UDP() / Raw(b"data"))


@pytest.mark.parametrize(
    ("group", "mac"),
    [
        ("239.1.2.3", "01:00:5e:01:02:03"),
        ("239.129.2.3", "01:00:5e:01:02:03"),  # RFC 1112 section 6.4: 32 groups, one address
        ("224.0.0.1", "01:00:5e:00:00:01"),
        ("ff0e::1:2:abcd", "33:33:00:02:ab:cd"),
        ("ff02::1", "33:33:00:00:00:01"),
    ],
)
def test_the_ethernet_address_of_a_group(group: str, mac: str) -> None:
    assert multicast.mac_of(packed(group)).hex(":") == mac
    if ":" in group:
        assert in6_getnsmac(packed(group)) == mac


@pytest.mark.parametrize("group", ["239.1.2.3", "224.0.1.1", "232.0.0.1", "ff0e::1", "ff05::2", "ff15::9", "ff03::1"])
def test_frames_for_listeners_alone(group: str) -> None:
    frame = sent_to(group)
    assert multicast.group_of(b"\xa5" * 7 + frame, 7, len(frame)) == packed(group)


@pytest.mark.parametrize("group", ["224.0.0.1", "224.0.0.251", "ff02::fb", "ff02::1:ff00:1", "ff01::1", "ff00::1"])
def test_groups_that_stay_on_the_link_are_everybodys(group: str) -> None:
    assert multicast.stays_on_link(packed(group))
    frame = sent_to(group)
    assert multicast.group_of(frame, 0, len(frame)) == b""


@pytest.mark.parametrize(
    "frame",
    [
        sent_to("239.1.2.3", "ff:ff:ff:ff:ff:ff"),
        sent_to("239.1.2.3", "01:00:5e:01:02:04"),  # the address of another group
        sent_to("239.1.2.3", "02:00:00:00:00:02"),
        sent_to("10.0.0.255", "01:00:5e:00:00:ff"),
        bytes(Ether(src=STATION, dst="01:00:5e:01:02:03") / Dot1Q(vlan=3) / IP(dst="239.1.2.3")),
        bytes(Ether(src=STATION, dst="01:00:5e:01:02:03") / ARP()),
        bytes(Ether(src=STATION, dst="03:00:5e:01:02:03", type=0x88B5) / Raw(b"x" * 40)),
        sent_to("239.1.2.3")[:33],  # not even an IP header
    ],
)
def test_what_is_not_certain_goes_to_everybody(frame: bytes) -> None:
    assert multicast.group_of(frame, 0, len(frame)) == b""


def test_fragments_and_options_have_a_group_too() -> None:
    for frame in (sent_to("239.1.2.3", flags="MF", frag=8), sent_to("239.1.2.3", options=b"\x94\x04\0\0")):
        assert multicast.group_of(frame, 0, len(frame)) == packed("239.1.2.3")
