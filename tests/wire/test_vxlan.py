"""The VXLAN header against golden bytes, scapy, and RFC 7348 section 5."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.vxlan import VXLAN

from vxswitch.wire import vxlan

GOLDEN_VNI = 0x123456
GOLDEN = bytes.fromhex("08000000 12345600")
VNIS = st.integers(0, vxlan.VNI_MAX)
FLAGS_SENT, _ = vxlan.Header.unpack(GOLDEN)

RESERVED_FLAG_BITS = [1 << bit for bit in range(24, 32) if 1 << bit != vxlan.FLAG_I << 24]
RESERVED_FIELD_BITS = [(1 << bit, 0) for bit in range(24)] + [(0, 1 << bit) for bit in range(8)]


def test_golden_bytes_are_written(canvas) -> None:
    sheet = canvas(bytes(vxlan.HEADER_LEN))
    sheet.buf[sheet.start : sheet.start + vxlan.HEADER_LEN] = vxlan.header(GOLDEN_VNI)
    assert sheet.frame() == GOLDEN


def test_golden_bytes_are_read(canvas) -> None:
    sheet = canvas(GOLDEN)
    flags_word, vni_word = vxlan.Header.unpack_from(sheet.buf, sheet.start)
    assert vxlan.check(flags_word, vni_word, True) == vxlan.OK
    assert vxlan.vni_of(vni_word) == GOLDEN_VNI


def test_named_offsets_are_where_the_fields_stand() -> None:
    assert GOLDEN[vxlan.FLAGS] == vxlan.FLAG_I
    assert GOLDEN[vxlan.VNI : vxlan.VNI + 3] == bytes.fromhex("123456")
    assert vxlan.Header.size == vxlan.HEADER_LEN == len(VXLAN())


def test_overhead_is_what_the_headers_add_up_to() -> None:
    udp, ethernet = 8, 14
    assert 20 + udp + vxlan.HEADER_LEN + ethernet == vxlan.OVERHEAD_V4
    assert 40 + udp + vxlan.HEADER_LEN + ethernet == vxlan.OVERHEAD_V6


@given(VNIS)
def test_scapy_writes_the_same_header(vni: int) -> None:
    assert vxlan.header(vni) == bytes(VXLAN(flags=vxlan.FLAG_I, vni=vni))


@given(VNIS)
def test_scapy_reads_what_was_written(vni: int) -> None:
    seen = VXLAN(vxlan.header(vni))
    assert (seen.flags, seen.vni) == (vxlan.FLAG_I, vni)


@pytest.mark.parametrize("vni", [vxlan.VNI_MIN, 4096, vxlan.VNI_MAX])
@pytest.mark.parametrize("strict", [False, True])
def test_R10_i_flag_is_set_on_send_and_accepted(vni: int, strict: bool) -> None:
    flags_word, vni_word = vxlan.Header.unpack(vxlan.header(vni))
    assert flags_word >> 24 & vxlan.FLAG_I
    assert vxlan.check(flags_word, vni_word, strict) == vxlan.OK


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("flags", [0, *RESERVED_FLAG_BITS, 0xF7FFFFFF])
def test_R10_without_i_flag_is_told_before_reserved_bits(flags: int, strict: bool) -> None:
    assert vxlan.check(flags, 0x123456FF, strict) == vxlan.NO_I_FLAG


@given(VNIS)
def test_R11_R12_reserved_bits_are_zero_on_send(vni: int) -> None:
    flags_word, vni_word = vxlan.Header.unpack(vxlan.header(vni))
    assert flags_word == vxlan.FLAG_I << 24
    assert vni_word & 0xFF == 0


@pytest.mark.parametrize("bit", RESERVED_FLAG_BITS)
def test_R11_each_of_7_flag_bits_is_ignored_or_refused(bit: int) -> None:
    assert vxlan.check(FLAGS_SENT | bit, GOLDEN_VNI << 8, False) == vxlan.OK
    assert vxlan.check(FLAGS_SENT | bit, GOLDEN_VNI << 8, True) == vxlan.RESERVED_BITS


@pytest.mark.parametrize(("flags", "low"), RESERVED_FIELD_BITS)
def test_R12_each_of_32_reserved_bits_is_ignored_or_refused(flags: int, low: int) -> None:
    assert vxlan.check(FLAGS_SENT | flags, GOLDEN_VNI << 8 | low, False) == vxlan.OK
    assert vxlan.check(FLAGS_SENT | flags, GOLDEN_VNI << 8 | low, True) == vxlan.RESERVED_BITS


def test_R12_reserved_bits_are_39() -> None:
    assert len(RESERVED_FLAG_BITS) + len(RESERVED_FIELD_BITS) == 39


@given(VNIS, st.integers(0, 0xFF))
def test_R13_vni_is_24_bits_in_network_order(vni: int, reserved: int) -> None:
    _, vni_word = vxlan.Header.unpack(vxlan.header(vni))
    assert vxlan.header(vni)[4:7] == vni.to_bytes(3, "big")
    assert vxlan.vni_of(vni_word | reserved) == vni


@pytest.mark.parametrize("vni", [-1, vxlan.VNI_MAX + 1])
def test_R14_a_vni_that_does_not_fit_is_refused_not_wrapped(vni: int) -> None:
    with pytest.raises(struct.error):
        vxlan.header(vni)
