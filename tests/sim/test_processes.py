"""Seeds run whole though a process dies; what dies again and again is left out."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path

import pytest

from tests.sim.processes import CHUNK, Result, in_processes


def die_at(seed: int, lives: Path, seeds: range) -> Result:
    """Dies at a seed as long as there are lives."""
    if seed in seeds and (left := sorted(lives.iterdir())):
        left[0].unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    return [], len(seeds), 0, 0


@pytest.mark.parametrize(("deaths", "left_out"), [(1, False), (2, True)])
def test_a_process_that_dies_costs_nothing_once(
    deaths: int, left_out: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(deaths):
        (tmp_path / str(number)).touch()
    done = [n for _, n, _, _ in in_processes(range(4 * CHUNK), 1, partial(die_at, 3 * CHUNK, tmp_path))]
    assert sum(done) == (3 if left_out else 4) * CHUNK
    told = capsys.readouterr().out.splitlines()
    assert [line.endswith("left out") for line in told] == [False, True][:deaths]
