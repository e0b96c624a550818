"""Ethernet addresses and VLAN tags, scapy being the one who builds and reads tagged frames."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether
from scapy.packet import Packet, Raw

from vxswitch.wire import ethernet

SRC = "02:00:00:00:00:01"
DST = "02:00:00:00:00:02"
GOLDEN_TAGGED = bytes.fromhex("020000000002 020000000001 8100 6064 0800 4500")
GOLDEN_PLAIN = bytes.fromhex("020000000002 020000000001 0800 4500")

MACS = st.binary(min_size=6, max_size=6)
TAGS = st.lists(st.tuples(st.sampled_from([Dot1Q, Dot1AD]), st.integers(0, 4095), st.integers(0, 7)), max_size=6)


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", "").replace("-", ""))


def tagged(payload: Packet, tags: list[tuple[type[Packet], int, int]]) -> bytes:
    frame = Ether(src=SRC, dst=DST)
    for layer, vlan, prio in tags:
        frame /= layer(vlan=vlan, prio=prio)
    return bytes(frame / payload)


def test_named_offsets_are_where_scapy_puts_the_fields() -> None:
    frame = bytes(Ether(src=SRC, dst=DST, type=ethernet.ETH_P_ARP))
    assert len(frame) == ethernet.HEADER_LEN
    assert frame[ethernet.DST : ethernet.DST + ethernet.ADDRESS_LEN] == mac(DST)
    assert frame[ethernet.SRC : ethernet.SRC + ethernet.ADDRESS_LEN] == mac(SRC)
    assert frame[ethernet.ETHERTYPE :] == ethernet.ETH_P_ARP.to_bytes(2, "big")


@pytest.mark.parametrize(
    ("address", "group"),
    [(SRC, False), ("01:00:5e:00:00:01", True), ("33:33:00:00:00:01", True), ("ff:ff:ff:ff:ff:ff", True)],
)
def test_group_addresses(address: str, group: bool) -> None:
    assert ethernet.is_group(mac(address)) is group
    assert ethernet.bad_source(mac(address)) is group


def test_zero_is_a_bad_source_but_no_group() -> None:
    assert ethernet.bad_source(ethernet.ZERO_MAC)
    assert not ethernet.is_group(ethernet.ZERO_MAC)
    assert ethernet.is_group(ethernet.BROADCAST)


@pytest.mark.parametrize("last", range(16))
def test_reserved_groups(last: int) -> None:
    assert ethernet.is_reserved_group(mac(f"01-80-C2-00-00-{last:02X}"))


@pytest.mark.parametrize("address", ["01-80-C2-00-00-10", "01-80-C2-00-00-20", "01-80-C2-00-01-00", SRC])
def test_not_reserved(address: str) -> None:
    assert not ethernet.is_reserved_group(mac(address))


@given(MACS)
def test_a_source_is_bad_only_for_its_group_bit_or_zero(address: bytes) -> None:
    assert ethernet.bad_source(address) == (ethernet.is_group(address) or not any(address))


def test_R27_golden_tag_is_stripped_in_place(canvas) -> None:
    sheet = canvas(GOLDEN_TAGGED)
    assert ethernet.strip_tags(sheet.buf, sheet.start, sheet.length) == 4
    assert sheet.frame(4) == GOLDEN_PLAIN


@given(TAGS)
def test_R27_every_leading_tag_is_stripped(canvas, tags: list[tuple[type[Packet], int, int]]) -> None:
    inner = IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=1, dport=2) / Raw(b"payload")
    sheet = canvas(tagged(inner, tags))
    moved = ethernet.strip_tags(sheet.buf, sheet.start, sheet.length)
    assert moved == 4 * len(tags)
    assert sheet.frame(moved) == tagged(inner, [])


def test_R27_a_priority_tag_counts_as_a_tag(canvas) -> None:
    sheet = canvas(tagged(IP(), [(Dot1Q, 0, 7)]))
    assert ethernet.strip_tags(sheet.buf, sheet.start, sheet.length) == 4
    assert sheet.frame(4) == tagged(IP(), [])


def test_R27_a_tag_inside_the_payload_stays(canvas) -> None:
    frame = bytes(Ether(src=SRC, dst=DST, type=0x88B5) / Raw(bytes.fromhex("8100 0001 0800")))
    sheet = canvas(frame)
    assert ethernet.strip_tags(sheet.buf, sheet.start, sheet.length) == 0
    assert sheet.frame() == frame


@given(TAGS)
def test_R26_tags_of_a_received_frame_are_counted(canvas, tags: list[tuple[type[Packet], int, int]]) -> None:
    sheet = canvas(tagged(IP(), tags))
    assert ethernet.tag_count(sheet.buf, sheet.start, sheet.length) == len(tags)


@pytest.mark.parametrize("tags", [1, 2, 3])
@pytest.mark.parametrize("missing", [1, 2, 3, 4])
def test_R27_a_truncated_tag_is_told_and_left_alone(canvas, tags: int, missing: int) -> None:
    whole = tagged(Raw(b""), [(Dot1Q, 5, 0)] * tags)
    sheet = canvas(whole[:-missing])
    assert ethernet.strip_tags(sheet.buf, sheet.start, sheet.length) == ethernet.TRUNCATED
    assert sheet.frame() == whole[:-missing]


@pytest.mark.parametrize("length", range(14))
def test_a_runt_is_truncated(canvas, length: int) -> None:
    sheet = canvas(GOLDEN_PLAIN[:length])
    assert ethernet.tag_count(sheet.buf, sheet.start, length) == ethernet.TRUNCATED
    assert ethernet.strip_tags(sheet.buf, sheet.start, length) == ethernet.TRUNCATED


def test_a_bare_header_is_whole(canvas) -> None:
    sheet = canvas(GOLDEN_PLAIN[: ethernet.HEADER_LEN])
    assert ethernet.tag_count(sheet.buf, sheet.start, sheet.length) == 0


def test_R27_a_tag_with_nothing_behind_its_ethertype_is_stripped(canvas) -> None:
    sheet = canvas(GOLDEN_TAGGED[: ethernet.HEADER_LEN + ethernet.TAG_LEN])
    assert ethernet.strip_tags(sheet.buf, sheet.start, sheet.length) == ethernet.TAG_LEN
    assert sheet.frame(ethernet.TAG_LEN) == GOLDEN_PLAIN[: ethernet.HEADER_LEN]


def test_a_bytearray_serves_as_well_as_a_view() -> None:
    buf = bytearray(GOLDEN_TAGGED)
    assert ethernet.strip_tags(buf, 0, len(buf)) == 4
    assert buf[4:] == GOLDEN_PLAIN
