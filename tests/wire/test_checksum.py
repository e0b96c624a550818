"""Checksums against scapy, bit for bit, zero and odd lengths included."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP, in4_pseudoheader
from scapy.layers.inet6 import IPv6, in6_pseudoheader
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw
from scapy.utils import checksum as scapy_checksum

from vxswitch.wire import checksum, ethernet, ip, transport

WORDS = st.integers(0, 0xFFFF)
ETHERNET = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
V4 = {"src": "10.1.2.3", "dst": "10.4.5.6"}
V6 = {"src": "fd00::1:2", "dst": "fd00::3:4"}
# RFC 1071 section 3: this string sums to ddf2.
RFC1071_EXAMPLE = bytes.fromhex("0001 f203 f4f5 f6f7")


def test_golden_sum_of_rfc_1071() -> None:
    assert checksum.ones_complement(RFC1071_EXAMPLE) == 0xDDF2


def test_golden_update_of_rfc_1624() -> None:
    # RFC 1624 section 4: the case where equation 2 of RFC 1141 goes wrong.
    assert checksum.update(0xDD2F, 0x5555, 0x3285) == 0x0000


@pytest.mark.parametrize(
    ("total", "folded"),
    [(0, 0), (1, 1), (0xFFFF, 0xFFFF), (0x10000, 1), (0x1FFFE, 0xFFFF), (0xFFFFFFFF, 0xFFFF), (0x12345, 0x2346)],
)
def test_fold(total: int, folded: int) -> None:
    assert checksum.fold(total) == folded


@given(st.binary(max_size=200))
def test_sum_equals_scapys(data: bytes) -> None:
    assert 0xFFFF - checksum.ones_complement(data) == scapy_checksum(data)
    assert checksum.ones_complement(memoryview(data)) == checksum.ones_complement(bytearray(data))


@pytest.mark.parametrize("size", [0, 1, 2, 3, 1399, 1400, 65534, 65535])
@pytest.mark.parametrize("byte", [0x00, 0x5A, 0xFF])
def test_sum_of_long_and_odd_and_extreme_data_equals_scapys(size: int, byte: int) -> None:
    data = bytes([byte]) * size
    assert 0xFFFF - checksum.ones_complement(data) == scapy_checksum(data)


@given(st.binary(min_size=8, max_size=8), st.sampled_from([6, 17]), st.integers(0, 0xFFFF))
def test_pseudo_header_v4_equals_scapys(addresses: bytes, protocol: int, length: int) -> None:
    header = IP(src=".".join(map(str, addresses[:4])), dst=".".join(map(str, addresses[4:])))
    expected = 0xFFFF - scapy_checksum(in4_pseudoheader(protocol, header, length))
    assert checksum.pseudo_header(addresses, protocol, length) == expected


@given(st.binary(min_size=32, max_size=32), st.sampled_from([6, 17, 58]), st.integers(0, 0x20000))
def test_pseudo_header_v6_equals_scapys(addresses: bytes, protocol: int, length: int) -> None:
    header = IPv6(bytes.fromhex("60000000 0000 3b40") + addresses)
    expected = 0xFFFF - scapy_checksum(bytes(in6_pseudoheader(protocol, header, length)))
    assert checksum.pseudo_header(addresses, protocol, length) == expected


def partial(frame: bytes, csum_start: int, csum_offset: int, source: int, protocol: int) -> bytearray:
    """`frame` as NEEDS_CSUM has it: the pseudo-header sum in its checksum field."""
    size = 2 * (ip.V4_ADDRESS_LEN if csum_start == 34 else ip.V6_ADDRESS_LEN)
    total = checksum.pseudo_header(frame[source : source + size], protocol, len(frame) - csum_start)
    out = bytearray(frame)
    out[csum_start + csum_offset : csum_start + csum_offset + 2] = total.to_bytes(2, "big")
    return out


@given(st.binary(max_size=120), st.sampled_from([IP(**V4), IPv6(**V6)]), st.sampled_from([TCP, UDP]))
def test_a_completed_checksum_is_the_one_scapy_writes(
    canvas, payload: bytes, network: Packet, layer: type[Packet]
) -> None:
    frame = bytes(ETHERNET / network / layer() / Raw(payload))
    v4 = isinstance(network, IP)
    csum_start = ethernet.HEADER_LEN + (ip.V4_HEADER_LEN if v4 else ip.V6_HEADER_LEN)
    csum_offset = transport.TCP_CHECKSUM if layer is TCP else transport.UDP_CHECKSUM
    source = ethernet.HEADER_LEN + (ip.V4_SOURCE if v4 else ip.V6_SOURCE)
    sheet = canvas(partial(frame, csum_start, csum_offset, source, 6 if layer is TCP else 17))
    assert checksum.complete(sheet.buf, sheet.start, sheet.length, csum_start, csum_offset)
    assert sheet.frame() == frame


@pytest.mark.parametrize(
    ("csum_offset", "result"), [(transport.UDP_CHECKSUM, "ffff"), (transport.TCP_CHECKSUM, "0000")]
)
def test_zero_is_written_as_ffff_for_udp_alone(canvas, csum_offset: int, result: str) -> None:
    start = 14
    frame = bytearray(start + 20)
    frame[start + csum_offset : start + csum_offset + 2] = b"\xff\xff"  # the sum of it all is ffff
    sheet = canvas(frame)
    assert checksum.complete(sheet.buf, sheet.start, sheet.length, start, csum_offset)
    assert sheet.frame()[start + csum_offset :][:2].hex() == result


@pytest.mark.parametrize(
    ("csum_start", "csum_offset"), [(59, 0), (54, 5), (60, 6), (0xFFFF, 0xFFFF), (-2, 6), (14, -1)]
)
def test_a_field_outside_the_frame_is_refused(canvas, csum_start: int, csum_offset: int) -> None:
    sheet = canvas(bytes(60))
    assert not checksum.complete(sheet.buf, sheet.start, sheet.length, csum_start, csum_offset)
    assert sheet.frame() == bytes(60)


def test_a_field_that_ends_the_frame_is_accepted(canvas) -> None:
    sheet = canvas(bytes(60))
    assert checksum.complete(sheet.buf, sheet.start, sheet.length, 54, 4)
    assert sheet.frame() == bytes(58) + b"\xff\xff"


@given(st.binary(min_size=18, max_size=18), st.integers(0, 8), WORDS)
def test_an_updated_checksum_is_the_one_computed_anew(data: bytes, index: int, word: int) -> None:
    changed = bytearray(data)
    changed[2 * index : 2 * index + 2] = word.to_bytes(2, "big")
    old_word = int.from_bytes(data[2 * index : 2 * index + 2], "big")
    updated = checksum.update(scapy_checksum(data), old_word, word)
    # 0 and FFFF are one value; only all-zero data, which no header is, tells them apart.
    assert updated % 0xFFFF == scapy_checksum(bytes(changed)) % 0xFFFF
    if any(data) and any(changed):
        assert updated == scapy_checksum(bytes(changed))


@given(WORDS, WORDS, WORDS, WORDS)
def test_an_update_keeps_an_error_as_it_is(right: int, wrong: int, old_word: int, new_word: int) -> None:
    before = (wrong - right) % 0xFFFF
    after = checksum.update(wrong, old_word, new_word) - checksum.update(right, old_word, new_word)
    assert after % 0xFFFF == before
