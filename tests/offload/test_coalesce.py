"""The joiner: what it joins cuts back into the very rows; what differs in anything a receiver sees stays apart."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP, IPOption
from scapy.layers.inet6 import IPv6, IPv6ExtHdrHopByHop
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Packet

from tests.offload.frames import (
    ACK,
    CWR,
    ECE,
    FIN,
    LINK,
    PSH,
    RST,
    SYN,
    TIMESTAMPS,
    URG,
    VXLAN,
    frames_of,
    ip4,
    ip6,
    pattern,
    run_of,
    segments,
    super_frame,
    tcp,
    udp,
)
from tests.offload.work import instructions, peak_bytes
from vxswitch.offload.arena import FRAME_ARENA, Arena, Run
from vxswitch.offload.coalesce import Joiner
from vxswitch.offload.segment import OK, Cutter

VNET = struct.Struct("=BBHHHH")
JOINER, CUTTER = Joiner(), Cutter()
SIZES = [1, 2, 3, 7, 48, 536, 1219, 1397, 1398, 1399, 1400, 8960, 8961, 9000]


def joined(run: Run, uso: bool = True, out: Arena | None = None) -> list[tuple[int, bytes]]:
    """What a caller writes to the TAP: (rows, virtio_net_hdr and frame) of every joined piece, (1, b"") of others."""
    out = out or Arena(FRAME_ARENA)
    pieces, row = [], 0
    while row < run.count:
        rows, length = JOINER.join(run, row, out, uso)
        assert rows >= 1
        assert (rows > 1) == (length > 0)
        pieces.append((rows, bytes(out.view[:length])))
        row += rows
    assert row == run.count
    return pieces


def counts(rows: list[bytes], uso: bool = True) -> list[int]:
    return [count for count, _ in joined(run_of(rows), uso)]


def recut(piece: bytes) -> list[bytes]:
    """The rows that a joined piece stands for."""
    _, gso_type, _, gso_size, start, offset = VNET.unpack_from(piece)
    buf, run = Arena(len(piece)), Run(Arena(1))
    buf.view[:] = piece
    assert CUTTER.cut(buf, 10, len(piece) - 10, gso_type, gso_size, start, offset, VXLAN, run) == OK
    return frames_of(run)


def assert_whole(headers: Packet, payload: bytes, mss: int) -> None:
    """The segments of a super-frame, as scapy builds them, join to just that, and cut again to themselves."""
    rows = segments(headers, payload, mss)
    frame = super_frame(headers, payload, mss)
    ((count, piece),) = joined(run_of(rows))
    assert count == len(rows)
    transport = 8 if UDP in headers else (frame.frame[frame.csum_start + 12] >> 4) * 4
    assert VNET.unpack_from(piece) == (
        1,
        frame.gso_type,
        frame.csum_start + transport,
        mss,
        frame.csum_start,
        frame.csum_offset,
    )
    assert piece[10:] == frame.frame
    assert recut(piece) == rows


# -- what is joined ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mss", SIZES)
@pytest.mark.parametrize("family", [ip4, ip6])
@pytest.mark.parametrize("kind", [tcp, udp])
def test_segments_join_to_their_super_frame(mss: int, family: type[Packet], kind: type[Packet]) -> None:
    for length in {5 * mss, 5 * mss + 1, 6 * mss - 1, 2 * mss}:
        assert_whole(family() / kind(), pattern(length, mss), mss)


@pytest.mark.parametrize("flags", [ACK, ACK | PSH, ACK | FIN, ACK | FIN | PSH, ACK | ECE, ACK | ECE | PSH])
@pytest.mark.parametrize("length", [3000, 2500])
def test_fin_and_psh_of_the_last_are_those_of_the_whole(flags: int, length: int) -> None:
    assert_whole(ip4() / tcp(flags=flags, options=TIMESTAMPS), pattern(length), 1000)


def test_sequence_numbers_and_ids_wrap() -> None:
    assert_whole(ip4(id=65_533) / tcp(seq=0xFFFFF800), pattern(9001), 1000)


def test_ids_count_up_without_df_too() -> None:
    assert_whole(ip4(flags=0) / tcp(), pattern(3000), 1000)


def test_ecn_and_dscp_are_kept() -> None:
    assert_whole(ip4(tos=0xBB) / tcp(), pattern(3000), 1000)
    assert_whole(ip6(tc=0xBA) / tcp(), pattern(3000), 1000)


def test_a_run_of_several_super_frames() -> None:
    headers = ip4(id=10) / tcp(flags=ACK | PSH)
    later = ip4(id=13) / tcp(flags=ACK | PSH, seq=headers[TCP].seq + 3000)
    rows = segments(headers, pattern(3000), 1000) + segments(later, pattern(1700, 2), 1000)
    assert counts(rows) == [3, 2]


def test_rows_before_the_first_are_not_looked_at() -> None:
    rows = segments(ip4() / tcp(), pattern(4000), 1000)
    assert JOINER.join(run_of([b"\xff" * len(rows[0]), *rows]), 1, Arena(FRAME_ARENA), False)[0] == 4


def atomic(flags: str) -> list[bytes]:
    """Segments that all carry one ID."""
    rows = []
    for frame in segments(ip4(id=0, flags=flags) / tcp(flags=ACK | PSH), pattern(2500), 1000):
        packet = Ether(frame)
        packet[IP].id = 0
        del packet[IP].chksum
        rows.append(bytes(packet))
    return rows


def test_one_id_for_all_is_joined_under_df() -> None:
    """RFC 6864 section 4.1: the ID of an atomic datagram means nothing. All else must come back."""
    ((count, piece),) = joined(run_of(atomic("DF")))
    assert count == 3
    for again, row in zip(recut(piece), atomic("DF"), strict=True):
        assert again[:18] + again[20:24] + again[26:] == row[:18] + row[20:24] + row[26:]
        assert Ether(again)[IP].id <= 2


def test_one_id_for_all_without_df_is_not_joined() -> None:
    assert counts(atomic("")) == [1, 1, 1]


def unfinished(headers: Packet, payload: bytes, mss: int) -> list[bytes]:
    """Segments as `segments`, their checksums left partial."""
    rows = []
    for row in segments(headers, payload, mss):
        length = len(bytes(headers))
        rows.append(super_frame(Ether(row[:length]), row[length:], mss).frame)
    return rows


# -- what stays apart ----------------------------------------------------------------------------------------------


def edited(
    edit: Callable[[Packet], object], at: int = 3, family: type[Packet] = ip4, kind: type[Packet] = tcp
) -> list[bytes]:
    """Six segments, the one at `at` edited and its lengths and checksums made right again."""
    options = {"options": TIMESTAMPS} if kind is tcp else {}
    rows = segments(family() / kind(**options), pattern(6000), 1000)
    packet = Ether(rows[at])
    edit(packet)
    for layer in (IP, TCP, UDP):
        if layer in packet:
            del packet[layer].chksum
    rows[at] = bytes(packet)
    return rows


def put(layer: type[Packet], field: str, change: Callable[[int], int]) -> Callable[[Packet], None]:
    def edit(packet: Packet) -> None:
        setattr(packet[layer], field, change(int(getattr(packet[layer], field))))

    return edit


def timestamps(packet: Packet) -> None:
    packet[TCP].options = [("NOP", None), ("NOP", None), ("Timestamp", (0x01020305, 0x05060708))]


def other_options(packet: Packet) -> None:
    packet[TCP].options = [("Timestamp", (0x01020304, 0x05060708)), ("NOP", None), ("NOP", None)]


def source_mac(packet: Packet) -> None:
    packet[Ether].src = "02:00:00:00:00:09"


EDITS = {
    "ack": put(TCP, "ack", lambda ack: ack + 1),
    "window": put(TCP, "window", lambda window: window - 1),
    "seq": put(TCP, "seq", lambda seq: seq + 1),
    "urgent pointer": put(TCP, "urgptr", lambda _: 1),
    "source port": put(TCP, "sport", lambda port: port + 1),
    "destination port": put(TCP, "dport", lambda port: port + 1),
    "reserved bits": put(TCP, "reserved", lambda _: 1),
    "timestamps": timestamps,
    "order of options": other_options,
    "source MAC": source_mac,
} | {f"flag {bit:#x}": put(TCP, "flags", lambda flags, bit=bit: flags | bit) for bit in (SYN, RST, URG, ECE, CWR)}
EDITS_V4 = {
    "ToS": put(IP, "tos", lambda _: 4),
    "ECN": put(IP, "tos", lambda _: 3),
    "TTL": put(IP, "ttl", lambda ttl: ttl - 1),
    "ID": put(IP, "id", lambda ident: ident + 100),
    "DF": put(IP, "flags", lambda _: 0),
    "reserved flag": put(IP, "flags", lambda flags: flags | 4),
    "fragment": put(IP, "frag", lambda _: 1),
    "more fragments": put(IP, "flags", lambda _: 1),
    "source": lambda packet: setattr(packet[IP], "src", "192.0.2.77"),
    "destination": lambda packet: setattr(packet[IP], "dst", "192.0.2.77"),
}
EDITS_V6 = {
    "traffic class": put(IPv6, "tc", lambda _: 4),
    "ECN": put(IPv6, "tc", lambda _: 3),
    "flow label": put(IPv6, "fl", lambda label: label + 1),
    "hop limit": put(IPv6, "hlim", lambda limit: limit - 1),
    "source": lambda packet: setattr(packet[IPv6], "src", "2001:db8::77"),
}


@pytest.mark.parametrize("what", EDITS | EDITS_V4)
def test_a_row_that_differs_ends_what_is_joined(what: str) -> None:
    rows = edited((EDITS | EDITS_V4)[what])
    pieces = joined(run_of(rows))
    assert pieces[0][0] == 3
    for count, piece in pieces:
        assert count <= 3, "the edited row continues nothing, and nothing continues it"
        if count > 1:
            assert piece[10 + 66 :] in pattern(6000)


@pytest.mark.parametrize("what", EDITS | EDITS_V6)
def test_a_row_that_differs_ends_what_is_joined_over_ipv6(what: str) -> None:
    counted = counts(edited((EDITS | EDITS_V6)[what], family=ip6))
    assert counted[0] == 3
    assert max(counted) <= 3


@pytest.mark.parametrize("what", ["source port", "ToS"])
def test_a_row_that_differs_ends_what_is_joined_of_udp(what: str) -> None:
    edit = EDITS_V4[what] if what in EDITS_V4 else put(UDP, "sport", lambda port: port + 1)
    assert counts(edited(edit, kind=udp)) == [3, 1, 2]


@pytest.mark.parametrize("what", EDITS | EDITS_V4)
def test_a_second_row_that_differs_leaves_the_first_alone(what: str) -> None:
    assert counts(edited((EDITS | EDITS_V4)[what], at=1))[:2] == [1, 1]


@pytest.mark.parametrize("flag", [PSH, FIN, PSH | FIN])
def test_push_and_fin_end_a_super_frame(flag: int) -> None:
    rows = edited(put(TCP, "flags", lambda flags: flags | flag))
    assert counts(rows) == [4, 2]
    assert [recut(piece) for _, piece in joined(run_of(rows))] == [rows[:4], rows[4:]]


def test_the_row_with_cwr_stays_alone() -> None:
    """RFC 3168 section 6.1.2; not joining it keeps it the first and only one whatever cuts the frame again."""
    assert counts(segments(ip4() / tcp(flags=ACK | CWR), pattern(4000), 1000)) == [1, 3]


@pytest.mark.parametrize("flags", [0, SYN, SYN | ACK, RST | ACK, URG | ACK, PSH, FIN])
def test_flags_that_lead_nothing(flags: int) -> None:
    rows = [bytes(ip4(id=i) / tcp(seq=1000 * i, flags=flags) / pattern(1000)) for i in range(3)]
    assert counts(rows) == [1, 1, 1]


def test_another_network_in_between() -> None:
    rows = segments(ip4() / tcp(), pattern(4000), 1000)
    run = run_of(rows)
    run.view[run.start + 2 * run.size + 6] ^= 1
    assert [count for count, _ in joined(run)] == [2, 1, 1]


@pytest.mark.parametrize("family", [ip4, ip6])
@pytest.mark.parametrize("kind", [tcp, udp])
@pytest.mark.parametrize("length", [5000, 4500])
def test_every_bit_of_every_row_is_proved(family: type[Packet], kind: type[Packet], length: int) -> None:
    """One bit wrong anywhere after the Ethernet header: that row is not joined, and stays as wrong as it came."""
    rows = segments(family() / kind(), pattern(length), 1000)
    for row in (0, 2, 4):
        size = len(rows[row])
        for at in [*range(12, len(rows[0]) - 1000), size // 2, size - 2, size - 1]:
            broken = bytearray(rows[row])
            broken[at] ^= 1 << at % 8
            counted = counts([*rows[:row], bytes(broken), *rows[row + 1 :]])
            assert sum(counted) == 5
            assert 1 in counted, (row, at)


@pytest.mark.parametrize("kind", [tcp, udp])
def test_the_other_zero_is_not_joined(kind: type[Packet]) -> None:
    """TCP's 0xFFFF for 0, and UDP's 0, "none": no kernel writes them, and a cut would not give them back."""
    headers, offset = ip4(id=1) / kind(), 50 if kind is tcp else 40
    body = pattern(998)
    (checksum,) = struct.unpack_from("!H", bytes(headers / (body + b"\0\0")), offset)
    rows = segments(headers, (body + struct.pack("!H", checksum)) + pattern(2000, 7), 1000)
    assert counts(rows) == [3]
    zero = bytearray(rows[0])
    struct.pack_into("!H", zero, offset, 0xFFFF ^ struct.unpack_from("!H", zero, offset)[0])
    assert counts([bytes(zero), *rows[1:]]) == [1, 2]


def test_what_is_not_plain_tcp_is_left_as_it_came() -> None:
    def same(packet: Packet) -> list[bytes]:
        return [bytes(packet)] * 3

    rows = segments(ip4() / tcp(), pattern(3000), 1000)
    for found in (
        [bytes(ip4(chksum=1) / tcp(seq=1000 * i) / pattern(1000)) for i in range(3)],
        [bytes(ip4(id=i) / UDP(sport=1, dport=2, len=1000) / pattern(1000)) for i in range(3)],
        same(LINK / ARP()),
        same(LINK / bytes(1000)),
        same(ip4() / pattern(1000)),
        same(ip4() / tcp()),  # acknowledgments without data
        segments(ip4(options=[IPOption(b"\x94\x04\x00\x00")]) / tcp(), pattern(3000), 1000),
        segments(ip6() / IPv6ExtHdrHopByHop() / tcp(), pattern(3000), 1000),
        segments(LINK / Dot1Q(vlan=1) / ip4().payload / tcp(), pattern(3000), 1000),
        [row + b"\0" for row in rows],  # padding behind the packet
        [b"\0" * 6] * 3,
        [b""] * 3,
    ):
        assert counts(found) == [1, 1, 1]


def test_udp_is_joined_only_for_a_tap_that_takes_it() -> None:
    rows = segments(ip4() / udp(), pattern(3000), 1000)
    assert counts(rows, uso=False) == [1, 1, 1]
    assert counts(rows, uso=True) == [3]


def test_a_last_row_without_payload_stays_alone() -> None:
    rows = segments(ip4() / tcp(), pattern(3000), 1000)
    closing = bytes(ip4(id=0x1237) / tcp(seq=0x01020304 + 3000, flags=ACK | FIN))
    assert counts([*rows, closing]) == [3, 1]


# -- partial checksums ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", [ip4, ip6])
@pytest.mark.parametrize("kind", [tcp, udp])
@pytest.mark.parametrize("length", [4000, 3001])
def test_rows_with_partial_checksums_join_to_the_same_frame(
    family: type[Packet], kind: type[Packet], length: int
) -> None:
    headers = family() / kind()
    rows = unfinished(headers, pattern(length), 1000)
    ((count, piece),) = joined(run_of(rows))
    assert count == 4
    assert piece[10:] == super_frame(headers, pattern(length), 1000).frame
    assert recut(piece) == segments(headers, pattern(length), 1000)


def test_partial_and_finished_rows_do_not_mix() -> None:
    headers = ip4() / tcp()
    partial, finished = unfinished(headers, pattern(4000), 1000), segments(headers, pattern(4000), 1000)
    assert counts([*partial[:2], *finished[2:]]) == [2, 2]
    assert counts([*finished[:2], *partial[2:]]) == [2, 2]


# -- limits --------------------------------------------------------------------------------------------------------


def test_a_super_frame_is_at_most_one_ip_packet() -> None:
    rows = segments(ip4() / tcp(), pattern(80_000), 1000)
    pieces = joined(run_of(rows))
    assert [count for count, _ in pieces] == [65, 15]
    assert [row for _, piece in pieces for row in recut(piece)] == rows


def test_udp_super_frames_have_at_most_64_segments() -> None:
    assert counts(segments(ip4() / udp(), pattern(130 * 50), 50)) == [64, 64, 2]


def test_nothing_is_written_beyond_the_room_there_is() -> None:
    rows = segments(ip4() / tcp(), pattern(4000), 1000)
    for room, expected in ((10 + 54 + 4000, [4]), (10 + 54 + 3999, [3, 1]), (10 + 54 + 1999, [1] * 4), (20, [1] * 4)):
        assert [count for count, _ in joined(run_of(rows), out=Arena(room))] == expected


def test_what_came_is_only_read_and_what_follows_the_frame_only_kept() -> None:
    run = run_of(segments(ip4() / tcp(), pattern(3500), 1000))
    before, out = bytes(run.view), Arena(FRAME_ARENA)
    out.view[:] = b"\xa5" * out.size
    rows, length = JOINER.join(run, 0, out, False)
    assert rows == 4
    assert bytes(run.view) == before
    assert bytes(out.view[length:]) == b"\xa5" * (out.size - length)


@pytest.mark.parametrize("kind", [tcp, udp])
@pytest.mark.parametrize("tail", [0, 30])
def test_work_does_not_grow_with_the_number_of_rows(kind: type[Packet], tail: int) -> None:
    """As many Python instructions for 2 rows as for 64, and memory for two copies of the headers (62 bytes each)."""
    joiner, out, steps = Joiner(), Arena(FRAME_ARENA), set()
    for count in (2, 20, 64):
        work = (
            joiner.join,
            run_of(segments(ip4() / kind(), pattern((count - 1) * 80 + (tail or 80)), 80)),
            0,
            out,
            True,
        )
        assert joiner.join(*work[1:])[0] == count
        steps.add(instructions(*work))
        assert peak_bytes(*work) < 24_000
    assert len(steps) == 1
    assert peak_bytes(*work, kept=True) < 256


# -- anything ------------------------------------------------------------------------------------------------------


@st.composite
def runs(draw: st.DrawFn) -> list[bytes]:
    """Rows of one size: stretches of a few flows that stop and go on, some rows damaged."""
    mss = draw(st.integers(1, 300))
    flows = [ip4(id=7) / tcp(), ip4(id=7) / tcp(sport=9), ip4(id=65_530) / tcp(flags=ACK | PSH, seq=0xFFFFFF00)]
    rows = []
    for _ in range(draw(st.integers(1, 4))):
        headers = draw(st.sampled_from(flows))
        whole = segments(headers, pattern(8 * mss), mss)
        first = draw(st.integers(0, 7))
        rows += whole[first : first + draw(st.integers(1, 8))]
    for at in draw(st.lists(st.integers(0, len(rows) - 1), max_size=2)):
        row = bytearray(rows[at])
        row[draw(st.integers(0, len(row) - 1))] ^= draw(st.integers(1, 255))
        rows[at] = bytes(row)
    return [*rows[:-1], rows[-1][: draw(st.integers(1, len(rows[-1])))]]


@settings(max_examples=150, deadline=None)
@given(rows=runs())
def test_whatever_is_joined_cuts_back_into_the_very_rows(rows: list[bytes]) -> None:
    at = 0
    for count, piece in joined(run_of(rows)):
        assert count == 1 or recut(piece) == rows[at : at + count]
        at += count


@settings(max_examples=100, deadline=None)
@given(mss=st.integers(1, 9000), count=st.integers(2, 7), more=st.floats(0.001, 1), ident=st.integers(0, 65_535))
def test_cut_then_join_is_the_identity(mss: int, count: int, more: float, ident: int) -> None:
    length = min(mss * (count - 1) + max(1, int(more * mss)), 65_000)
    if length > mss:
        assert_whole(ip4(id=ident) / tcp(flags=ACK | PSH, options=TIMESTAMPS), pattern(length, mss), mss)


@settings(max_examples=300, deadline=None)
@given(data=st.binary(min_size=1, max_size=300), size=st.integers(1, 120), kind=st.integers(0, 3))
def test_no_bytes_raise(data: bytes, size: int, kind: int) -> None:
    """The run stands at the very end of its buffer: a read beyond it would raise."""
    known = (b"", b"\x08\x00\x45\x00", b"\x86\xdd\x60\x00", b"\x08\x00\x45")[kind]
    data = bytearray(data)
    for at in range(0, len(data) - 26, size):
        data[at + 20 : at + 20 + len(known)] = known
        if kind == 1:
            struct.pack_into("!H", data, at + 24, max(0, size - 22))
    run = Run(arena := Arena(len(data)))
    arena.view[:] = data
    run.fill(arena, 0, size, len(data))
    assert sum(count for count, _ in joined(run)) == run.count
