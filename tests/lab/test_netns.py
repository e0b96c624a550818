"""Commands in a namespace: where they run, what a failure says, and that nothing waits for ever."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from vxswitch.lab import Lab, LabError, Namespace, command, until
from vxswitch.lab.netns import clean_environment


@pytest.fixture(scope="module")
def inside() -> Iterator[Namespace]:
    with Lab(hosts=1) as lab:
        yield lab.container("c")


def test_a_command_runs_inside(inside: Namespace) -> None:
    assert inside.path.stat().st_ino == int(inside.run(["stat", "-Lc", "%i", "/proc/self/ns/net"]).stdout)
    assert inside.run(["cat"], input="hello").stdout == "hello"
    assert inside.run(["sh", "-c", "echo $V"], env=clean_environment(V="1")).stdout == "1\n"


def test_a_container_has_nothing_but_lo(inside: Namespace) -> None:
    lines = inside.run(["ip", "-br", "link"]).stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["lo"]


def test_failures_name_the_command_and_its_words(inside: Namespace) -> None:
    with pytest.raises(LabError, match=r"exit 3: oh dear"):
        inside.run(["sh", "-c", "echo oh dear >&2; exit 3"])
    assert inside.run(["sh", "-c", "exit 3"], check=False).returncode == 3
    with pytest.raises(LabError, match="no such program"):
        command(["no-such-program-anywhere"])
    with pytest.raises(LabError, match=r"not done after 0\.1 s"):
        inside.run(["sleep", "10"], timeout=0.1)
    with pytest.raises(LabError, match="nonesuch"):
        inside.ip("link set nonesuch up")


def test_the_pid_of_popen_is_the_command_itself(inside: Namespace) -> None:
    process = inside.popen(["sleep", "600"])
    until(lambda: "sleep" in (command(["cat", f"/proc/{process.pid}/comm"]).stdout), 5.0, "sleep runs")
    inside.end(process)
    assert process.poll() == -9
    assert process not in inside.processes


def test_ctrl_c_does_not_reach_what_runs_inside(inside: Namespace) -> None:
    process = inside.popen(["sleep", "600"], stdout=subprocess.DEVNULL)
    assert os.getsid(process.pid) != os.getsid(0)
    inside.end_all()
    assert inside.processes == []


def test_until_returns_what_it_waited_for_or_says_what_never_came() -> None:
    values = iter([0, 0, 7])
    assert until(lambda: next(values), 5.0, "seven", interval=0) == 7
    with pytest.raises(LabError, match=r"the moon: not within 0\.02 s"):
        until(lambda: None, 0.02, "the moon")


def test_the_machines_own_switch_is_out_of_sight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VXSWITCH_STORE", "redis://elsewhere")
    assert "VXSWITCH_STORE" not in clean_environment()
    assert clean_environment(VXSWITCH_SOCKET="/s")["VXSWITCH_SOCKET"] == "/s"
