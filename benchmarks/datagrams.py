"""UDP at an offered load, every datagram stamped: both ends, as a program. Batched system calls, no dependence on rate.

datagrams.py receive ADDRESS COUNT [PORT]                prints its port; after SIGTERM, when nothing more comes, JSON
datagrams.py send ADDRESS PORT SIZES PPS SECONDS FLOWS   prints JSON; SIZES in bytes of payload, "64" or "64,1400"

ADDRESS may be a multicast group; the route to it says by which interface it is joined and sent to.

A datagram begins with its flow and its number (two u32); numbers count over all flows, so they grow within each. The
receiver only writes down what it sees and tells at the end what was doubled, out of order, or lost in its own socket.

sendmmsg and recvmmsg (sendmmsg(2)) because a call per datagram reaches half the rate that is wanted. No UDP_SEGMENT:
every datagram is to pass the data plane as a frame of its own.
"""

from __future__ import annotations

import ctypes
import ipaddress
import json
import os
import random
import signal
import socket
import struct
import sys
import time
from typing import Any

import numpy as np

STAMP = 8  # bytes: flow, number
QUIET = 0.3  # seconds without a datagram after which a receiver that is told to end believes it
_SLOT = 2048  # bytes of room for one datagram
_RECEIVE_BATCH = 512
_SEND_BATCH = 32  # bursts longer than this would test queues, not data planes
_BATCHES_PER_SECOND = 5000
_LATE = 0.01  # seconds of backlog that a sender catches up on; what is more, it does not offer
_RECEIVE_BUFFER = 128 << 20
_SO_RCVBUFFORCE, _SO_MEMINFO, _SK_MEMINFO_DROPS = 33, 55, 8  # asm-generic/socket.h, linux/sock_diag.h
_NAP = 0.0005  # seconds between two looks of the receiver: woken for every datagram, it would slow down the sender

_libc = ctypes.CDLL(None, use_errno=True)


class IoVec(ctypes.Structure):
    """struct iovec."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class MsgHdr(ctypes.Structure):
    """struct msghdr."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("iov", ctypes.POINTER(IoVec)),
        ("iov_length", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class MMsgHdr(ctypes.Structure):
    """struct mmsghdr."""

    _fields_ = (("header", MsgHdr), ("length", ctypes.c_uint32))


class Batch:
    """Room for some datagrams, and the arrays of headers that the kernel wants to see. `stamps`: two u32 of each."""

    def __init__(self, count: int, sizes: list[int]) -> None:
        self.count = count
        self.room = np.zeros((count, _SLOT), np.uint8)
        self.stamps = self.room.view("=u4")[:, :2]
        self.vectors = (IoVec * count)()
        self.headers = (MMsgHdr * count)()
        for n in range(count):
            self.vectors[n].base = self.room.ctypes.data + n * _SLOT
            self.vectors[n].length = sizes[n % len(sizes)]
            self.headers[n].header.iov = ctypes.pointer(self.vectors[n])
            self.headers[n].header.iov_length = 1


def receive(address: str, count: str, port: str = "0") -> None:
    """Take what comes until SIGTERM; `count`: about how many datagrams to expect."""
    told: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: told.append(number))
    sock = _socket(address)
    sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)
    sock.bind((address, int(port)))
    if ipaddress.ip_address(address).is_multicast:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(address) + bytes(4))
    batch, seen, at = Batch(_RECEIVE_BATCH, [_SLOT]), np.zeros((int(count) + 1024, 2), np.uint32), 0
    print(sock.getsockname()[1], flush=True)
    quiet = 0
    while not told or quiet * _NAP < QUIET:
        n = _libc.recvmmsg(sock.fileno(), batch.headers, batch.count, socket.MSG_DONTWAIT, None)
        if n <= 0:
            quiet += 1
            time.sleep(_NAP)
            continue
        quiet = 0
        if at + n > len(seen):
            seen = np.concatenate((seen, np.zeros_like(seen)))
        seen[at : at + n] = batch.stamps[:n]
        at += n
    lost = struct.unpack("9I", sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 36))[_SK_MEMINFO_DROPS]
    print(json.dumps(judge(seen[:at]) | {"overflowed": lost}), flush=True)


def judge(seen: np.ndarray[Any, np.dtype[np.uint32]]) -> dict[str, int]:
    """What the rows (flow, number) say, in order of arrival: how many, how many twice, how many before their turn.

    Reordered is a datagram that comes after a later one of its flow, a second copy not counted (RFC 4737, 3.3).
    """
    if not len(seen):
        return {"received": 0, "duplicates": 0, "reordered": 0}
    _, first = np.unique(seen[:, 1], return_index=True)
    once = seen[np.sort(first)]
    by_flow = once[np.argsort(once[:, 0], kind="stable")].astype(np.int64)
    starts = np.flatnonzero(np.diff(by_flow[:, 0], prepend=-1))
    late = 0
    for numbers in np.split(by_flow[:, 1], starts[1:]):
        late += int((numbers < np.maximum.accumulate(numbers)).sum())
    return {"received": len(once), "duplicates": len(seen) - len(once), "reordered": late}


def send(address: str, port: str, sizes: str, pps: str, seconds: str, flows: str) -> None:
    """Offer the load. What the kernel here is too slow for is not offered: `sent` says what was."""
    count, rate, duration = int(flows), float(pps), float(seconds)
    socks = [_socket(address) for _ in range(count)]
    for sock in socks:
        sock.connect((address, int(port)))
    per_call = max(1, min(_SEND_BATCH, round(rate / _BATCHES_PER_SECOND)))
    batch = Batch(per_call, _mixed([int(size) for size in sizes.split(",")], per_call))
    numbers = np.arange(per_call, dtype=np.uint32)
    step = per_call / rate
    sent = turn = 0
    begun = due = time.monotonic()
    while (now := time.monotonic()) < begun + duration:
        if now < due:
            time.sleep(due - now)
        elif now > due + _LATE:
            due = now - _LATE
        batch.stamps[:, 0] = turn % count
        batch.stamps[:, 1] = numbers + sent
        sent += _send_all(socks[turn % count], batch)
        turn += 1
        due += step
    print(json.dumps({"sent": sent, "seconds": time.monotonic() - begun}), flush=True)


def _mixed(sizes: list[int], count: int) -> list[int]:
    """As many sizes as a batch has datagrams, in an arbitrary order that is always the same."""
    return random.Random(1).choices(sizes, k=count) if len(sizes) > 1 else sizes


def _send_all(sock: socket.socket, batch: Batch) -> int:
    done = 0
    while done < batch.count:
        n = _libc.sendmmsg(sock.fileno(), ctypes.byref(batch.headers[done]), batch.count - done, 0)
        if n < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        done += n
    return done


def _socket(address: str) -> socket.socket:
    return socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)


if __name__ == "__main__":
    if sys.argv[1] == "receive":
        receive(*sys.argv[2:])
    else:
        send(*sys.argv[2:])
