"""Frames left unfinished by a peer's kernel: recognised, and given the virtio_net_hdr that stayed behind."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IPOption
from scapy.layers.l2 import ARP, Dot1Q
from scapy.packet import Packet

from tests.offload.frames import (
    ACK,
    CWR,
    LINK,
    TIMESTAMPS,
    VXLAN,
    frames_of,
    ip4,
    ip6,
    load,
    pattern,
    segments,
    super_frame,
    tcp,
    udp,
)
from vxswitch.offload.arena import Arena, Run
from vxswitch.offload.partial import Fields, gso_header, is_partial
from vxswitch.offload.segment import OK, Cutter
from vxswitch.wire import checksum


def header(frame: bytes, mtu: int = 1450) -> Fields | None:
    return gso_header(load(frame).view, 13, len(frame), mtu)


def partial(frame: bytes) -> bool:
    return is_partial(load(frame).view, 13, len(frame))


KINDS = [(ip4() / tcp(), 34, 16), (ip6() / tcp(), 54, 16), (ip4() / udp(), 34, 6), (ip6() / udp(), 54, 6)]


@pytest.mark.parametrize(("headers", "start", "offset"), KINDS)
@pytest.mark.parametrize("length", [0, 1, 1000])
def test_a_partial_checksum_is_recognised_and_can_be_finished(
    headers: Packet, start: int, offset: int, length: int
) -> None:
    payload = pattern(length)
    frame = super_frame(headers, payload, 0).frame
    finished = bytes(headers / payload)
    assert partial(frame)
    assert not partial(finished)
    assert header(frame) == (1, 0, 0, 0, start, offset)
    assert header(finished) is None
    again = bytearray(frame)
    assert checksum.complete(again, 0, len(again), start, offset)
    assert bytes(again) == finished


@pytest.mark.parametrize(("headers", "start", "gso_type"), [(ip4(), 34, 1), (ip6(), 54, 4)])
@pytest.mark.parametrize("mtu", [1280, 1450, 8950])
def test_a_super_frame_is_cut_to_the_mtu(headers: Packet, start: int, gso_type: int, mtu: int) -> None:
    headers = headers / tcp(options=TIMESTAMPS, flags="PA")
    frame = super_frame(headers, pattern(30_001), 0).frame
    size = mtu - (start - 14) - 32
    fields = header(frame, mtu)
    assert fields == (1, gso_type, start + 32, size, start, 16)
    run = Run(Arena(1))
    assert Cutter().cut(load(frame), 13, len(frame), fields[1], fields[3], fields[4], fields[5], VXLAN, run) == OK
    found = frames_of(run)
    assert found == segments(headers, pattern(30_001), size)
    assert len(found[0]) == mtu + 14


def test_the_mtu_itself_is_not_cut() -> None:
    for length, kind in ((1410, 0), (1411, 1)):
        fields = header(super_frame(ip4() / tcp(), pattern(length), 0).frame, 1450)
        assert fields is not None
        assert fields[1] == kind


def test_cwr_is_said() -> None:
    """SKB_GSO_TCP_ECN: whatever cuts it must leave CWR on the first segment alone."""
    fields = header(super_frame(ip4() / tcp(flags=ACK | CWR), pattern(3000), 0).frame)
    assert fields is not None
    assert fields[1] == 0x81


@pytest.mark.parametrize("headers", [ip4() / udp(), ip6() / udp()])
def test_a_udp_super_frame_cannot_be_restored(headers: Packet) -> None:
    frame = super_frame(headers, pattern(3000), 0).frame
    assert partial(frame)
    assert header(frame) is None


def test_headers_over_the_mtu_are_not_cut() -> None:
    assert header(super_frame(ip4() / tcp(), pattern(100), 0).frame, 40) is None
    assert header(super_frame(ip4() / tcp(dataofs=4), pattern(3000), 0).frame) is None


@pytest.mark.parametrize(
    "frame",
    [
        LINK / ARP(),
        ip4() / bytes(100),
        LINK / Dot1Q() / ip4().payload / tcp(),
        ip4(options=[IPOption(b"\x94\x04\x00\x00")]) / tcp(),
        ip4(flags="MF") / udp() / bytes(8),
    ],
    ids=lambda frame: frame.summary(),
)
def test_what_cannot_be_judged_is_not_partial(frame: Packet) -> None:
    assert not partial(bytes(frame))
    assert header(bytes(frame)) is None


def test_a_finished_checksum_that_looks_partial_comes_out_the_same() -> None:
    """One frame in 65,536: completing it from what it holds gives what it holds."""
    headers = ip4() / tcp()
    template = super_frame(headers, bytes(100), 0).frame
    (wanted,) = struct.unpack_from("!H", template, 50)
    (with_zeros,) = struct.unpack_from("!H", bytes(headers / bytes(100)), 50)
    word = (with_zeros - wanted) % 0xFFFF
    frame = bytes(headers / (struct.pack("!H", word) + bytes(98)))
    assert struct.unpack_from("!H", frame, 50) == (wanted,)
    assert partial(frame)
    again = bytearray(frame)
    assert checksum.complete(again, 0, len(again), 34, 16)
    assert bytes(again) == frame


@settings(max_examples=500, deadline=None)
@given(
    frame=st.binary(max_size=120),
    kind=st.sampled_from([b"", b"\x08\x00\x45", b"\x86\xdd\x60"]),
    mtu=st.integers(0, 2000),
)
def test_no_bytes_raise(frame: bytes, kind: bytes, mtu: int) -> None:
    frame = frame[:12] + kind + frame[12 + len(kind) :]
    assert header(frame, mtu) is None or partial(frame)
