"""/dev/net/tun by raw ioctls, for tests: what the kernel says, without the project's code or pytun in between."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import struct
from typing import Self

# linux/if_tun.h
TUNSETIFF = 0x400454CA
TUNSETPERSIST = 0x400454CB
TUNSETOFFLOAD = 0x400454D0
TUNGETIFF = 0x800454D2
TUNGETVNETHDRSZ = 0x800454D7
TUNSETVNETHDRSZ = 0x400454D8
IFF_TAP, IFF_MULTI_QUEUE, IFF_PERSIST, IFF_NO_PI, IFF_VNET_HDR, IFF_TUN_EXCL = 0x2, 0x100, 0x800, 0x1000, 0x4000, 0x8000
TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6, TUN_F_USO4, TUN_F_USO6 = 0x1, 0x2, 0x4, 0x20, 0x40

PLAIN = IFF_TAP | IFF_NO_PI
QUEUE = PLAIN | IFF_VNET_HDR | IFF_MULTI_QUEUE


class Tun:
    """One descriptor of /dev/net/tun, attached to the device ``name``."""

    def __init__(self, name: str, flags: int = QUEUE) -> None:
        self.fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            fcntl.ioctl(self.fd, TUNSETIFF, struct.pack("16sH22x", name.encode()[:16], flags))
        except OSError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1

    def identity(self) -> tuple[str, int]:
        """Name and flags by TUNGETIFF."""
        return identity(self.fd)

    def persist(self, on: bool) -> None:
        fcntl.ioctl(self.fd, TUNSETPERSIST, int(on))

    def offload(self, mask: int) -> None:
        fcntl.ioctl(self.fd, TUNSETOFFLOAD, mask)

    def poll(self) -> int:
        """The poll events of this moment."""
        return poll(self.fd)

    def read_error(self) -> str:
        """Name of the error that a read gives, or '' if it gives data."""
        try:
            os.read(self.fd, 70000)
        except OSError as error:
            return errno.errorcode[error.errno]
        return ""


def identity(fd: int) -> tuple[str, int]:
    """Name and flags by TUNGETIFF."""
    name, flags = struct.unpack("16sH22x", fcntl.ioctl(fd, TUNGETIFF, bytes(40)))
    return os.fsdecode(name.rstrip(b"\0")), flags


def vnet_header_size(fd: int) -> int:
    """By TUNGETVNETHDRSZ."""
    (size,) = struct.unpack("i", fcntl.ioctl(fd, TUNGETVNETHDRSZ, bytes(4)))
    return size


def poll(fd: int) -> int:
    """The poll events of this moment."""
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    events = poller.poll(0)
    return events[0][1] if events else 0
