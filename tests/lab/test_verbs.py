"""`vxswitch lab ls|exec|down`: which lab is meant, what is refused, and what a command sees."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from vxswitch.lab import Lab
from vxswitch.lab import owner as owners


def vxswitch(*args: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "vxswitch", "lab", *args]
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL, check=False)


@pytest.fixture
def kept() -> Iterator[owners.Owner]:
    """A lab that was left standing, as `lab up` leaves it, without switches."""
    with Lab(hosts=1) as lab:
        owner = lab.owner
        lab.container("red1")
        lab.keep()
    try:
        yield owner
    finally:
        owners.remove(owner)


def test_ls_tells_whose_a_lab_is(kept: owners.Owner) -> None:
    with Lab(hosts=1) as mine:
        lines = {line.split()[0]: line for line in vxswitch("ls").stdout.splitlines()}
        assert "kept" in lines[kept.id] and "h1 net red1" in lines[kept.id]
        assert f"of process {mine.owner.pid}" in lines[mine.id]


def test_exec_enters_a_container_and_passes_words_and_exit_code(kept: owners.Owner) -> None:
    done = vxswitch("exec", "--lab", kept.id, "red1", "--", "sh", "-c", "ip -br link; exit 5")
    assert done.returncode == 5
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["lo"]


def test_exec_points_the_command_line_at_the_switch_of_that_host(kept: owners.Owner) -> None:
    done = vxswitch("exec", "--lab", kept.id, "h1", "--", "sh", "-c", "echo $VXSWITCH_SOCKET; command -v vxswitch")
    socket, program = done.stdout.split()
    assert socket == f"/run/vxswitch-lab/{kept.id}/h1/vxswitch.sock"
    assert program.endswith("/vxswitch")


def test_exec_names_what_there_is(kept: owners.Owner) -> None:
    done = vxswitch("exec", "--lab", kept.id, "h7", "--", "true")
    assert done.returncode == 1
    assert "h7" in done.stderr and "h1, net, red1" in done.stderr


def test_down_removes_it_once(kept: owners.Owner) -> None:
    assert vxswitch("down", kept.id).returncode == 0
    assert owners.namespaces(kept) == []
    again = vxswitch("down", kept.id)
    assert again.returncode == 1
    assert "no lab" in again.stderr


def test_down_leaves_a_running_programs_lab_alone() -> None:
    with Lab(hosts=1) as mine:
        done = vxswitch("down", mine.id)
        assert done.returncode == 2
        assert str(mine.owner.pid) in done.stderr
        assert len(owners.namespaces(mine.owner)) == 2


@pytest.mark.parametrize("args", [("--hosts", "0"), ("--hosts", "251"), ("--networks", "a,a"), ("--networks", ",")])
def test_up_refuses_what_cannot_be(args: tuple[str, ...]) -> None:
    done = vxswitch("up", *args)
    assert done.returncode == 2
    assert args[0] in done.stderr
