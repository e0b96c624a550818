"""Naming a network namespace, knowing it again, and stepping into it for a moment.

The user says NAME (as `ip netns`), PATH or PID. ``resolve`` turns each into a path under which the namespace can be
opened and the inode it has there; the pair is what is kept in a port's record. ``same`` is the cheap question "does the
path still lead there": the kernel gives an inode number to the next namespace once it is free, so a yes is a proof
only while something (a TAP re-attached inside) keeps the old one alive, which is exactly when nothing else tells.

``enter`` moves the *calling thread*, not the process: use it in a worker thread or a command, never around an await.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from vxswitch.errors import NotFoundError, UsageError, VxswitchError

RUN_NETNS = "/run/netns"  # ip-netns(8)
CLONE_NEWNET = 0x40000000  # linux/sched.h
NS_GET_NSTYPE = 0xB703  # linux/nsfs.h

_OWN = "/proc/thread-self/ns/net"


@dataclass(frozen=True, slots=True)
class Netns:
    """A network namespace: where it can be opened, the nsfs inode seen there, the process it was named by, if any."""

    path: str
    inode: int
    pid: int | None = None


def resolve(text: str) -> Netns:
    """The namespace that NAME, PATH or PID means; a NAME wins over a PID. NotFoundError, UsageError, VxswitchError."""
    path, pid = _locate(text)
    fd = _open(path, text)
    try:
        _check_is_netns(fd, text)
        return Netns(path, os.fstat(fd).st_ino, pid)
    finally:
        os.close(fd)


def same(netns: Netns) -> bool:
    """Whether the recorded path still leads to that namespace. One stat: cheap enough for once a second per port."""
    try:
        found = Path(netns.path).stat()
    except OSError:
        return False
    return found.st_ino == netns.inode and found.st_dev == _nsfs_device()


@contextmanager
def opened(netns: Netns) -> Iterator[int]:
    """A descriptor of the namespace, proved to be the recorded one; NotFoundError if the path leads elsewhere now."""
    fd = _open(netns.path, netns.path)
    try:
        found = os.fstat(fd)
        if found.st_ino != netns.inode or found.st_dev != _nsfs_device():
            raise NotFoundError(f"network namespace {netns.path} is not the one recorded any more: attach again")
        yield fd
    finally:
        os.close(fd)


@contextmanager
def enter(netns: Netns) -> Iterator[None]:
    """Run the body with the calling thread inside ``netns``. VxswitchError if it may not go there."""
    home = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with opened(netns) as fd:
            try:
                _setns(fd)
            except PermissionError:
                raise VxswitchError(
                    f"may not enter network namespace {netns.path}: this needs root or CAP_SYS_ADMIN there"
                ) from None
        try:
            yield
        finally:
            _setns(home)
    finally:
        os.close(home)


def _locate(text: str) -> tuple[str, int | None]:
    if "/" in text:
        return str(Path(text).absolute()), None
    if text in ("", ".", ".."):
        raise UsageError(f"network namespace {text!r}: want a name, a path or a process id")
    named = f"{RUN_NETNS}/{text}"
    if text.isascii() and text.isdigit() and not Path(named).exists():
        return f"/proc/{int(text)}/ns/net", int(text)
    return named, None


def _open(path: str, text: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError, ProcessLookupError):
        hint = "`ip netns list` shows the names" if path.startswith(RUN_NETNS) else "the container may have ended"
        raise NotFoundError(f"no network namespace {text!r}: {path} does not exist: {hint}") from None
    except PermissionError:
        raise VxswitchError(f"may not open network namespace {path}: be root, or the container's own user") from None
    except OSError as error:
        raise VxswitchError(f"cannot open network namespace {path}: {error.strerror}") from None


def _check_is_netns(fd: int, text: str) -> None:
    """nsfs first, so that no ioctl is sent to a stranger's file; then the kind of namespace."""
    if os.fstat(fd).st_dev != _nsfs_device() or fcntl.ioctl(fd, NS_GET_NSTYPE) != CLONE_NEWNET:
        raise UsageError(f"{text!r} is not a network namespace: want a name, /proc/PID/ns/net or a process id")


@cache
def _nsfs_device() -> int:
    """All namespaces are files of the one nsfs of the running kernel."""
    return Path(_OWN).stat().st_dev


def _setns(fd: int) -> None:
    if sys.version_info >= (3, 12):
        os.setns(fd, CLONE_NEWNET)
    elif _libc().setns(fd, CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code)) if code else OSError(errno.EINVAL, "setns failed")


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
