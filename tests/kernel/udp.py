"""UDP sockets inside namespaces, and the options that the kernel tests look at. Numbers: linux/in.h, in6.h, udp.h."""

from __future__ import annotations

import errno
import select
import socket
import struct

from tests.kernel.namespaces import Namespace, until
from tests.kernel.tun import poll

IP_MTU_DISCOVER, IP_PMTUDISC_DO, IP_PMTUDISC_PROBE, IP_RECVERR, IP_MTU = 10, 2, 3, 11, 14
IPV6_MTU_DISCOVER, IPV6_RECVERR, IPV6_DONTFRAG = 23, 25, 62
SOL_UDP, UDP_SEGMENT, UDP_GRO = 17, 103, 104
SO_NO_CHECK = 11
MSG_ERRQUEUE = 0x2000

DEAD_PORT = 9  # nobody listens there: the other side answers port unreachable

ONE4, TWO4, ONE6, TWO6 = "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"


def udp(namespace: Namespace, address: str, port: int = 0) -> socket.socket:
    """A non-blocking socket bound to ``address`` inside ``namespace``."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET

    def make() -> socket.socket:
        made = socket.socket(family, socket.SOCK_DGRAM)
        made.bind((address, port))
        made.setblocking(False)
        return made

    return namespace.call(make)


def send(sock: socket.socket, payload: bytes, to: tuple[str, int], segment: int = 0) -> str:
    """Send, with UDP_SEGMENT if ``segment`` is not 0; '' or the name of the error."""
    ancillary = [(SOL_UDP, UDP_SEGMENT, struct.pack("H", segment))] if segment else []
    try:
        sent = sock.sendmsg([payload], ancillary, 0, to)
    except OSError as error:
        return errno.errorcode[error.errno]
    assert sent == len(payload)
    return ""


def receive(sock: socket.socket, amount: int) -> list[bytes]:
    """Datagrams, as reads give them, until ``amount`` bytes are here."""
    got: list[bytes] = []
    while sum(map(len, got)) < amount:
        until(lambda: readable(sock), f"a datagram, after {len(got)}")
        got.append(sock.recv(70000))
    return got


def readable(sock: socket.socket) -> bool:
    """Whether a datagram is waiting."""
    try:
        sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    return True


def pending_errors(sock: socket.socket) -> int:
    """Drain the error queue; how many errors it held."""
    count = 0
    while True:
        try:
            sock.recvmsg(2048, 512, MSG_ERRQUEUE)
        except BlockingIOError:
            return count
        count += 1


def error_queued(sock: socket.socket) -> bool:
    """Whether an ICMP error has come; poll() says so without taking it."""
    return bool(poll(sock.fileno()) & select.POLLERR)
