"""Checksums that are finished together: the same bytes as one by one, by an arithmetic of the tests' own."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dataplane.frames import IP4, IP6, ethernet, finish, mac, partial, tcp, udp
from vxswitch.dataplane.unfinished import Unfinished
from vxswitch.offload.arena import Arena
from vxswitch.wire.transport import TCP_CHECKSUM, UDP_CHECKSUM

ENDS = {IP4: ("10.0.0.1", "10.0.0.2"), IP6: ("fd00::1", "fd00::2")}


def equal_frames(count: int, size: int, ethertype: int, protocol: str, dice: random.Random) -> list[bytes]:
    """Frames of one flow as a TAP gives them, of ``size`` bytes of payload each."""
    make = {"udp": udp, "tcp": tcp}[protocol]
    ends = ENDS[ethertype]
    payloads = [dice.choice((bytes(size), b"\xff" * size, dice.randbytes(size))) for _ in range(count)]
    return [partial(ethernet(mac(2), mac(1), ethertype, make(*ends, 1, 2, payload)), *ends) for payload in payloads]


def place(arena: Arena, frames: list[bytes], first: int, stride: int) -> None:
    for number, frame in enumerate(frames):
        at = first + number * stride
        arena.view[at : at + len(frame)] = frame


@given(
    st.integers(1, 128),
    st.integers(0, 150),
    st.integers(0, 9),
    st.sampled_from((IP4, IP6)),
    st.sampled_from(("udp", "tcp")),
    st.integers(0, 99),
)
def test_all_at_once_is_what_each_alone_would_be(
    count: int, size: int, gap: int, ethertype: int, protocol: str, seed: int
) -> None:
    frames = equal_frames(count, size, ethertype, protocol, random.Random(seed))
    n, arena = len(frames[0]), Arena(1 << 16)
    stride = n + gap
    place(arena, frames, 3, stride)
    start = 14 + (40 if ethertype == IP6 else 20)
    csum = (start, UDP_CHECKSUM if protocol == "udp" else TCP_CHECKSUM)
    unfinished = Unfinished()
    unfinished.begin(3, n, csum)
    assert all(unfinished.take(3 + k * stride, n, csum, k) for k in range(1, count))
    unfinished.finish(arena)
    found = [bytes(arena.view[3 + k * stride + 10 : 3 + k * stride + n]) for k in range(count)]
    assert found == [finish(frame) for frame in frames]
    assert unfinished.count == 0


@pytest.mark.parametrize("count", [1, 20])
def test_a_udp_checksum_is_never_zero(count: int) -> None:
    """Zero would mean that there is none (RFC 768): the word that makes the sum 0xFFFF is put into the payload."""
    (frame,) = equal_frames(1, 2, IP4, "udp", random.Random(0))
    word = next(word for word in range(1 << 16) if finish(frame[:-2] + word.to_bytes(2, "big"))[40:42] == b"\xff\xff")
    frames = [frame[:-2] + word.to_bytes(2, "big")] * count
    arena, n = Arena(1 << 16), len(frame)
    place(arena, frames, 0, n)
    unfinished = Unfinished()
    unfinished.begin(0, n, (34, UDP_CHECKSUM))
    assert all(unfinished.take(k * n, n, (34, UDP_CHECKSUM), k) for k in range(1, count))
    unfinished.finish(arena)
    assert {bytes(arena.view[k * n + 50 : k * n + 52]) for k in range(count)} == {b"\xff\xff"}


@pytest.mark.parametrize(
    ("at", "n", "csum", "waiting"),
    [
        (301, 100, (34, 6), 2),  # not at the distance of the first two
        (300, 99, (34, 6), 2),  # shorter
        (300, 100, (34, 16), 2),  # TCP among UDP
        (300, 100, (54, 6), 2),  # IPv6 among IPv4
        (300, 100, (34, 6), 3),  # behind one that was finished already
    ],
)
def test_what_is_not_like_the_others_cannot_wait(at: int, n: int, csum: tuple[int, int], waiting: int) -> None:
    unfinished = Unfinished()
    unfinished.begin(100, 100, (34, 6))
    assert unfinished.take(200, 100, (34, 6), 1)
    assert not unfinished.take(at, n, csum, waiting) and unfinished.count == 2
    assert unfinished.take(300, 100, (34, 6), 2)


def test_no_more_than_a_run_has() -> None:
    unfinished = Unfinished()
    unfinished.begin(0, 60, (34, 6))
    assert [unfinished.take(k * 60, 60, (34, 6), k) for k in range(1, 130)].count(True) == 127
