"""CPU time is that of the work done, and memory that of the process."""

from __future__ import annotations

import os
import time

import pytest

from benchmarks.cpu import TICK, CpuTime, resident_bytes


def test_work_shows_in_the_process_and_in_the_machine() -> None:
    before, own = CpuTime.now([os.getpid()]), time.process_time()
    while time.process_time() - own < 0.3:
        sum(range(1000))
    spent = CpuTime.now([os.getpid()]) - before
    assert spent.processes == pytest.approx(0.3, abs=5 * TICK)
    assert spent.machine > 0.2


def test_no_process_costs_nothing() -> None:
    assert CpuTime.now([]).processes == 0.0
    assert resident_bytes([]) == 0


def test_memory_follows_what_is_touched() -> None:
    before = resident_bytes([os.getpid()])
    block = bytearray(b"x" * 50_000_000)
    assert resident_bytes([os.getpid()]) - before > len(block) // 2
