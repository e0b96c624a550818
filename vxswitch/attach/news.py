"""The kernel's news about the links and addresses of our own namespace: that there are some, not what they say.

A netlink socket in the groups for links and addresses (rtnetlink(7)). Whoever hears that there is news looks for
himself, so nothing is parsed, messages may be lost, and a thousand of them are one. NETLINK_NO_ENOBUFS: a socket that
overflowed would show POLLERR, at which uvloop stops a reader for good.
"""

from __future__ import annotations

import socket

from vxswitch.errors import VxswitchError

# linux/rtnetlink.h
_RTMGRP_LINK = 0x1
_RTMGRP_IPV4_IFADDR = 0x10
_RTMGRP_IPV6_IFADDR = 0x100

# linux/socket.h, linux/netlink.h
_SOL_NETLINK = 270
_NETLINK_NO_ENOBUFS = 5

_AT_ONCE = 64  # messages read in one go


def open_news() -> socket.socket:
    """A non-blocking socket that is readable when there is news. VxswitchError."""
    try:
        sock = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
        )
        sock.setsockopt(_SOL_NETLINK, _NETLINK_NO_ENOBUFS, 1)
        sock.bind((0, _RTMGRP_LINK | _RTMGRP_IPV4_IFADDR | _RTMGRP_IPV6_IFADDR))
    except OSError as error:
        raise VxswitchError(f"cannot listen to the kernel's news about links: {error.strerror}") from None
    return sock


def drain(sock: socket.socket) -> None:
    """Throw away what has come, a bounded part of it."""
    for _ in range(_AT_ONCE):
        try:
            sock.recv(1)  # a datagram is gone with its first byte
        except OSError:
            return
