"""The probe against golden bytes, scapy, and any bytes."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.vxlan import VXLAN

from vxswitch.wire import probe, vxlan
from vxswitch.wire.probe import ANSWER, LEN, NOBODY, REQUEST, Identity, Probe

ME = Identity(0x0102030405060708, 0x1112131415161718)
GOLDEN_REQUEST = bytes.fromhex(
    "0000000000000000 76787072 01 01 0030 a1a2a3a4a5a6a7a8 00000007 0000000000000000 0000000000000000 00000000"
)
GOLDEN_ANSWER = bytes.fromhex(
    "0000000000000000 76787072 01 02 0030 a1a2a3a4a5a6a7a8 00000007 0102030405060708 1112131415161718"
)
NONCE = 0xA1A2A3A4A5A6A7A8
U64 = st.integers(0, 2**64 - 1)
U32 = st.integers(0, 2**32 - 1)
SIZES = st.integers(LEN, 9000)


def test_golden_bytes_of_a_request() -> None:
    assert probe.request(48, NONCE, 7) == GOLDEN_REQUEST
    assert probe.parse(GOLDEN_REQUEST, 0, 48) == Probe(REQUEST, 48, NONCE, 7, NOBODY)


def test_golden_bytes_of_an_answer() -> None:
    asked = Probe(REQUEST, 48, NONCE, 7, NOBODY)
    assert probe.answer(asked, ME) == GOLDEN_ANSWER
    assert probe.parse(GOLDEN_ANSWER, 0, LEN) == Probe(ANSWER, 48, NONCE, 7, ME)


def test_a_node_is_a_hash_of_its_id_that_never_changes() -> None:
    assert probe.node_of("a" * 32) == 1032388313896598643
    assert probe.node_of("a") != probe.node_of("b")


@given(SIZES, U64, U32)
def test_for_everybody_else_it_is_vxlan_without_a_valid_vni(size: int, nonce: int, sequence: int) -> None:
    """RFC 7348 section 5: reserved bits zero, and no I flag, so it has to be dropped. scapy reads the outer headers."""
    outer = IP(src="192.0.2.1", dst="192.0.2.2") / UDP(sport=50000, dport=4789) / probe.request(size, nonce, sequence)
    seen = IP(bytes(outer))
    assert seen[UDP].len - 8 == size
    header = VXLAN(bytes(seen[UDP].payload)[:8])
    assert (header.flags, header.vni, header.reserved1, header.reserved2) == (0, 0, 0, 0)
    words = vxlan.Header.unpack_from(bytes(seen[UDP].payload))
    assert vxlan.check(*words, False) == vxlan.check(*words, True) == vxlan.NO_I_FLAG


@given(SIZES, U64, U32, st.builds(Identity, U64, U64), st.integers(0, 9))
def test_what_is_asked_and_answered_is_read_again(
    size: int, nonce: int, sequence: int, sender: Identity, at: int
) -> None:
    asked = probe.parse(memoryview(bytes(at) + probe.request(size, nonce, sequence)), at, size)
    assert asked == Probe(REQUEST, size, nonce, sequence, NOBODY)
    answer = probe.answer(asked, sender)
    assert len(answer) == LEN <= size  # it never makes more of what it gets
    assert probe.parse(answer, 0, LEN) == Probe(ANSWER, size, nonce, sequence, sender)


@given(st.binary(max_size=120) | st.binary(max_size=80).map(lambda rest: GOLDEN_REQUEST[:14] + rest), st.booleans())
def test_any_bytes_are_a_whole_probe_or_none(data: bytes, answer: bool) -> None:
    data = data[:13] + b"\x02" + data[14:] if answer and len(data) > 13 else data
    heard = probe.parse(data, 0, len(data))
    if heard is None:
        return
    assert data[8:13] == b"vxpr\x01" and len(data) >= LEN <= heard.size
    if heard.kind == REQUEST:
        assert len(data) == heard.size
    else:
        assert heard.kind == ANSWER and len(data) == LEN


@pytest.mark.parametrize(
    "data",
    [
        b"",
        GOLDEN_REQUEST[: LEN - 1],
        GOLDEN_REQUEST[:LEN],  # cut short on the way
        GOLDEN_REQUEST + b"\0",
        GOLDEN_ANSWER + b"\0",
        GOLDEN_ANSWER.replace(b"vxpr", b"vxps"),
        GOLDEN_ANSWER[:12] + b"\x02" + GOLDEN_ANSWER[13:],  # another version
        GOLDEN_ANSWER[:13] + b"\x03" + GOLDEN_ANSWER[14:],  # another kind
        GOLDEN_ANSWER[:14] + struct.pack("!H", LEN - 1) + GOLDEN_ANSWER[16:],
    ],
)
def test_what_is_not_whole_is_no_probe(data: bytes) -> None:
    assert probe.parse(data, 0, len(data)) is None


def test_a_request_longer_than_a_udp_payload_is_refused() -> None:
    with pytest.raises(struct.error):
        probe.request(probe.SIZE_MAX + 1, 1, 1)
