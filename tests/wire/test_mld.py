"""MLD against scapy, which builds every message and its checksum anew."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    ICMPv6MLDMultAddrRec,
    ICMPv6MLDone,
    ICMPv6MLQuery,
    ICMPv6MLQuery2,
    ICMPv6MLReport,
    ICMPv6MLReport2,
    ICMPv6ND_NS,
    IPv6,
)
from scapy.packet import Packet

from vxswitch.wire import igmp, mld
from vxswitch.wire.multicast import BAD, DOUBTFUL, JOINED, LEFT, QUERY, REPORT, Message

GROUP = "ff0e::1:2:3"
G = ipaddress.ip_address(GROUP).packed
HOST, ALL = "fe80::1", "ff02::1"


def parsed(layer: Packet, source: str = HOST, destination: str = ALL) -> Message | None:
    """The message as scapy makes it between these addresses, as we read it."""
    packet = bytes(IPv6(src=source, dst=destination) / layer)
    return mld.parse(packet[40:], packet[8:24], packet[24:40])


def record(kind: int, sources: list[str] | None = None, group: str = GROUP) -> ICMPv6MLDMultAddrRec:
    return ICMPv6MLDMultAddrRec(rtype=kind, dst=group, sources=sources or [])


def test_reports_and_dones_of_version_1() -> None:
    assert parsed(ICMPv6MLReport(mladdr=GROUP)) == Message(REPORT, 6, records=((G, JOINED),))
    assert parsed(ICMPv6MLDone(mladdr=GROUP)) == Message(REPORT, 6, records=((G, LEFT),))
    assert parsed(ICMPv6MLReport(mladdr=GROUP), "::") == Message(REPORT, 6, records=((G, JOINED),))


@pytest.mark.parametrize(
    ("kind", "sources", "change"),
    [
        (igmp.IS_EXCLUDE, [], JOINED),
        (igmp.TO_EXCLUDE, ["2001:db8::1"], JOINED),
        (igmp.TO_INCLUDE, [], LEFT),
        (igmp.TO_INCLUDE, ["2001:db8::1", "2001:db8::2"], JOINED),
        (igmp.ALLOW, ["2001:db8::1"], JOINED),
        (igmp.BLOCK, ["2001:db8::1"], DOUBTFUL),
    ],
)
def test_records_of_version_2(kind: int, sources: list[str], change: int) -> None:
    report = ICMPv6MLReport2(records=[record(kind, sources), record(igmp.TO_EXCLUDE, group="ff05::9")])
    other = ipaddress.ip_address("ff05::9").packed
    assert parsed(report, destination="ff02::16") == Message(REPORT, 6, records=((G, change), (other, JOINED)))


@pytest.mark.parametrize(("group", "about"), [("::", b""), (GROUP, G)])
def test_queries_of_both_versions(group: str, about: bytes) -> None:
    assert parsed(ICMPv6MLQuery(mladdr=group, mrd=2500)) == Message(QUERY, 6, about, 2.5, True)
    assert parsed(ICMPv6MLQuery2(mladdr=group, mrd=10000)) == Message(QUERY, 6, about, 10.0, True)
    floating = parsed(ICMPv6MLQuery2(mladdr=group, mrd=0x8001))
    assert floating == Message(QUERY, 6, about, pytest.approx(0x1001 * 8 / 1000), True)


@pytest.mark.parametrize("layer", [ICMPv6EchoRequest(), ICMPv6ND_NS(tgt="fe80::2")])
def test_other_icmpv6_says_nothing(layer: Packet) -> None:
    assert parsed(layer) is None


@pytest.mark.parametrize(
    ("layer", "source"),
    [
        (ICMPv6MLReport(mladdr=GROUP, cksum=0x1234), HOST),
        (ICMPv6MLReport(mladdr="fe80::5"), HOST),
        (ICMPv6MLQuery(mladdr="::"), "2001:db8::1"),  # RFC 3810 section 5.1.14
        (ICMPv6MLQuery(mladdr="::"), "::"),
        (ICMPv6MLReport2(records_number=3, records=[record(4)]), HOST),
    ],
)
def test_nonsense_is_bad(layer: Packet, source: str) -> None:
    assert parsed(layer, source) == Message(BAD, 6)


@given(st.sampled_from([b"", G]), st.floats(0.1, 32.7), st.floats(1, 30000), st.integers(1, 7))
def test_a_query_is_what_scapy_reads(group: bytes, response: float, interval: float, robustness: int) -> None:
    source, to = ipaddress.ip_address(HOST).packed, ipaddress.ip_address(ALL).packed
    body = mld.query(group, response, interval, robustness, source, to)
    made = ICMPv6MLQuery2(body)
    assert (made.QRV, made.mrd, made.sources_number) == (robustness, round(response * 1000), 0)
    assert made.mladdr == (GROUP if group else "::")
    del made.cksum
    assert bytes(IPv6(src=HOST, dst=ALL) / made)[40:] == body
    assert mld.parse(body, source, to) == Message(QUERY, 6, group, pytest.approx(response, abs=0.001), True)


@given(st.sampled_from(sorted(mld.TYPES)), st.binary(max_size=80))
def test_any_bytes(kind: int, rest: bytes) -> None:
    message = mld.parse(bytes((kind,)) + rest, bytes(16), bytes(16))
    assert message is not None and message.family == 6
    assert mld.parse(rest, bytes(16), bytes(16)) is None or rest[0] in mld.TYPES
