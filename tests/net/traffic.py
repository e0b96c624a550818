"""What must work between any two stations of one overlay network, whoever is at the other end of the tunnel."""

from __future__ import annotations

import hashlib
import os
import socket

from tests.net.wire import DEADLINE, made_in
from vxswitch.lab import Namespace, ping, tcp_transfer

HUNDRED_MB = 100_000_000
_HEADERS = {4: 28, 6: 48}  # IP and ICMP or UDP headers, bytes
_WINDOW = 16  # datagrams under way at once: no receive buffer is that small


def ping_sizes(source: Namespace, address: str, mtu: int) -> None:
    """Ping with DF set passes at every size up to the MTU, the odd ones too; one byte more does not leave."""
    largest = mtu - _HEADERS[_version(address)]
    for size in (0, 1, 17, 56, 511, 1200, largest - 1, largest):
        result = ping(source, address, count=3, size=size, df=True)
        assert (result.received, result.duplicates) == (3, 0), f"{size} bytes to {address}: {result}"
    assert ping(source, address, count=1, size=largest + 1, df=True, wait=0.2).received == 0


def tcp(source: Namespace, destination: Namespace, address: str, size: int = HUNDRED_MB) -> None:
    """Every byte of a TCP stream arrives as it was sent."""
    moved = tcp_transfer(source, destination, address, size)
    assert moved.intact and moved.size == size


def udp(source: Namespace, destination: Namespace, address: str, mtu: int) -> None:
    """Datagrams of all sizes arrive once, whole and in order; those over the MTU in the sender's own fragments."""
    largest = mtu - _HEADERS[_version(address)]
    whole = [0, 1, 2, 18, 64, 511, 512, largest - 1, largest] * 16
    fragmented = [largest + 1, 2 * largest, min(5 * largest, 60_000)]  # they have no ports: a flow of their own
    with _udp_socket(destination, address) as receiver, _udp_socket(source, None, _version(address)) as sender:
        for first in range(0, len(whole), _WINDOW):
            _send_and_compare(sender, receiver, whole[first : first + _WINDOW])
        _send_and_compare(sender, receiver, fragmented)
        receiver.setblocking(False)
        try:
            assert not receiver.recv(65536), "a datagram came twice"
        except BlockingIOError:
            pass


def _send_and_compare(sender: socket.socket, receiver: socket.socket, sizes: list[int]) -> None:
    payloads = [os.urandom(size) for size in sizes]
    for payload in payloads:
        sender.sendto(payload, receiver.getsockname()[:2])
    got = [receiver.recv(65536) for _ in payloads]
    assert [_short(data) for data in got] == [_short(data) for data in payloads]


def everything(source: Namespace, destination: Namespace, address: str, mtu: int, size: int = HUNDRED_MB) -> None:
    """Ping, TCP and UDP from ``source`` to ``address``, which ``destination`` has."""
    ping_sizes(source, address, mtu)
    tcp(source, destination, address, size)
    udp(source, destination, address, mtu)


def _version(address: str) -> int:
    return 6 if ":" in address else 4


def _udp_socket(where: Namespace, address: str | None, version: int = 4) -> socket.socket:
    six = version == 6 or (address is not None and ":" in address)
    sock = made_in(where, lambda: socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM))
    sock.settimeout(DEADLINE)
    sock.bind((address or ("::" if six else "0.0.0.0"), 0))
    return sock


def _short(data: bytes) -> tuple[int, str]:
    """Enough to tell what arrived; a failed comparison then prints on one line."""
    return len(data), hashlib.sha256(data).hexdigest()[:8]
