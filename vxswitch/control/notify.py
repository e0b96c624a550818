"""Telling the service manager how we are: sd_notify(3), in the few lines that it takes."""

from __future__ import annotations

import os
import socket


def notify(*assignments: str) -> None:
    """Send ``READY=1``, ``STOPPING=1``, ``WATCHDOG=1``, ... where NOTIFY_SOCKET says; nothing without one."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as sock:
        try:
            sock.sendto("\n".join(assignments).encode(), "\0" + address[1:] if address[0] == "@" else address)
        except OSError:
            return  # the manager is gone or busy: nothing here depends on it


def watchdog_seconds() -> float | None:
    """How often to send ``WATCHDOG=1``: half of what the manager allows; None if it does not watch us."""
    microseconds, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not microseconds.isdigit() or (pid and pid != str(os.getpid())):
        return None
    return int(microseconds) / 2e6
