"""The socket between the main process and a worker: whole messages, in order, descriptors with them.

SOCK_SEQPACKET: a message is sent as a whole or not at all, and the end of either process is an end of file. What the
other side is too slow for waits here, descriptors duplicated; if it takes nothing until ``MAX_WAITING`` messages have
gathered, it counts as dead.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import msgspec

from vxswitch.dataplane.sockets import SO_SNDBUFFORCE
from vxswitch.workers import messages

M = TypeVar("M")

BUFFER = 4 << 20  # bytes: the largest message, too (a network with 20,000 peers)
MAX_WAITING = 16384
_BATCH = 256  # messages taken before the loop looks at frames again
_MAX_FDS = 16
_INT = array("i").itemsize
_ANCILLARY = socket.CMSG_SPACE(_MAX_FDS * _INT)


class Link(Generic[M]):
    """One end. ``on_message`` owns the descriptors that it is given; ``on_end`` is told once why it is over."""

    def __init__(
        self,
        sock: socket.socket,
        decode: Callable[[bytes | memoryview], M],
        on_message: Callable[[M, list[int]], None],
        on_end: Callable[[str], None],
    ) -> None:
        sock.setblocking(False)
        with contextlib.suppress(PermissionError):
            sock.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 2 * BUFFER)
        self.sock = sock
        self._decode = decode
        self._on_message = on_message
        self._on_end = on_end
        self._room = memoryview(bytearray(BUFFER))
        self._waiting: deque[tuple[bytes, list[int]]] = deque()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock, self._on_readable)

    @property
    def busy(self) -> bool:
        """The other side is behind: what can be left out, or told later, should be."""
        return bool(self._waiting)

    def send(self, message: msgspec.Struct, fds: Sequence[int] = ()) -> None:
        """Send a message, now or as soon as there is room. The descriptors stay the caller's."""
        data = messages.encode(message)
        if not self._waiting and self._sent(data, fds):
            return
        if self.sock.fileno() < 0:
            return  # it is over, and was told
        if len(self._waiting) >= MAX_WAITING:
            self._end("it takes no messages")
            return
        if not self._waiting:
            self._loop.add_writer(self.sock, self._on_writable)
        self._waiting.append((data, [os.dup(fd) for fd in fds]))

    def close(self) -> None:
        """Close the socket; what waits is not sent any more."""
        if self.sock.fileno() < 0:
            return
        self._loop.remove_reader(self.sock)
        self._loop.remove_writer(self.sock)
        self.sock.close()
        for _, fds in self._waiting:
            _close(fds)
        self._waiting.clear()

    def _sent(self, data: bytes, fds: Sequence[int]) -> bool:
        if self.sock.fileno() < 0:
            return False
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", fds))] if fds else []
        try:
            self.sock.sendmsg([data], ancillary)
        except BlockingIOError:
            return False
        except OSError as error:
            self._end(f"cannot be written to: {error.strerror}")
            return False
        return True

    def _on_writable(self) -> None:
        while self._waiting:
            data, fds = self._waiting[0]
            if not self._sent(data, fds):
                return
            self._waiting.popleft()
            _close(fds)
        self._loop.remove_writer(self.sock)

    def _on_readable(self) -> None:
        for _ in range(_BATCH):
            try:
                size, ancillary, _, _ = self.sock.recvmsg_into([self._room], _ANCILLARY, socket.MSG_CMSG_CLOEXEC)
            except BlockingIOError:
                return
            except OSError as error:
                self._end(f"cannot be read from: {error.strerror}")
                return
            if not size:
                self._end("it has closed its end")
                return
            fds = _descriptors(ancillary)
            try:
                message = self._decode(self._room[:size])
            except msgspec.DecodeError as error:
                _close(fds)
                self._end(f"it makes no sense: {error}")
                return
            self._on_message(message, fds)
            if self.sock.fileno() < 0:
                return

    def _end(self, why: str) -> None:
        self.close()
        self._on_end(why)


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    fds = array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(data[: len(data) - len(data) % _INT])
    return list(fds)


def _close(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)
