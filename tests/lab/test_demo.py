"""The demo holds what it claims, and a lab that stands on its own works and goes away."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from vxswitch.lab import owner as owners


def vxswitch(*args: str, timeout: float) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "vxswitch", "lab", *args]
    return subprocess.run(argv, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL, check=False)


def test_every_claim_of_the_demo_holds() -> None:
    done = vxswitch("demo", timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"all \d+ held", done.stdout)
    assert "FAIL" not in done.stdout
    assert "\x1b[" not in done.stdout


@pytest.mark.parametrize("hosts", [2])
def test_a_lab_stands_until_it_is_taken_down(hosts: int) -> None:
    name = f"up{os.getpid():x}"
    try:
        up = vxswitch("up", "--name", name, "--hosts", str(hosts), "--networks", "a,b", timeout=60)
        assert up.returncode == 0, up.stderr
        assert f"vxswitch lab down {name}" in up.stdout
        ping = vxswitch("exec", "--lab", name, "a1", "--", "ping", "-c2", "-i0.1", "10.9.0.2", timeout=30)
        assert ping.returncode == 0, ping.stdout
        fdb = vxswitch("exec", "--lab", name, "h1", "--", "vxswitch", "fdb", timeout=30)
        assert "02:09:00:00:00:02" in fdb.stdout
    finally:
        down = vxswitch("down", name, timeout=30)
    assert down.returncode == 0
    assert [owner for owner in owners.labs() if owner.id == name] == []
