"""A `vxswitch run` process in a lab host, handled from outside like any user would.

Nothing of the switch is imported here: a lab starts the command line, waits for its `ready` line, asks
the command line questions, and sends signals. Standard output and error go to files in the lab's
directory, not to pipes: nobody has to drain them, and they outlive the lab's maker (`vxswitch lab up`).
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vxswitch.lab.netns import Namespace, clean_environment, until
from vxswitch.lab.owner import LabError


class SwitchProcess:
    """One node: its own state directory, control socket and log; survives any number of restarts."""

    def __init__(
        self,
        namespace: Namespace,
        directory: Path,
        args: tuple[str, ...],
        env: Mapping[str, str] | None = None,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.namespace = namespace
        self.args = args
        self.state_dir = directory / "state"
        self.socket = directory / "vxswitch.sock"
        self.ready: dict[str, str] = {}
        self._stdout = directory / "switch.out"
        self._stderr = directory / "switch.log"
        self._env = clean_environment(VXSWITCH_SOCKET=str(self.socket), **(env or {}))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id of the running switch. Raises LabError when it does not run."""
        if self._process is None or self._process.poll() is not None:
            raise LabError(f"the switch of {self.namespace.label} is not running")
        return self._process.pid

    def start(self, timeout: float = 20.0) -> None:
        """Start and wait for `ready`; LabError with the end of its log when that does not come."""
        self.launch()
        self.wait_ready(timeout)

    def launch(self) -> None:
        """Start and return at once (a lab starts all its nodes side by side, then waits for each)."""
        own = ("--state-dir", str(self.state_dir), "--socket", str(self.socket))
        argv = [sys.executable, "-m", "vxswitch", "run", *own, *self.args]
        with self._stdout.open("wb") as out, self._stderr.open("ab") as err:
            self._process = self.namespace.popen(argv, stdout=out, stderr=err, env=self._env)

    def wait_ready(self, timeout: float = 20.0) -> None:
        """Wait for the `ready` line and keep its fields in `ready`."""
        try:
            until(self._ready_line, timeout, f"`ready` of the switch of {self.namespace.label}")
        except LabError as error:
            self.kill()
            raise LabError(f"{error}; end of its log:\n{self.stderr_tail()}") from None

    def _ready_line(self) -> bool:
        for line in self._stdout.read_text().splitlines(keepends=True):
            if line.startswith("ready ") and line.endswith("\n"):
                self.ready = dict(word.partition("=")[::2] for word in line.split()[1:])
                return True
        if self._process is not None and self._process.poll() is not None:
            raise LabError(f"the switch of {self.namespace.label} exited with {self._process.returncode}")
        return False

    def stop(self, timeout: float = 10.0) -> int:
        """SIGTERM; returns the exit code. LabError (after SIGKILL) when it does not end in time."""
        if self._process is None:
            raise LabError(f"the switch of {self.namespace.label} was never started")
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise LabError(
                f"the switch of {self.namespace.label} ignored SIGTERM for {timeout:g} s; end of its log:\n"
                f"{self.stderr_tail()}"
            ) from None

    def kill(self) -> None:
        """SIGKILL, as a crash or a power cut would; returns when the process is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def restart(self, timeout: float = 20.0) -> None:
        """Stop if it runs, then start again with the same arguments and state."""
        if self._process is not None and self._process.poll() is None:
            self.stop()
        self.start(timeout)

    def vx(self, *args: str, timeout: float = 20.0) -> Any:
        """Run `vxswitch ARGS` against this node; parsed when `--json` is among ARGS, else the text printed."""
        done = self.cli(*args, timeout=timeout)
        return json.loads(done.stdout) if "--json" in args else done.stdout

    def cli(self, *args: str, check: bool = True, timeout: float = 20.0) -> subprocess.CompletedProcess[str]:
        """Like `vx`, but gives exit code, output and errors as they are."""
        argv = [sys.executable, "-m", "vxswitch", *args]
        return self.namespace.run(argv, check=check, timeout=timeout, env=self._env)

    def stderr_tail(self, lines: int = 20) -> str:
        """The end of what it logged since it was first started."""
        if not self._stderr.exists():
            return ""
        return "\n".join(self._stderr.read_text(errors="replace").splitlines()[-lines:])
