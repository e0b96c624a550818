"""The cutter against scapy, which builds every segment on its own: all sizes, families, options and flags."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IPOption
from scapy.layers.inet6 import IPv6ExtHdrDestOpt, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting, PadN
from scapy.layers.l2 import Dot1AD, Dot1Q
from scapy.packet import Packet

from tests.offload.frames import (
    ACK,
    CWR,
    ECE,
    FIN,
    LINK,
    PSH,
    TIMESTAMPS,
    VXLAN,
    SuperFrame,
    fold,
    frames_of,
    ip4,
    ip6,
    load,
    pattern,
    segments,
    super_frame,
    tcp,
    udp,
    words,
)
from tests.offload.work import instructions, peak_bytes
from vxswitch.offload.arena import ROW_ARENA, Arena, Run
from vxswitch.offload.segment import BAD, OK, UNSUPPORTED, Cutter

SIZES = [1, 2, 3, 4, 5, 7, 48, 536, 1219, 1220, 1397, 1398, 1399, 1400, 8959, 8960, 8961, 8999, 9000]
CUTTER = Cutter()


def cut_into(run: Run, frame: SuperFrame, cutter: Cutter = CUTTER, arena: Arena | None = None) -> int:
    arena = arena or load(frame.frame)
    fields = (frame.gso_type, frame.gso_size, frame.csum_start, frame.csum_offset)
    return cutter.cut(arena, 13, len(frame.frame), *fields, VXLAN, run)


def cut(frame: SuperFrame, cutter: Cutter = CUTTER) -> list[bytes]:
    """The frames of a cut that must succeed."""
    run = Run(Arena(1))
    assert cut_into(run, frame, cutter) == OK
    assert run.total == sum(len(run.row(i)) for i in range(run.count))
    return frames_of(run)


def assert_cut(headers: Packet, payload: bytes, mss: int) -> None:
    assert cut(super_frame(headers, payload, mss)) == segments(headers, payload, mss)


# -- sizes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mss", SIZES)
@pytest.mark.parametrize("family", [ip4, ip6])
@pytest.mark.parametrize("kind", [tcp, udp])
def test_every_segment_is_what_scapy_builds(mss: int, family: type[Packet], kind: type[Packet]) -> None:
    headers = family() / kind()
    for length in (5 * mss, 5 * mss + 1, 6 * mss - 1, 2 * mss):
        assert_cut(headers, pattern(length, mss), mss)


@pytest.mark.parametrize("family", [ip4, ip6])
@pytest.mark.parametrize("kind", [tcp, udp])
@pytest.mark.parametrize("mss", [1398, 1399])
def test_the_largest_super_frame(family: type[Packet], kind: type[Packet], mss: int) -> None:
    headers = family() / kind()
    room = 65_535 - len(bytes(headers)) + 14 + (40 if family is ip6 else 0)
    room = min(room, 65_535 - 60)  # an IPv6 payload length covers what follows its header
    assert_cut(headers, pattern(room), mss)


@pytest.mark.parametrize("family", [ip4, ip6])
@pytest.mark.parametrize("kind", [tcp, udp])
@pytest.mark.parametrize("length", [1, 999, 1000])
def test_what_fits_one_segment_is_one_row(family: type[Packet], kind: type[Packet], length: int) -> None:
    headers = family() / (tcp(flags=ACK | PSH | FIN | CWR) if kind is tcp else udp())
    assert_cut(headers, pattern(length), 1000)


def test_one_byte_per_segment() -> None:
    assert_cut(ip4() / tcp(), pattern(700), 1)


def test_the_smallest_segments_of_linux_fit_in_the_arena() -> None:
    """TCP_MIN_SND_MSS (linux/tcp.h) is 48 bytes, options included: 8 bytes each under 40 bytes of options."""
    headers = ip4() / tcp(options=[("EOL", None)] * 40)
    payload = pattern((65_535 - 80) // 8 * 8)
    run = Run(Arena(1))
    assert cut_into(run, super_frame(headers, payload, 8)) == OK
    assert run.count == len(payload) // 8 == 8181
    length = len(bytes(headers))
    assert b"".join(frame[length:] for frame in frames_of(run)) == payload
    for index in (0, 1, 4000, 8180):
        expected = headers.copy() / payload[8 * index : 8 * index + 8]
        expected.payload.id += index
        expected.payload.payload.seq += 8 * index
        assert bytes(run.row(index))[8:] == bytes(expected)


# -- headers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [ACK, ACK | PSH, ACK | FIN, ACK | FIN | PSH, ACK | CWR, ACK | ECE, 0xFF, 0])
def test_fin_and_psh_on_the_last_only_and_cwr_on_the_first_only(flags: int) -> None:
    assert_cut(ip4() / tcp(flags=flags), pattern(3500), 1000)
    assert_cut(ip6() / tcp(flags=flags), pattern(2000), 1000)


@pytest.mark.parametrize("first", [65_535, 65_534, 65_530, 0])
def test_ids_wrap(first: int) -> None:
    assert_cut(ip4(id=first) / tcp(), pattern(5000), 500)


@pytest.mark.parametrize("first", [0xFFFFFFFF, 0xFFFFF000, 0x7FFFFFFF])
def test_sequence_numbers_wrap(first: int) -> None:
    assert_cut(ip4() / tcp(seq=first), pattern(9000), 1000)


def test_ip_options_are_on_every_segment() -> None:
    assert_cut(ip4(options=[IPOption(b"\x94\x04\x00\x00")]) / tcp(options=TIMESTAMPS), pattern(4001), 999)


def test_extension_headers_are_on_every_segment() -> None:
    extensions = IPv6ExtHdrHopByHop(options=[PadN(optdata=bytes(12))]) / IPv6ExtHdrDestOpt(
        options=[PadN(optdata=b"12")]
    )
    assert_cut(ip6() / extensions / tcp(options=TIMESTAMPS), pattern(4001), 999)
    assert_cut(ip6() / extensions / udp(), pattern(4001), 999)


def test_under_a_routing_header_the_checksum_is_that_of_the_final_destination() -> None:
    """RFC 8200 section 8.1: the addresses in the IPv6 header are not those of the pseudo-header."""
    assert_cut(ip6() / IPv6ExtHdrRouting(addresses=["2001:db8::99"], segleft=1) / tcp(), pattern(4001), 999)


@pytest.mark.parametrize("tags", [Dot1Q(vlan=7), Dot1AD(vlan=7) / Dot1Q(vlan=8)])
def test_tags_are_on_every_segment(tags: Packet) -> None:
    for inner in (ip4(), ip6()):
        link = LINK.copy()
        link.type = 0x88A8 if isinstance(tags, Dot1AD) else 0x8100
        assert_cut(link / tags / inner.payload / tcp(), pattern(3001), 1000)


def test_a_udp_checksum_of_zero_is_sent_as_all_ones() -> None:
    headers = ip4() / udp()
    body = pattern(98)
    bare = bytes(headers / (body + b"\0\0"))
    (checksum,) = struct.unpack_from("!H", bare, 40)
    payload = body + struct.pack("!H", checksum)  # now the sum of everything is 65535
    whole = cut(super_frame(headers, payload * 3, 100))
    assert whole == segments(headers, payload * 3, 100)
    assert struct.unpack_from("!H", whole[0], 40) == (0xFFFF,)


@st.composite
def tcp_headers(draw: st.DrawFn) -> Packet:
    """Any TCP over any IP, options as raw words."""
    tos = draw(st.integers(0, 255))
    if draw(st.booleans()):
        flags = draw(st.sampled_from(["", "DF"]))
        network = ip4(tos=tos, id=draw(st.integers(0, 0xFFFF)), ttl=draw(st.integers(1, 255)), flags=flags)
    else:
        network = ip6(tc=tos, hlim=draw(st.integers(0, 255)), fl=draw(st.integers(0, 0xFFFFF)))
    return network / tcp(
        seq=draw(st.integers(0, 0xFFFFFFFF)),
        ack=draw(st.integers(0, 0xFFFFFFFF)),
        window=draw(st.integers(0, 0xFFFF)),
        flags=draw(st.integers(0, 0xFF)),
        urgptr=draw(st.integers(0, 0xFFFF)),
        options=[("NOP", None)] * (4 * draw(st.integers(0, 10))),
    )


@settings(max_examples=150, deadline=None)
@given(headers=tcp_headers(), mss=st.integers(1, 9000), count=st.integers(1, 8), more=st.floats(0, 1))
def test_any_header_and_size(headers: Packet, mss: int, count: int, more: float) -> None:
    length = min(mss * count + int(more * mss), 65_000)
    assert_cut(headers, pattern(length, mss), mss)


# -- what is refused -----------------------------------------------------------------------------------------------

GOOD = super_frame(ip4() / tcp(), pattern(3000), 1000)


def changed(at: int, value: int) -> bytes:
    frame = bytearray(GOOD.frame)
    frame[at] = value
    return bytes(frame)


def test_what_others_would_cut_is_unsupported() -> None:
    for gso_type in (0, 2, 3, 0x83, 0x85, 0x21, 255):
        assert cut_into(Run(Arena(1)), SuperFrame(GOOD.frame, gso_type, 1000, 34, 16)) == UNSUPPORTED


def test_tcp_with_the_ecn_bit_is_cut() -> None:
    assert cut(SuperFrame(GOOD.frame, 0x81, 1000, 34, 16)) == cut(GOOD)


@pytest.mark.parametrize(
    ("why", "frame"),
    [
        ("no size", SuperFrame(GOOD.frame, 1, 0, 34, 16)),
        ("checksum field of UDP", SuperFrame(GOOD.frame, 1, 1000, 34, 6)),
        ("checksum field of TCP", SuperFrame(GOOD.frame, 5, 1000, 34, 16)),
        ("IPv6 promised", SuperFrame(GOOD.frame, 4, 1000, 34, 16)),
        ("transport before the IP header", SuperFrame(GOOD.frame, 1, 1000, 0, 16)),
        ("transport inside the IP header", SuperFrame(GOOD.frame, 1, 1000, 30, 16)),
        ("transport after the end", SuperFrame(GOOD.frame, 1, 1000, len(GOOD.frame) - 19, 16)),
        ("transport far away", SuperFrame(GOOD.frame, 1, 1000, 65_535, 16)),
        ("no payload", SuperFrame(GOOD.frame[:54], 1, 1000, 34, 16)),
        ("header cut short", SuperFrame(GOOD.frame[:53], 1, 1000, 34, 16)),
        ("eight bytes", SuperFrame(GOOD.frame[:8], 5, 1000, 0, 6)),
        ("Ethernet alone", SuperFrame(GOOD.frame[:14], 1, 1000, 34, 16)),
        ("another ethertype", SuperFrame(changed(12, 0x09), 1, 1000, 34, 16)),
        ("IP version 6 under IPv4's ethertype", SuperFrame(changed(14, 0x65), 1, 1000, 34, 16)),
        ("IHL 4", SuperFrame(changed(14, 0x44), 1, 1000, 34, 16)),
        ("IHL beyond the transport header", SuperFrame(changed(14, 0x46), 1, 1000, 34, 16)),
        ("options beyond the end", SuperFrame(changed(46, 0xF0)[:94], 1, 1000, 34, 16)),
        ("TCP header of 16 bytes", SuperFrame(changed(46, 0x40), 1, 1000, 34, 16)),
        ("over 65,535 bytes", super_frame(LINK / ip4(len=100).payload / tcp(), pattern(65_496), 1000)),
        ("extension of 4 bytes", SuperFrame(bytes(super_frame(ip6() / tcp(), pattern(99), 9).frame), 4, 9, 58, 16)),
    ],
)
def test_contradictions_are_bad(why: str, frame: SuperFrame) -> None:
    run = Run(Arena(1))
    assert cut_into(run, frame) == BAD, why
    assert (run.start, run.size, run.total, run.count) == (0, 0, 0, 0)


@pytest.mark.parametrize("mss", [1, 3])
def test_more_rows_than_the_arena_holds_are_unsupported(mss: int) -> None:
    run = Run(Arena(1))
    assert cut_into(run, super_frame(ip4() / tcp(), pattern(65_000), mss)) == UNSUPPORTED
    assert run.count == 0


def test_more_headers_than_there_is_room_for_are_unsupported() -> None:
    extensions = IPv6ExtHdrHopByHop(options=[PadN(optdata=bytes(250))]) / IPv6ExtHdrDestOpt(
        options=[PadN(optdata=bytes(250))]
    )
    assert cut_into(Run(Arena(1)), super_frame(ip6() / extensions / tcp(), pattern(4000), 1000)) == UNSUPPORTED


@settings(max_examples=500, deadline=None)
@given(
    frame=st.binary(max_size=200),
    ethertype=st.sampled_from([b"", b"\x08\x00\x45", b"\x86\xdd\x60", b"\x81\x00\x00\x07\x08\x00\x45"]),
    gso_type=st.sampled_from([1, 4, 5, 0x81, 0x84]),
    gso_size=st.integers(0, 0xFFFF),
    csum_start=st.integers(0, 200) | st.integers(0, 0xFFFF) | st.sampled_from([34, 38, 54]),
    csum_offset=st.sampled_from([6, 16, 0, 0xFFFF]),
)
def test_no_bytes_raise(
    frame: bytes, ethertype: bytes, gso_type: int, gso_size: int, csum_start: int, csum_offset: int
) -> None:
    """The frame stands at the very end of its buffer: a read beyond it would raise."""
    frame = frame[:12] + ethertype + frame[12 + len(ethertype) :]
    run = Run(Arena(1))
    verdict = cut_into(run, SuperFrame(frame, gso_type, gso_size, csum_start, csum_offset))
    assert verdict in (OK, BAD, UNSUPPORTED)
    assert (run.count > 0) == (verdict == OK)
    assert run.total <= ROW_ARENA


# -- buffers -------------------------------------------------------------------------------------------------------


def test_the_super_frame_itself_is_only_read() -> None:
    arena = load(GOOD.frame, slack=100)
    before = bytes(arena.view)
    assert cut_into(Run(Arena(1)), GOOD, arena=arena) == OK
    assert bytes(arena.view) == before


def test_a_short_cut_after_a_long_one_shows_nothing_of_it() -> None:
    cutter = Cutter()
    cut(super_frame(ip4() / tcp(flags=0xFF), b"\xff" * 60_000, 1399), cutter)
    headers = ip6() / udp()
    assert cut(super_frame(headers, pattern(2001), 1000), cutter) == segments(headers, pattern(2001), 1000)


def test_rows_are_contiguous_from_the_start_of_the_run() -> None:
    run = Run(Arena(1))
    assert cut_into(run, super_frame(ip4() / tcp(), pattern(2500), 1000)) == OK
    rows = bytes(run.view[run.start : run.start + run.total])
    assert rows == b"".join(VXLAN + frame for frame in segments(ip4() / tcp(), pattern(2500), 1000))
    assert (run.size, run.count) == (8 + 54 + 1000, 3)


@pytest.mark.parametrize("kind", [tcp, udp])
@pytest.mark.parametrize("tail", [0, 30])
def test_work_does_not_grow_with_the_number_of_segments(kind: type[Packet], tail: int) -> None:
    """As many Python instructions for 2 segments as for 44 or 800, and less memory than one object for each would take.

    Most of it is numpy's buffer for a reduction, 8192 items of 4 bytes however much there is to sum.
    """
    cutter, run = Cutter(), Run(Arena(1))
    steps = set()
    for count in (2, 44, 800):
        frame = super_frame(ip4() / kind(), pattern((count - 1) * 80 + (tail or 80)), 80)
        work = (cut_into, run, frame, cutter, load(frame.frame))
        steps.add(instructions(*work))
        assert peak_bytes(*work) < 40_000
    assert len(steps) == 1


def test_a_finished_cut_keeps_no_memory() -> None:
    cutter, run = Cutter(), Run(Arena(1))
    arena = load(GOOD.frame)
    assert peak_bytes(cut_into, run, GOOD, cutter, arena, kept=True) < 256


def test_checksums_of_scapy_agree_with_the_plain_loop() -> None:
    """The oracle itself, once: a finished segment sums to 65535 with its pseudo-header."""
    for frame in segments(ip4() / tcp(), pattern(2001), 1000):
        pseudo = frame[26:34] + struct.pack("!HH", 6, len(frame) - 34)
        assert fold(words(frame[34:]) + words(pseudo)) == 0xFFFF
