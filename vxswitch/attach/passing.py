"""attach.sock: one JSON object and the TAP's descriptors in one message, one JSON object back.

A SOCK_SEQPACKET unix socket keeps a message and its descriptors together, which no asyncio transport does. Each
connection carries one request: connect, send, receive, close. ``request`` is the client, blocking; ``server`` has the
other side. Whatever is wrong with a message (too long, too many descriptors, not a JSON object), every descriptor that
came with it is closed before the error is raised. Limits: 64 KiB of JSON and 16 descriptors.

An error travels as ``{"error": {"type": CLASS, "message": LINE}}`` and is raised again by the client as that class.
"""

from __future__ import annotations

import json
import os
import socket
from array import array
from collections.abc import Iterable, Sequence
from typing import Any

from vxswitch.errors import (
    ConflictError,
    NotFoundError,
    NotReachableError,
    StoreUnavailableError,
    UsageError,
    VxswitchError,
)

MAX_FDS = 16  # one per queue
MAX_BYTES = 64 * 1024

_INT = array("i").itemsize

_ERROR_TYPES = {
    kind.__name__: kind for kind in (VxswitchError, UsageError, ConflictError, NotFoundError, StoreUnavailableError)
}


def send_message(sock: socket.socket, obj: dict[str, Any], fds: Sequence[int] = ()) -> None:
    """Send ``obj`` and copies of ``fds`` as one message. UsageError beyond the limits, OSError from the socket."""
    data = json.dumps(obj, separators=(",", ":")).encode()
    if len(data) > MAX_BYTES or len(fds) > MAX_FDS:
        raise UsageError(
            f"message of {len(data)} bytes with {len(fds)} descriptors: at most {MAX_BYTES} and {MAX_FDS} are passed"
        )
    if fds:
        socket.send_fds(sock, [data], list(fds))
    else:
        sock.send(data)


def recv_message(sock: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Receive one message: its object and its descriptors (not inheritable), which the caller closes.

    EOFError when the other side has closed, UsageError for a bad message, OSError from the socket.
    """
    room = socket.CMSG_LEN(MAX_FDS * _INT)
    data, ancillary, flags, _ = sock.recvmsg(MAX_BYTES, room, socket.MSG_CMSG_CLOEXEC)
    fds = _descriptors(ancillary)
    try:
        return _parse(data, flags), fds
    except BaseException:
        close_all(fds)
        raise


def close_all(fds: Iterable[int]) -> None:
    """Close each descriptor."""
    for fd in fds:
        os.close(fd)


def request(path: str, obj: dict[str, Any], fds: Sequence[int] = (), timeout: float = 10.0) -> dict[str, Any]:
    """Ask the switch behind ``path``; its answer. ``timeout`` in seconds for each step.

    NotReachableError when nobody listens there or answers, otherwise the switch's own error, or VxswitchError.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.settimeout(timeout)
        _connect(sock, path)
        try:
            send_message(sock, obj, fds)
            answer, unwanted = recv_message(sock)
        except TimeoutError:
            raise NotReachableError(f"the switch behind {path} gave no answer within {timeout:g} s") from None
        except (EOFError, OSError) as error:
            raise VxswitchError(f"the switch behind {path} closed the connection: {error}: see its log") from None
    close_all(unwanted)
    if "error" in answer:
        raise error_from(answer["error"])
    return answer


def error_to(error: VxswitchError) -> dict[str, Any]:
    """The answer that carries ``error``: of its nearest class that travels."""
    kind = next(base.__name__ for base in type(error).__mro__ if base.__name__ in _ERROR_TYPES)
    return {"error": {"type": kind, "message": str(error)}}


def error_from(obj: Any) -> VxswitchError:
    """The error that an answer carries."""
    if not isinstance(obj, dict):
        return VxswitchError(str(obj))
    kind = _ERROR_TYPES.get(str(obj.get("type")), VxswitchError)
    return kind(str(obj.get("message", "the switch gave no reason")))


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    """What socket.recv_fds does, which on Python 3.11 forgets its flags and so MSG_CMSG_CLOEXEC."""
    fds = array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(data[: len(data) - len(data) % _INT])
    return list(fds)


def _parse(data: bytes, flags: int) -> dict[str, Any]:
    if flags & socket.MSG_TRUNC:
        raise UsageError(f"message refused: longer than {MAX_BYTES} bytes")
    if flags & socket.MSG_CTRUNC:
        raise UsageError(f"message refused: more than {MAX_FDS} descriptors, or no room for them in this process")
    if not data:
        raise EOFError("end of stream")
    try:
        obj = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"message refused: not JSON: {error}") from None
    if not isinstance(obj, dict):
        raise UsageError(f"message refused: want a JSON object, not {type(obj).__name__}")
    return obj


def _connect(sock: socket.socket, path: str) -> None:
    try:
        sock.connect(path)
    except (FileNotFoundError, ConnectionRefusedError, TimeoutError, BlockingIOError):
        raise NotReachableError(f"no switch answers on {path}: is `vxswitch run` up? --socket names another") from None
    except PermissionError:
        raise VxswitchError(f"may not open {path}: be root or in the group of that socket") from None
    except OSError as error:
        raise NotReachableError(f"cannot use {path}: {error.strerror or error}: --socket names another") from None
