"""The search for what a path carries: found exactly, in few tries, and found again when the path changes."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vxswitch.control.pathmtu import TRIES, PathMtu
from vxswitch.wire.probe import LEN

FULL = 1472


def search(path: PathMtu, carried: int, steps: int = 200) -> int:
    """Try until nothing is in doubt; how many tries that took."""
    for tries in range(1, steps):
        size = path.next()
        assert LEN <= size <= path.full
        if size <= carried:
            path.answered(size)
        else:
            path.missed(size)
        if not path.in_doubt:
            return tries
    raise AssertionError("never found")


def test_a_path_that_carries_all_is_known_by_one_probe() -> None:
    path = PathMtu(FULL)
    assert path.in_doubt and path.limit is None
    assert search(path, FULL) == 1
    assert path.limit == FULL


@given(st.integers(LEN, FULL - 1))
def test_any_limit_is_found_exactly(carried: int) -> None:
    path = PathMtu(FULL)
    tries = search(path, carried)
    if carried > LEN:
        assert path.limit == carried
    assert tries <= TRIES * (2 + math.ceil(math.log2(FULL)))


def test_one_lost_probe_says_nothing() -> None:
    path = PathMtu(FULL)
    path.missed(FULL)
    path.missed(FULL)
    path.answered(FULL)
    assert path.limit == FULL
    for _ in range(TRIES - 1):
        path.missed(FULL)
    assert path.limit == FULL and path.in_doubt


def test_what_our_own_device_refuses_need_not_be_tried_again() -> None:
    path = PathMtu(FULL)
    path.missed(FULL, surely=True)
    assert path.refused == FULL and path.next() < FULL


@pytest.mark.parametrize(("first", "then"), [(1472, 1372), (1372, 1272), (1272, 1472), (1272, 1372), (600, 601)])
def test_a_path_that_changes_is_found_again(first: int, then: int) -> None:
    path = PathMtu(FULL)
    search(path, first)
    assert path.limit == first
    for _ in range(100):
        size = path.next()
        if size <= then:
            path.answered(size)
        else:
            path.missed(size)
        if path.limit == then:
            return
    # what has grown, but not to the full size, is not searched for again
    assert path.limit == first < then < FULL
