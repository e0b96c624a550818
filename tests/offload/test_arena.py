"""An arena is one memory under two names; a run says where the rows stand in it."""

import numpy as np

from vxswitch.offload.arena import DATAGRAM_ARENA, FRAME_ARENA, ROW_ARENA, Arena, Run


def test_array_and_view_are_one_memory() -> None:
    arena = Arena(100)
    arena.view[10:14] = b"abcd"
    assert arena.array[10:14].tobytes() == b"abcd"
    arena.array[11] = ord("x")
    assert bytes(arena.view[10:14]) == b"axcd"
    assert (arena.size, len(arena.view), arena.array.dtype) == (100, 100, np.uint8)


def test_a_new_arena_is_zero() -> None:
    assert bytes(Arena(64).view) == bytes(64)


def test_rows_of_a_run_with_a_shorter_last() -> None:
    arena = Arena(64)
    arena.view[:] = bytes(range(64))
    run = Run(arena)
    run.fill(arena, 5, 10, 23)
    assert run.count == 3
    assert [bytes(run.row(i)) for i in range(3)] == [bytes(range(5, 15)), bytes(range(15, 25)), bytes(range(25, 28))]


def test_rows_of_a_run_of_equal_ones() -> None:
    arena = Arena(30)
    run = Run(arena)
    run.fill(arena, 0, 10, 30)
    assert (run.count, len(run.row(2))) == (3, 10)


def test_a_run_moves_to_another_arena() -> None:
    one, two = Arena(8), Arena(8)
    run = Run(one)
    run.fill(two, 0, 8, 8)
    two.view[:] = b"theother"
    assert bytes(run.row(0)) == b"theother"
    assert run.array is two.array


def test_the_arenas_hold_what_they_are_for() -> None:
    assert FRAME_ARENA >= 10 + 14 + 65_535
    assert DATAGRAM_ARENA >= 65_507
    assert ROW_ARENA >= 8192 * (8 + 14 + 20 + 60 + 8)
