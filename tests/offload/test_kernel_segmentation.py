"""The cutter against the kernel, which cuts what is written to a TAP on its way out of a device without TSO."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from scapy.layers.inet import IPOption
from scapy.layers.inet6 import IPv6ExtHdrDestOpt, IPv6ExtHdrHopByHop, PadN
from scapy.packet import Packet

from tests.kernel.namespaces import Namespace
from tests.offload.frames import (
    ACK,
    CWR,
    ECE,
    FIN,
    PSH,
    TIMESTAMPS,
    URG,
    VXLAN,
    SuperFrame,
    frames_of,
    ip4,
    ip6,
    load,
    pattern,
    run_of,
    segments,
    super_frame,
    tcp,
    udp,
)
from tests.offload.wiretap import Wiretap, segmenting
from vxswitch.offload.arena import FRAME_ARENA, Arena, Run
from vxswitch.offload.coalesce import Joiner
from vxswitch.offload.partial import gso_header
from vxswitch.offload.segment import OK, Cutter
from vxswitch.wire import virtio

pytestmark = pytest.mark.root


@pytest.fixture
def wire(namespace: Callable[[], Namespace]) -> Iterator[Wiretap]:
    tap = segmenting(namespace())
    yield tap
    tap.close()


def ours(frame: SuperFrame) -> list[bytes]:
    run = Run(Arena(1))
    fields = (frame.gso_type, frame.gso_size, frame.csum_start, frame.csum_offset)
    assert Cutter().cut(load(frame.frame), 13, len(frame.frame), *fields, VXLAN, run) == OK
    return frames_of(run)


def assert_same(wire: Wiretap, headers: Packet, length: int, mss: int) -> None:
    """Row by row, byte by byte. Bulk: what came is compared only once all of it is there."""
    frame = super_frame(headers, pattern(length, mss), mss)
    wire.write(frame.vnet, frame.frame)
    theirs = wire.read(length, len(bytes(headers)))
    assert theirs == ours(frame), (headers.summary(), length, mss)


KINDS = [(ip4, tcp), (ip6, tcp), (ip4, udp), (ip6, udp)]


@pytest.mark.parametrize(("family", "kind"), KINDS)
def test_sizes(wire: Wiretap, family: type[Packet], kind: type[Packet]) -> None:
    for mss in (1, 2, 3, 7, 48, 536, 1219, 1220, 1397, 1398, 1399, 8959, 8960, 8961, 9000):
        for length in (5 * mss, 5 * mss + 1, 6 * mss - 1, mss + 1):
            assert_same(wire, family() / kind(), length, mss)


@pytest.mark.parametrize(("family", "kind"), KINDS)
@pytest.mark.parametrize("mss", [1398, 1399])
def test_bulk(wire: Wiretap, family: type[Packet], kind: type[Packet], mss: int) -> None:
    for length in (43 * mss, 43 * mss + 700, 65_000):
        assert_same(wire, family() / kind(), length, mss)


def test_flags(wire: Wiretap) -> None:
    for flags in (ACK, ACK | PSH, ACK | FIN, ACK | FIN | PSH | CWR, ACK | CWR, ACK | ECE, ACK | URG | PSH | ECE | CWR):
        for headers in (ip4() / tcp(flags=flags, urgptr=5), ip6() / tcp(flags=flags, options=TIMESTAMPS)):
            assert_same(wire, headers, 3500, 1000)
            assert_same(wire, headers, 3000, 1000)


def test_numbers_wrap(wire: Wiretap) -> None:
    for ident in (65_535, 65_534, 65_530):
        assert_same(wire, ip4(id=ident) / tcp(seq=0xFFFFF000), 9000, 1000)
        assert_same(wire, ip4(id=ident) / udp(), 9000, 1000)


def test_tos_ttl_and_df(wire: Wiretap) -> None:
    assert_same(wire, ip4(tos=0xBB, ttl=1, flags=0) / tcp(options=TIMESTAMPS), 4100, 1000)
    assert_same(wire, ip6(tc=0xBA, hlim=1) / tcp(options=TIMESTAMPS), 4100, 1000)


def test_options_and_extension_headers(wire: Wiretap) -> None:
    assert_same(wire, ip4(options=[IPOption(b"\x94\x04\x00\x00")]) / tcp(options=TIMESTAMPS), 4100, 999)
    extensions = IPv6ExtHdrHopByHop(options=[PadN(optdata=bytes(12))]) / IPv6ExtHdrDestOpt(
        options=[PadN(optdata=b"12")]
    )
    assert_same(wire, ip6() / extensions / tcp(options=TIMESTAMPS), 4100, 999)


@pytest.mark.parametrize(("family", "kind"), KINDS)
@pytest.mark.parametrize("length", [40 * 1398, 20 * 1398 + 5])
def test_a_tap_takes_what_was_joined_and_the_kernel_cuts_it_back(
    wire: Wiretap, family: type[Packet], kind: type[Packet], length: int
) -> None:
    headers = family() / (tcp(flags=ACK | PSH, options=TIMESTAMPS) if kind is tcp else udp())
    rows = ours(super_frame(headers, pattern(length), 1398))
    out = Arena(FRAME_ARENA)
    count, written = Joiner().join(run_of(rows), 0, out, True)
    assert count == len(rows)
    wire.write(b"", bytes(out.view[:written]))
    assert wire.read(length, len(bytes(headers))) == rows


@pytest.mark.parametrize("family", [ip4, ip6])
@pytest.mark.parametrize("length", [500, 30_001])
def test_a_tap_takes_what_a_peer_left_unfinished(wire: Wiretap, family: type[Packet], length: int) -> None:
    headers = family() / tcp(options=TIMESTAMPS)
    frame = super_frame(headers, pattern(length), 0).frame
    fields = gso_header(load(frame).view, 13, len(frame), 1450)
    assert fields is not None
    wire.write(virtio.HEADER.pack(*fields), frame)
    assert wire.read(length, len(bytes(headers))) == segments(headers, pattern(length), fields[3] or length)
