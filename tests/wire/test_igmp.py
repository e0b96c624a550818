"""IGMP against scapy, which builds every message and its checksum anew."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.igmp import IGMP, IGMPv3_MQ, IGMPv3_MR, IGMPv3_MR_Group, IGMPv3_MRA

from vxswitch.wire import igmp
from vxswitch.wire.multicast import BAD, DOUBTFUL, JOINED, LEFT, QUERY, REPORT, ROUTER, Message

GROUP = "239.1.2.3"
G = bytes((239, 1, 2, 3))
HOST, NOBODY = bytes((10, 0, 0, 1)), bytes(4)


def parsed(packet: object, source: bytes = HOST) -> Message | None:
    return igmp.parse(bytes(packet), source)  # type: ignore[call-overload]


def v3_report(*records: IGMPv3_MR_Group) -> bytes:
    return bytes(IGMPv3_MR(records=list(records)))


def record(kind: int, sources: list[str] | None = None, group: str = GROUP) -> IGMPv3_MR_Group:
    return IGMPv3_MR_Group(rtype=kind, maddr=group, srcaddrs=sources or [])


def test_golden_bytes() -> None:
    """RFC 2236 section 2 and RFC 3376 section 4, by hand: checksums are of the words as they stand."""
    assert igmp.parse(bytes.fromhex("1600 f8fa ef01 0203"), HOST) == Message(REPORT, 4, records=((G, JOINED),))
    assert igmp.query(b"", 10.0, 125.0, 2).hex() == "1164ec1e00000000027d0000"


@pytest.mark.parametrize(("kind", "change"), [(0x12, JOINED), (0x16, JOINED), (0x17, LEFT)])
def test_reports_and_leaves_of_versions_1_and_2(kind: int, change: int) -> None:
    assert parsed(IGMP(type=kind, gaddr=GROUP)) == Message(REPORT, 4, records=((G, change),))


@pytest.mark.parametrize(
    ("kind", "sources", "change"),
    [
        (igmp.IS_INCLUDE, ["10.0.0.9"], JOINED),
        (igmp.IS_INCLUDE, [], 0),
        (igmp.IS_EXCLUDE, [], JOINED),
        (igmp.IS_EXCLUDE, ["10.0.0.9"], JOINED),
        (igmp.TO_INCLUDE, [], LEFT),
        (igmp.TO_INCLUDE, ["10.0.0.9", "10.0.0.8"], JOINED),
        (igmp.TO_EXCLUDE, [], JOINED),
        (igmp.ALLOW, ["10.0.0.9"], JOINED),
        (igmp.ALLOW, [], 0),
        (igmp.BLOCK, ["10.0.0.9"], DOUBTFUL),
        (7, [], 0),  # RFC 3376 section 4.2.12: unknown types are ignored
    ],
)
def test_records_of_version_3(kind: int, sources: list[str], change: int) -> None:
    expected = ((G, change),) if change else ()
    assert parsed(v3_report(record(kind, sources))) == Message(REPORT, 4, records=expected)


def test_many_records_and_groups_that_are_none() -> None:
    report = v3_report(record(4), record(3, group="239.9.9.9"), record(4, group="10.0.0.1"), record(4, ["10.0.0.5"]))
    assert parsed(report) == Message(REPORT, 4, records=((G, JOINED), (bytes((239, 9, 9, 9)), LEFT), (G, JOINED)))


def test_auxiliary_data_is_stepped_over() -> None:
    body = bytearray(v3_report(record(4), record(4, group="239.9.9.9")))
    body[9:16] = bytes((1, 0, 0)) + G  # one word of it behind the first record
    body[16:16] = b"\xff\xff\xff\xff"
    body[2:4] = bytes(2)
    body[2:4] = (0xFFFF - _sum(body)).to_bytes(2)
    assert parsed(bytes(body)) == Message(REPORT, 4, records=((G, JOINED), (bytes((239, 9, 9, 9)), JOINED)))


def _sum(data: bytes | bytearray) -> int:
    total = sum(data[at] << 8 | data[at + 1] for at in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@pytest.mark.parametrize("group", ["0.0.0.0", GROUP])
def test_queries_of_all_versions(group: str) -> None:
    about = b"" if group == "0.0.0.0" else G
    assert parsed(IGMP(type=0x11, mrcode=0, gaddr=group)) == Message(QUERY, 4, about, 10.0, True)
    assert parsed(IGMP(type=0x11, mrcode=25, gaddr=group)) == Message(QUERY, 4, about, 2.5, True)
    v3 = IGMPv3_MQ(mrcode=100, gaddr=group)
    assert parsed(v3) == Message(QUERY, 4, about, 10.0, True)
    with_sources = IGMPv3_MQ(mrcode=128, gaddr=group, srcaddrs=["10.0.0.9"])
    assert parsed(with_sources) == Message(QUERY, 4, about, pytest.approx(12.8), True)


def test_a_query_from_nobody_is_no_routers() -> None:
    assert parsed(IGMP(type=0x11, mrcode=25, gaddr="0.0.0.0"), NOBODY) == Message(QUERY, 4, b"", 2.5, False)


def test_router_discovery_and_types_of_others() -> None:
    assert parsed(IGMPv3_MRA(advIntvl=20)) == Message(ROUTER, 4)
    assert parsed(IGMP(type=0x13, gaddr=GROUP)) is None  # DVMRP


@pytest.mark.parametrize(
    "body",
    [
        b"",
        bytes(IGMP(type=0x16, gaddr=GROUP))[:7],
        bytes(IGMP(type=0x16, gaddr=GROUP, chksum=0x1234)),
        bytes(IGMP(type=0x16, gaddr="10.0.0.1")),
        bytes(IGMP(type=0x11, gaddr="0.0.0.0")) + bytes(2),  # between version 2 and version 3
        bytes(IGMPv3_MR(numgrp=2, records=[record(4)])),  # says two, has one
        bytes(IGMPv3_MR(records=[IGMPv3_MR_Group(rtype=4, numsrc=9, maddr=GROUP)])),
    ],
)
def test_nonsense_is_bad(body: bytes) -> None:
    assert igmp.parse(body, HOST) == Message(BAD, 4)


@given(st.sampled_from([b"", G]), st.floats(0.1, 3000), st.floats(1, 30000), st.integers(1, 7))
def test_a_query_is_what_scapy_reads_and_what_we_read(
    group: bytes, response: float, interval: float, robustness: int
) -> None:
    body = igmp.query(group, response, interval, robustness)
    told = IGMPv3_MQ(body)
    assert (told.type, told.qrv, told.numsrc) == (0x11, robustness, 0)
    assert told.gaddr == (GROUP if group else "0.0.0.0")
    message = igmp.parse(body, NOBODY)
    assert message is not None and message.group == group and not message.router
    assert 0.93 * response - 0.1 <= message.response <= response + 0.1


@given(st.integers(1, 31744))
def test_a_time_code_is_the_largest_that_fits(value: int) -> None:
    code = igmp.encode_time(value)
    assert igmp.decode_time(code) <= value
    assert code == 0xFF or igmp.decode_time(code + 1) > value


@given(st.binary(max_size=80))
def test_any_bytes_with_a_right_checksum(body: bytes) -> None:
    if len(body) >= 8:
        fixed = bytearray(body[: len(body) & ~1])
        fixed[2:4] = bytes(2)
        fixed[2:4] = (0xFFFF - _sum(fixed)).to_bytes(2)
        body = bytes(fixed)
    message = igmp.parse(body, HOST)
    assert message is None or message.family == 4
