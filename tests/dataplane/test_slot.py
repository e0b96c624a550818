"""The slot of a burst: what a read is, in wire frames and bytes, and what is done to it in place."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dataplane.frames import IP4, IP6, VLAN, VNET, cut, ethernet, finish, mac, partial, super_frame, tcp, udp
from vxswitch.counters import ALIVE, Drop
from vxswitch.dataplane.slot import Slot

FOUR, SIX = ("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")


def filled(data: bytes, at: int = 40) -> Slot:
    slot = Slot(1 << 17)
    slot.view[:] = b"\xa5" * (1 << 17)
    slot.view[at : at + len(data)] = data
    return slot


@pytest.mark.parametrize("make", [tcp, udp])
@pytest.mark.parametrize("ends", [FOUR, SIX])
@given(st.integers(1, 9000), st.integers(1, 9000))
def test_a_super_frame_counts_as_its_segments(make: object, ends: tuple[str, str], size: int, gso: int) -> None:
    frame = ethernet(mac(2), mac(1), IP6 if ends is SIX else IP4, make(*ends, 1, 2, bytes(size)))  # type: ignore[operator]
    data = super_frame(frame, *ends, gso)
    slot = filled(data)
    assert slot.take(40, len(data)) == ALIVE
    if size > 300 * gso:
        return  # counting needs no oracle that takes a second
    segments = cut(data)
    assert (slot.count, slot.wire_bytes) == (len(segments), sum(map(len, segments)))
    assert slot.longest == max(map(len, segments))


@given(st.binary(max_size=10), st.binary(max_size=100))
def test_any_read_is_judged_without_an_exception(header: bytes, frame: bytes) -> None:
    data = header.ljust(10, b"\0") + frame
    slot = filled(data)
    verdict = slot.take(40, len(data))
    assert verdict in (ALIVE, Drop.RUNT_FRAME, Drop.BAD_VNET_HDR, Drop.UNSUPPORTED_GSO)
    assert (verdict == Drop.RUNT_FRAME) == (len(frame) < 14)
    assert slot.count >= 1
    assert slot.view[:40] == b"\xa5" * 40 and slot.view[40 + len(data) : 200] == b"\xa5" * (160 - len(data))


def test_what_the_last_frame_was_does_not_stick() -> None:
    bulk = super_frame(ethernet(mac(2), mac(1), IP4, tcp(*FOUR, 1, 2, bytes(5000))), *FOUR, 1000)
    slot = filled(bulk)
    slot.take(40, len(bulk))
    assert slot.count == 5
    slot.view[40:74] = bytes(10) + ethernet(mac(2), mac(1), IP4, bytes(10))
    slot.take(40, 34)
    assert (slot.count, slot.wire_bytes, slot.longest, slot.flags, slot.gso_type) == (1, 24, 24, 0, 0)


@pytest.mark.parametrize("make", [tcp, udp])
@pytest.mark.parametrize("ends", [FOUR, SIX])
@pytest.mark.parametrize("size", [0, 1, 2, 33])
def test_a_partial_checksum_is_finished_once(make: object, ends: tuple[str, str], size: int) -> None:
    frame = ethernet(mac(2), mac(1), IP6 if ends is SIX else IP4, make(*ends, 1, 2, bytes(size)))  # type: ignore[operator]
    data = partial(frame, *ends)
    slot = filled(data)
    slot.take(40, len(data))
    for _ in range(2):
        slot.finish_checksum()
        assert bytes(slot.view[slot.at : slot.end]) == bytes(10) + frame == bytes(10) + finish(data)


def test_tags_go_and_the_vnet_header_comes_along() -> None:
    frame = ethernet(mac(2), mac(1), IP4, tcp(*FOUR, 1, 2, bytes(2500)))
    data = super_frame(frame, *FOUR, 1000)
    flags, kind, _, gso, start, offset = VNET.unpack_from(data)
    tags = struct.pack("!HHHH", 0x88A8, 1, VLAN, 2)
    tagged = VNET.pack(flags, kind, 0, gso, start + 8, offset) + data[10:22] + tags + data[22:]
    slot = filled(tagged)
    assert slot.take(40, len(tagged)) == ALIVE
    assert slot.strip_tags() == 2
    stripped = bytes(slot.view[slot.at : slot.end])
    assert cut(stripped) == cut(data)
    assert (slot.count, slot.wire_bytes) == (3, sum(map(len, cut(data))))
    assert slot.longest == max(map(len, cut(data)))
    assert slot.strip_tags() == 0


def test_a_tag_cut_short_stays_as_it_is() -> None:
    data = bytes(10) + ethernet(mac(2), mac(1), VLAN, b"\0")
    slot = filled(data)
    slot.take(40, len(data))
    assert slot.strip_tags() == -1
    assert bytes(slot.view[slot.at : slot.end]) == data
