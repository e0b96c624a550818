"""The underlay's sockets: how they are made, and why each option stands there (docs/wire.md has the reasons at length).

A pool's source ports are bound once in 49152-65535 (RFC 7348 section 5, the dynamic range of RFC 6335 section 6), so
an inner flow keeps its outer source port for the life of the switch. Send sockets keep DF set: IP_PMTUDISC_PROBE
ignores the path MTU that a forged ICMP may have lowered, and EMSGSIZE then means the device's MTU (ip(7)).
"""

from __future__ import annotations

import errno
import random
import re
import select
import socket
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

from vxswitch.model import Vtep
from vxswitch.wire import cmsg

FIRST_SOURCE_PORT = 49152
LAST_SOURCE_PORT = 65535
RECEIVE_HEADROOM = 64  # bytes before the first row: a vnet header is written over the VXLAN header, and 2 bytes more
SO_SNDBUFFORCE = 32  # asm-generic/socket.h; CAP_NET_ADMIN, beyond net.core.wmem_max
SO_RCVBUFFORCE = 33


@dataclass(frozen=True, slots=True)
class UnderlayOptions:
    """What the configuration says of the underlay. Buffers in bytes."""

    send_sockets: int = 64
    ttl: int = 64
    receive_buffer: int = 8 << 20
    send_buffer: int = 4 << 20
    accept_fragments: bool = True
    strict_reserved: bool = False
    udp_checksum: bool = True  # False: zero over IPv4 (SO_NO_CHECK), which gives up UDP_SEGMENT
    udp6_zero_rx: bool = False
    copy_dscp: bool = False
    busy_poll: float = 0.0  # seconds that the loop goes on asking after traffic before it sleeps

    @property
    def segment(self) -> bool:
        """UDP_SEGMENT may be used: the kernel refuses it together with SO_NO_CHECK."""
        return self.udp_checksum


def receive_socket(vtep: Vtep, options: UnderlayOptions, *, shared: bool = False) -> socket.socket:
    """The socket on the VTEP's address and port: receives only. OSError from bind. ``shared``: one of a group."""
    sock = _socket(vtep)
    try:
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        _buffer(sock, SO_RCVBUFFORCE, socket.SO_RCVBUF, options.receive_buffer)
        sock.setsockopt(cmsg.SOL_UDP, cmsg.UDP_GRO, 1)
        if vtep.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, cmsg.IPV6_RECVTCLASS, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, cmsg.IPV6_RECVFRAGSIZE, 1)
            if options.udp6_zero_rx:
                sock.setsockopt(cmsg.SOL_UDP, cmsg.UDP_NO_CHECK6_RX, 1)  # RFC 6935
        else:
            sock.setsockopt(socket.IPPROTO_IP, cmsg.IP_RECVTOS, 1)
            sock.setsockopt(socket.IPPROTO_IP, cmsg.IP_RECVFRAGSIZE, 1)
        sock.bind(vtep.sockaddr)
    except BaseException:
        sock.close()
        raise
    return sock


class SourcePorts:
    """The send sockets of one local VTEP address, registered in the epoll that watches their error queues."""

    def __init__(self, vtep: Vtep, options: UnderlayOptions, epoll: select.epoll) -> None:
        self.address = vtep.address
        self.socks: list[socket.socket] = []
        try:
            for _ in range(options.send_sockets):
                self.socks.append(_send_socket(vtep, options))
        except BaseException:
            self.close()
            raise
        for sock in self.socks:
            epoll.register(sock.fileno(), select.EPOLLIN)

    def close(self) -> None:
        """Close them all; a closed descriptor leaves the epoll by itself (epoll(7))."""
        for sock in self.socks:
            sock.close()


def _send_socket(vtep: Vtep, options: UnderlayOptions) -> socket.socket:
    sock = _socket(vtep)
    try:
        _buffer(sock, SO_SNDBUFFORCE, socket.SO_SNDBUF, options.send_buffer)
        if vtep.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, cmsg.IPV6_MTU_DISCOVER, cmsg.IPV6_PMTUDISC_PROBE)
            sock.setsockopt(socket.IPPROTO_IPV6, cmsg.IPV6_DONTFRAG, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, cmsg.IPV6_RECVERR, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, options.ttl)
        else:
            sock.setsockopt(socket.IPPROTO_IP, cmsg.IP_MTU_DISCOVER, cmsg.IP_PMTUDISC_PROBE)
            sock.setsockopt(socket.IPPROTO_IP, cmsg.IP_RECVERR, 1)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, options.ttl)
            if not options.udp_checksum:
                sock.setsockopt(socket.SOL_SOCKET, cmsg.SO_NO_CHECK, 1)
        _bind_in_range(sock, vtep.address)
    except BaseException:
        sock.close()
        raise
    return sock


def _bind_in_range(sock: socket.socket, address: str) -> None:
    """Bind to a free port of the dynamic range, found by 256 random tries."""
    ports = random.sample(range(FIRST_SOURCE_PORT, LAST_SOURCE_PORT + 1), 256)
    for port in ports:
        try:
            sock.bind((address, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            continue
        return
    raise OSError(errno.EADDRINUSE, f"no free UDP source port in {FIRST_SOURCE_PORT}-{LAST_SOURCE_PORT} on {address}")


def _socket(vtep: Vtep) -> socket.socket:
    sock = socket.socket(vtep.family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    if vtep.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return sock


def _buffer(sock: socket.socket, force: int, plain: int, size: int) -> None:
    try:
        sock.setsockopt(socket.SOL_SOCKET, force, size)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, plain, size)


def max_segments(release: str) -> int:
    """Datagrams of one UDP_SEGMENT send that a kernel of this release takes (linux/udp.h, UDP_MAX_SEGMENTS)."""
    numbers = re.match(r"(\d+)\.(\d+)", release)
    return 128 if numbers and (int(numbers[1]), int(numbers[2])) >= (6, 9) else 64


def meminfo_drops(sock: socket.socket) -> int:
    """Datagrams that the kernel could not queue on this socket, a 32-bit counter (sock_diag.h, SK_MEMINFO_DROPS)."""
    data = sock.getsockopt(socket.SOL_SOCKET, cmsg.SO_MEMINFO, cmsg.MEMINFO.size)
    if len(data) < cmsg.MEMINFO.size:
        return 0
    return int(cmsg.MEMINFO.unpack(data)[cmsg.SK_MEMINFO_DROPS])


class UdpLosses(NamedTuple):
    """Datagrams that a network namespace has lost on receipt: of a wrong checksum; for want of room or memory."""

    checksum: int
    room: int


def udp_losses() -> UdpLosses:
    """Of both address families, since the namespace was made (snmp_counter.rst)."""
    names, values = (line.split()[1:] for line in _read("/proc/thread-self/net/snmp") if line.startswith("Udp:"))
    counts = Counter(dict(zip(names, map(int, values), strict=True)))
    for line in _read("/proc/thread-self/net/snmp6"):
        name, value = line.split()
        if name.startswith("Udp6"):
            counts[name.removeprefix("Udp6")] += int(value)
    return UdpLosses(counts["InCsumErrors"], counts["RcvbufErrors"] + counts["MemErrors"])


def _read(path: str) -> list[str]:
    try:
        with open(path, encoding="ascii") as file:
            return file.readlines()
    except FileNotFoundError:  # no IPv6
        return []
