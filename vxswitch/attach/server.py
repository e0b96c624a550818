"""The switch's side of attach.sock, on asyncio or uvloop: readiness callbacks only, since transports lose descriptors.

accept -> wait for the one message (bounded in time) -> ``await handler(obj, fds)`` -> answer -> close. An answer that
nobody waits for any more is given to ``abandoned``, which undoes what was done. Connections are bounded in number:
beyond that the listening socket is not read, and clients wait in its backlog. The descriptors are *borrowed* by the
handler: they are closed when it is done, however it ends; what is kept is kept by ``tap.duplicate``.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from vxswitch.attach import passing
from vxswitch.errors import ConflictError, UsageError, VxswitchError

Handler = Callable[[dict[str, Any], list[int]], Awaitable[dict[str, Any]]]
Abandoned = Callable[[dict[str, Any]], Awaitable[None]]

BACKLOG = 64
ACCEPT_PAUSE = 1.0  # seconds without accepting when the process is out of descriptors

_log = logging.getLogger(__name__)


class AttachServer:
    """Listens on ``path`` from ``start`` to ``close``; ``patience`` is how many seconds a client may be silent."""

    def __init__(
        self,
        path: str,
        handler: Handler,
        abandoned: Abandoned | None = None,
        *,
        mode: int = 0o660,
        max_connections: int = 32,
        patience: float = 10.0,
    ) -> None:
        self._path = Path(path)
        self._handler = handler
        self._abandoned = abandoned
        self._mode = mode
        self._max_connections = max_connections
        self._patience = patience
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: socket.socket | None = None

    async def start(self) -> None:
        """Bind and listen. ConflictError if somebody else listens there."""
        self._listener = _listen(self._path, self._mode)
        self._watch()

    async def close(self) -> None:
        """Stop listening, remove the socket's file, cancel what is under way and wait for its end."""
        listener, self._listener = self._listener, None
        if listener is not None:
            asyncio.get_running_loop().remove_reader(listener)
            listener.close()
            self._path.unlink(missing_ok=True)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _watch(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().add_reader(self._listener, self._on_listener_readable, self._listener)

    def _on_listener_readable(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while len(self._tasks) < self._max_connections:
            try:
                connection, _ = listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                _log.warning("attach socket: cannot accept: %s", error.strerror)
                loop.remove_reader(listener)
                loop.call_later(ACCEPT_PAUSE, self._watch)
                return
            connection.setblocking(False)
            task = loop.create_task(self._serve(connection))
            self._tasks.add(task)
            task.add_done_callback(self._on_served)
        loop.remove_reader(listener)

    def _on_served(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if len(self._tasks) == self._max_connections - 1:
            self._watch()

    async def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                async with asyncio.timeout(self._patience):
                    await _until_readable(connection)
                obj, fds = passing.recv_message(connection)
            except (EOFError, TimeoutError, OSError):
                return
            except VxswitchError as error:
                answer = passing.error_to(error)
            else:
                answer = await self._answer(obj, fds)
            try:
                passing.send_message(connection, answer)
            except OSError:  # the client did not wait
                if self._abandoned is not None and "error" not in answer:
                    await self._abandoned(answer)
            except (VxswitchError, TypeError, ValueError):
                _log.exception("attach socket: the answer cannot be sent")

    async def _answer(self, obj: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        try:
            return await self._handler(obj, fds)
        except VxswitchError as error:
            return passing.error_to(error)
        except Exception as error:
            _log.exception("attach socket: request failed")
            return passing.error_to(VxswitchError(f"the switch failed on this request: {error!r}: see its log"))
        finally:
            passing.close_all(fds)


async def _until_readable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(sock, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(sock)


def _listen(path: Path, mode: int) -> socket.socket:
    """The mode is on the socket before it has a name, so that nobody else gets in between."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        _remove_stale(path)
        sock.setblocking(False)
        os.fchmod(sock.fileno(), mode)
        sock.bind(str(path))
        path.chmod(mode)  # what the umask took away
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise UsageError(f"cannot listen on {path}: {error.strerror or error}: --socket names another") from None
    except BaseException:
        sock.close()
        raise
    return sock


def _remove_stale(path: Path) -> None:
    """A socket's file stays when its process is killed; one that still answers is somebody else's."""
    try:
        kind = path.stat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        raise ConflictError(f"cannot listen on {path}: a file of that name exists: remove it or use --socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
        probe.setblocking(False)
        if probe.connect_ex(str(path)) != errno.ECONNREFUSED:
            raise ConflictError(f"cannot listen on {path}: another switch listens there: use --socket")
    path.unlink()
