"""One end of a steady stream of numbered datagrams, run as a program in a namespace (stdlib only).

pacer.py ADDRESS PEER PORT INTERVAL FILE

Sends one datagram every INTERVAL seconds from ADDRESS to PEER, over a few flows in turn, and hears those of the other
end on PORT. FILE gets one record for each datagram sent (no arrival) and for each that came. Times are the wall clock
in ns; an arrival is stamped by the kernel, so that neither end's own scheduling counts as the network's delay.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import sys
import time

RECORD = struct.Struct("=QQQ")  # number, when it was sent, when it arrived (0: the record is the sender's)
FLOWS = 4
LATE = 100_000_000  # ns behind schedule after which what was missed is not made up for
_PAYLOAD = struct.Struct("!QQ")
_SO_TIMESTAMPNS = 35  # asm-generic/socket.h; the socket module has it from Python 3.14 on
_TIMESPEC = struct.Struct("@ll")
_RECEIVE_BUFFER = 1 << 20


def pace(address: str, peer: str, port: str, interval: str, file: str) -> None:
    """Send and hear until killed."""
    out = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    step, there = int(float(interval) * 1e9), (peer, int(port))
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    senders = [_bound(family, address, 0) for _ in range(FLOWS)]
    receiver = _bound(family, address, int(port))
    receiver.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
    receiver.setblocking(False)
    number, due = 0, time.monotonic_ns()
    while True:
        left = due - time.monotonic_ns()
        if left > 0 and select.select([receiver], [], [], left / 1e9)[0]:
            _hear(receiver, out)
        elif left <= 0:
            _send(senders[number % FLOWS], there, number, out)
            number += 1
            due = due + step if left > -LATE else time.monotonic_ns() + step


def _bound(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.bind((address, port))
    return sock


def _send(sock: socket.socket, there: tuple[str, int], number: int, out: int) -> None:
    """A number is used once, even where the kernel does not take the datagram: that one is lost."""
    sent = time.time_ns()
    try:
        sock.sendto(_PAYLOAD.pack(number, sent), there)
    except OSError:
        pass
    os.write(out, RECORD.pack(number, sent, 0))


def _hear(sock: socket.socket, out: int) -> None:
    while True:
        try:
            data, ancillary, _, _ = sock.recvmsg(2048, socket.CMSG_SPACE(_TIMESPEC.size))
        except BlockingIOError:
            return
        if len(data) == _PAYLOAD.size:
            seconds, nanoseconds = _TIMESPEC.unpack(ancillary[0][2])
            os.write(out, RECORD.pack(*_PAYLOAD.unpack(data), seconds * 10**9 + nanoseconds))


if __name__ == "__main__":
    pace(*sys.argv[1:])
