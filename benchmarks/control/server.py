"""A Redis or Valkey server of the benchmark's own, on a unix socket, and what it says of itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis

from vxswitch.lab import until
from vxswitch.lab.store import find_server
from vxswitch.store.redis_connect import Endpoint

CLIENTS = 30_000  # connections that the server may have; every node has two


@dataclass(frozen=True, slots=True)
class Reading:
    """Counters of a server at one instant; subtract two. ``cpu`` in seconds, ``sent`` and ``received`` in bytes."""

    time: float
    commands: int
    scripts: int
    reads: int
    cpu: float
    sent: int
    received: int

    def __sub__(self, other: Reading) -> Reading:
        return Reading(
            self.time - other.time,
            self.commands - other.commands,
            self.scripts - other.scripts,
            self.reads - other.reads,
            self.cpu - other.cpu,
            self.sent - other.sent,
            self.received - other.received,
        )


class Server:
    """A context manager. Nothing is kept on disk: the table is soft state."""

    def __enter__(self) -> Self:
        self._directory = Path(tempfile.mkdtemp(prefix="vxswitch-scale-"))
        self._path = self._directory / "s"
        argv = [find_server(), "--port", "0", "--unixsocket", str(self._path), "--dir", str(self._directory)]
        argv += ["--save", "", "--appendonly", "no", "--maxclients", str(CLIENTS), "--loglevel", "warning"]
        self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            self.admin: Any = redis.Redis(unix_socket_path=str(self._path), protocol=2, decode_responses=True)
            until(self._answers, 10.0, "the server")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._directory, ignore_errors=True)

    @property
    def endpoint(self) -> Endpoint:
        """The server as a node is told of it."""
        return Endpoint(f"unix://{self._path}", path=str(self._path))

    def version(self) -> str:
        """As "redis 7.0.15"."""
        info = self.admin.info("server")
        return f"{info.get('server_name', 'redis')} {info.get('valkey_version', info['redis_version'])}"

    def memory(self) -> int:
        """Bytes that its data and its connections take."""
        return int(self.admin.info("memory")["used_memory"])

    def read(self, now: float) -> Reading:
        """All counters now; ``now`` is the caller's clock, in seconds."""
        calls = {name.removeprefix("cmdstat_"): int(one["calls"]) for name, one in self._info("commandstats").items()}
        stats, cpu = self._info("stats"), self._info("cpu")
        return Reading(
            now,
            sum(calls.values()),
            calls.get("evalsha", 0),
            calls.get("xread", 0),
            float(cpu["used_cpu_user"]) + float(cpu["used_cpu_sys"]),
            int(stats["total_net_output_bytes"]),
            int(stats["total_net_input_bytes"]),
        )

    def _info(self, section: str) -> dict[str, Any]:
        return dict(self.admin.info(section))

    def _answers(self) -> bool:
        if self._process.poll() is not None:
            raise OSError(f"the server ended with {self._process.returncode}")
        try:
            return bool(self.admin.ping())
        except (redis.RedisError, OSError):
            return False


def allow_descriptors() -> None:
    """As many open files as this machine allows: a simulated node takes two."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))
