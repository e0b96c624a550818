"""Labs that crash are swept, labs in use and kept labs are not, and nobody else's process is touched."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vxswitch.errors import UsageError
from vxswitch.lab import Lab, LabError, command, until
from vxswitch.lab import owner as owners

CRASH = """
import os, sys
from vxswitch.lab import Lab
with Lab(hosts=2) as lab:
    lab.hosts[0].popen(["sleep", "600"])
    lab.container("c")
    print(lab.id, flush=True)
    os.kill(os.getpid(), 9)
"""


def crashed_lab() -> owners.Owner:
    """A lab whose maker was killed: namespaces, a process and a record stay behind."""
    done = subprocess.run([sys.executable, "-c", CRASH], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == -9
    identity = done.stdout.strip()
    # Another lab's start in a test that runs side by side may sweep it first: then there is no record.
    return owners.Owner(identity, pid=2**22, start=-2, created=0.0)


def processes_in(namespaces: list[str]) -> list[str]:
    return [pid for name in namespaces for pid in command(["ip", "netns", "pids", name]).stdout.split()]


def test_process_start_tells_processes_apart() -> None:
    assert owners.process_start(os.getpid()) > 0
    assert owners.process_start(2**22 + 1) == -1


def test_a_crashed_lab_is_swept_with_its_processes() -> None:
    dead = crashed_lab()
    owners.sweep()
    until(lambda: not owners.namespaces(dead), 5.0, "namespaces of the crashed lab gone")
    assert not dead.record.exists()
    assert not dead.directory.exists()


def test_sweep_leaves_a_living_and_a_kept_lab_alone() -> None:
    with Lab(hosts=1) as living, Lab(hosts=1) as kept:
        keeper = kept.owner
        sleeper = kept.hosts[0].popen(["sleep", "600"])
        kept.keep()
        assert not {living.id, keeper.id} & set(owners.sweep())
        assert sleeper.poll() is None
        assert len(owners.namespaces(keeper)) == 2
        assert next(owner for owner in owners.labs() if owner.id == keeper.id).alive()
        owners.remove(keeper)
        assert sleeper.wait(5) == -9
        assert owners.namespaces(keeper) == []
        assert len(owners.namespaces(living.owner)) == 2


def test_removal_kills_inside_only() -> None:
    outside = subprocess.Popen(["sleep", "600"])
    try:
        with Lab(hosts=1) as lab:
            inside = lab.hosts[0].popen(["sleep", "600"])
            assert str(inside.pid) in processes_in([lab.hosts[0].name])
        assert inside.poll() == -9
        assert outside.poll() is None
    finally:
        outside.kill()
        outside.wait()


def test_a_name_is_used_once() -> None:
    with Lab(f"once{os.getpid():x}", hosts=1) as lab, pytest.raises(LabError, match="exists"), Lab(lab.id):
        pass
    assert not Path(f"/run/vxswitch-lab/{f'once{os.getpid():x}'}.json").exists()


@pytest.mark.parametrize("name", ["a-b", "Upper", "x" * 17, "../x", "a b"])
def test_names_that_would_break_paths_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="lab name"):
        owners.claim(name)
