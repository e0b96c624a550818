"""One network namespace of a lab: run commands in it, configure its links.

Commands enter by `nsenter --net`, which replaces itself by the command: the pid of a Popen is the pid
of the command. They get a session of their own, so that Ctrl-C on the terminal reaches only the owner
of the lab, which then ends everything in order.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO, TypeVar

from vxswitch.lab.owner import NETNS_DIR, LabError, inode

T = TypeVar("T")


class Namespace:
    """A named network namespace; `label` is the short name within its lab."""

    def __init__(self, name: str, label: str) -> None:
        self.name = name
        self.label = label
        self.processes: list[subprocess.Popen[bytes]] = []

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    @property
    def path(self) -> Path:
        return NETNS_DIR / self.name

    def inside(self, argv: Sequence[str]) -> list[str]:
        """The command line that runs `argv` in this namespace."""
        return ["nsenter", f"--net={self.path}", "--", *argv]

    def run(
        self,
        argv: Sequence[str],
        *,
        check: bool = True,
        timeout: float = 30.0,
        input: str | None = None,
        env: dict[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run to the end and return the output as text.

        Raises LabError when the command takes longer than `timeout` seconds and, with `check`, when it fails.
        """
        return command(self.inside(argv), check=check, timeout=timeout, input=input, env=env)

    def popen(
        self,
        argv: Sequence[str],
        *,
        stdout: int | IO[bytes] = subprocess.DEVNULL,
        stderr: int | IO[bytes] = subprocess.DEVNULL,
        env: dict[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a command and return when it is inside; the lab ends it at the latest when it closes."""
        process = subprocess.Popen(
            self.inside(argv),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            env=clean_environment() if env is None else env,
            start_new_session=True,
        )
        self.processes.append(process)
        until(lambda: self._has_entered(process), 5.0, f"{argv[0]} inside {self.name}", interval=0.0005)
        return process

    def _has_entered(self, process: subprocess.Popen[bytes]) -> bool:
        """True when the process is inside; also when it has ended already."""
        try:
            return process.poll() is not None or inode(Path(f"/proc/{process.pid}/ns/net")) == inode(self.path)
        except OSError:
            return False

    def ip(self, *lines: str) -> None:
        """Run `ip` commands ("link set lo up") in this namespace, in one batch."""
        self.run(["ip", "-batch", "-"], input=_batch(lines))

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """SIGKILL a process that `popen` started, if it still runs, and close its pipes."""
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
        if process in self.processes:
            self.processes.remove(process)

    def end_all(self) -> None:
        """`end` everything that `popen` started here."""
        for process in list(self.processes):
            self.end(process)


def ip_batch(lines: Iterable[str]) -> None:
    """Run `ip` commands that name their namespaces. Raises LabError with `ip`'s words at the first that fails."""
    command(["ip", "-batch", "-"], input=_batch(lines))


def _batch(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def command(
    argv: Sequence[str],
    *,
    check: bool = True,
    timeout: float = 30.0,
    input: str | None = None,
    env: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """`subprocess.run` with text output, always a timeout, and errors that name the command and its words."""
    try:
        done = subprocess.run(
            list(argv),
            input=input if input is not None else "",
            capture_output=True,
            text=True,
            timeout=timeout,
            env=clean_environment() if env is None else env,
            check=False,
        )
    except FileNotFoundError as error:
        raise LabError(f"{error.filename}: no such program; install it") from None
    except subprocess.TimeoutExpired:
        raise LabError(f"{shlex.join(argv)}: not done after {timeout:g} s") from None
    if check and done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or "no output")[-2000:]
        raise LabError(f"{shlex.join(argv)}: exit {done.returncode}: {said}")
    return done


def until(condition: Callable[[], T | None], timeout: float, what: str, interval: float = 0.01) -> T:
    """Poll `condition` until it returns something true, and return that; LabError after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise LabError(f"{what}: not within {timeout:g} s")
        time.sleep(interval)
    return found


def clean_environment(**extra: str) -> dict[str, str]:
    """This environment without VXSWITCH_* (a lab must not meet the machine's own switch), plus `extra`.

    The administrator's directories are in PATH, wherever root's own PATH may have come from.
    """
    base = {key: value for key, value in os.environ.items() if not key.startswith("VXSWITCH_")}
    path = f"{base.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"
    return {**base, "PATH": path, **extra}
