"""Any bytes in, never an exception out, and nothing written outside the frame: for every parser of the room."""

import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from vxswitch.wire import address, arp, checksum, cmsg, ethernet, flow, ip, nd, neighbour, virtio, vxlan

MACS = bytes.fromhex("020000000002020000000001")
ETHERTYPES = ["0800", "86dd", "8100", "88a8", "0806", "0000"]
FIRST = [b"", b"\x45", b"\x46", b"\x4f", b"\x40", b"\x60", b"\x6f"]
# Mostly frames whose first fields lead a parser on, and whose rest betrays it; sometimes just bytes.
FRAMES = st.binary(max_size=90) | st.builds(
    lambda tags, ethertype, first, rest: MACS + tags + bytes.fromhex(ethertype) + first + rest,
    st.sampled_from([b"", bytes.fromhex("81000001"), bytes.fromhex("88a8000181000001")]),
    st.sampled_from(ETHERTYPES),
    st.sampled_from(FIRST),
    st.binary(max_size=90),
)
EXTENSIONS = st.lists(
    st.tuples(st.sampled_from([0, 43, 44, 60, 6, 17]), st.integers(0, 255)).map(bytes), max_size=8
).map(lambda pairs: b"".join(pair + bytes(6) for pair in pairs))
WORDS = st.integers(0, 0xFFFF)
CONTROL = st.lists(
    st.tuples(
        st.sampled_from([cmsg.SOL_IP, cmsg.SOL_IPV6, cmsg.SOL_UDP, cmsg.SOL_SOCKET]),
        st.sampled_from([1, 11, 25, 67, 77, 103, 104]),
        st.binary(max_size=48),
    ),
    max_size=4,
)


@given(FRAMES, st.integers(0, 255))
@settings(max_examples=500)
def test_readers_and_in_place_writers(canvas, frame: bytes, outer: int) -> None:
    sheet = canvas(frame)
    assert ip.version(sheet.buf, sheet.start, sheet.length) in (0, 4, 6)
    assert 0 <= ip.tos(sheet.buf, sheet.start, sheet.length) <= 0xFF
    assert 0 <= flow.entropy(sheet.buf, sheet.start, sheet.length) < 1 << flow.ENTROPY_BITS
    assert sheet.frame() == frame
    ip.apply_ecn(sheet.buf, sheet.start, sheet.length, outer)
    marked = sheet.frame()
    assert len(marked) == len(frame)
    moved = ethernet.strip_tags(sheet.buf, sheet.start, sheet.length)
    assert moved == ethernet.TRUNCATED or sheet.frame(moved)[12:] == marked[moved + 12 :]


ND = st.builds(
    lambda size, kind, rest: (
        MACS + bytes.fromhex("86dd 60000000") + size.to_bytes(2) + b"\x3a\xff" + bytes(32) + kind + rest
    ),
    st.integers(0, 90),
    st.sampled_from([b"\x87\x00", b"\x88\x00", b"\x87\x01"]),
    st.binary(max_size=90),
)
ARP = st.binary(max_size=40).map(lambda rest: MACS + bytes.fromhex("0806 0001 0800 0604") + rest)


@given(FRAMES | ND | ARP)
def test_what_stations_say(canvas, frame: bytes) -> None:
    sheet = canvas(frame)
    assert nd.parse(sheet.buf, sheet.start, sheet.length) is None or len(frame) >= 78
    assert arp.parse(sheet.buf, sheet.start, sheet.length) is None or len(frame) >= 42
    if len(frame) < ethernet.HEADER_LEN:
        return
    address.used(sheet.buf, sheet.start, sheet.length)
    question = neighbour.ask_all(sheet.buf, sheet.start, sheet.length)
    assert question is None or neighbour.listen(question, 0, len(question)) is not None or frame[14] >> 4 == 6
    said = neighbour.listen(sheet.buf, sheet.start, sheet.length)
    if said is not None and said.kind in (neighbour.ASK, neighbour.PROBE):
        neighbour.answer(said, bytes(6))
    assert sheet.frame() == frame


@given(FRAMES)
def test_a_hash_looks_at_nothing_behind_the_frame(frame: bytes) -> None:
    one, other = frame + bytes(64), frame + b"\xff" * 64
    assert flow.entropy(one, 0, len(frame)) == flow.entropy(other, 0, len(frame))


@given(EXTENSIONS, st.binary(max_size=12))
def test_any_chain_of_ipv6_extension_headers(chain: bytes, rest: bytes) -> None:
    frame = MACS + bytes.fromhex("86dd 60000000 0000") + chain[:1] + b"\x40" + bytes(32) + chain + rest
    assert 0 <= flow.entropy(frame, 0, len(frame)) < 1 << flow.ENTROPY_BITS


@given(FRAMES, WORDS, WORDS)
def test_completing_a_checksum_anywhere(canvas, frame: bytes, csum_start: int, csum_offset: int) -> None:
    sheet = canvas(frame)
    for start, offset in ((csum_start, csum_offset), (csum_start % 100, csum_offset % 100)):
        before = sheet.frame()
        done = checksum.complete(sheet.buf, sheet.start, sheet.length, start, offset)
        field = start + offset
        assert done == (field + 2 <= len(frame))
        assert sheet.frame()[:field] == before[:field]
        assert sheet.frame()[field + 2 :] == before[field + 2 :]


@given(st.binary(min_size=virtio.HEADER_LEN, max_size=virtio.HEADER_LEN), st.integers(0, 70000))
def test_any_virtio_header(header: bytes, length: int) -> None:
    flags, gso_type, hdr_len, gso_size, csum_start, csum_offset = virtio.HEADER.unpack(header)
    verdict = virtio.check(flags, gso_type, hdr_len, gso_size, csum_start, csum_offset, length)
    assert verdict in (virtio.OK, virtio.BAD_VNET_HDR, virtio.UNSUPPORTED_GSO)
    if verdict == virtio.OK and gso_type != virtio.GSO_NONE:
        assert gso_size > 0
    if verdict == virtio.OK and flags & virtio.F_NEEDS_CSUM:
        assert csum_start >= ethernet.HEADER_LEN
        assert csum_start + csum_offset + 2 <= length


@given(st.binary(min_size=vxlan.HEADER_LEN, max_size=vxlan.HEADER_LEN), st.booleans())
def test_any_vxlan_header(header: bytes, strict: bool) -> None:
    flags_word, vni_word = vxlan.Header.unpack(header)
    verdict = vxlan.check(flags_word, vni_word, strict)
    assert (verdict == vxlan.NO_I_FLAG) == (not header[vxlan.FLAGS] & vxlan.FLAG_I)
    assert vxlan.vni_of(vni_word) == int.from_bytes(header[vxlan.VNI : vxlan.VNI + 3], "big")


@given(CONTROL)
@settings(max_examples=300)
def test_any_control_messages(messages: list[tuple[int, int, bytes]]) -> None:
    assert len(cmsg.parse(messages)) == 3
    error = cmsg.parse_extended_error(messages)
    assert error is None or len(error.offender) in (0, 4, 16)


@given(st.sampled_from([2, 10]), st.binary(max_size=32))
def test_any_offender(family: int, rest: bytes) -> None:
    sockaddr = struct.pack("=H", family) + rest
    error = cmsg.parse_extended_error([(cmsg.SOL_IP, cmsg.IP_RECVERR, bytes(16) + sockaddr)])
    assert error is not None
    assert len(error.offender) in (0, 4 if family == 2 else 16)
