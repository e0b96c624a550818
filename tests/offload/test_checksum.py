"""Row sums against the plain loop of RFC 1071, at every width, alignment and stride."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.offload.frames import fold, pattern, words
from vxswitch.offload.arena import Arena
from vxswitch.offload.checksum import complete, row_sums, swap


def checksums(
    data: bytes, start: int, stride: int, width: int, count: int, seed: int = 0, udp: bool = False
) -> list[int]:
    """Checksum fields of the rows, in host order."""
    arena = Arena(len(data))
    arena.view[:] = data
    sums = np.full(count, 0xDEADBEEF, np.uint32)
    row_sums(arena.array, start, stride, width, sums)
    complete(sums, swap(seed), udp)
    return [swap(int(found)) for found in sums]


@settings(max_examples=200, deadline=None)
@given(
    start=st.integers(0, 9),
    width=st.integers(2, 1500),
    gap=st.integers(0, 9),
    count=st.integers(1, 50),
    seed=st.integers(0, 0xFFFF),
    number=st.integers(1, 1000),
)
def test_every_row_is_summed_as_rfc_1071_says(
    start: int, width: int, gap: int, count: int, seed: int, number: int
) -> None:
    stride = width + gap
    data = pattern(start + stride * count, number)
    rows = [data[start + i * stride :][:width] for i in range(count)]
    # all-zero data, which no packet with a pseudo-header is, counts as 65535: both are zero in ones' complement
    expected = [0xFFFF ^ (fold(words(row) + seed) or 0xFFFF) for row in rows]
    assert checksums(data, start, stride, width, count, seed) == expected


@pytest.mark.parametrize("width", [2, 3, 1430, 65_534, 65_535])
def test_the_largest_sum_does_not_overflow(width: int) -> None:
    data = b"\xff" * width
    expected = 0xFFFF ^ fold(words(data) + 0xFFFF)
    assert checksums(data, 0, width, width, 1, 0xFFFF) == [expected]


def test_a_sum_of_65535_is_zero_for_tcp_and_all_ones_for_udp() -> None:
    """RFC 768: a transmitted zero means that there is no checksum; the kernel's CSUM_MANGLED_0."""
    data = b"\x12\x34\xed\xcb"
    assert checksums(data, 0, 4, 4, 1) == [0]
    assert checksums(data, 0, 4, 4, 1, udp=True) == [0xFFFF]


@given(st.integers(0, 0xFFFF))
def test_swap_exchanges_two_bytes(word: int) -> None:
    assert swap(word).to_bytes(2, "big") == word.to_bytes(2, "little")
