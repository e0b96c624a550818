"""Real sockets for the tests of the underlay: made inside a namespace, looked at by plain sockets and scapy."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from scapy.layers.inet import UDP
from scapy.layers.l2 import Ether

from tests.kernel.namespaces import Namespace, until
from vxswitch.dataplane.sockets import UnderlayOptions
from vxswitch.dataplane.underlay import Path, Receiver, Underlay
from vxswitch.fdb import Peer
from vxswitch.model import Vtep

ONE4, TWO4, ONE6, TWO6 = "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"
ETH_P_ALL = 3
SOL_UDP, UDP_GRO = 17, 104


@contextmanager
def underlay(namespace: Namespace, *vteps: Vtep, **options: Any) -> Iterator[Underlay]:
    """An Underlay whose sockets stand in ``namespace``; 8 send sockets unless said otherwise."""

    def make() -> Underlay:
        made = Underlay(UnderlayOptions(**({"send_sockets": 8} | options)))
        try:
            made.set_vteps(list(vteps))
        except BaseException:
            made.close()
            raise
        return made

    made = namespace.call(make)
    try:
        yield made
    finally:
        made.close()


def path(underlay: Underlay, vtep: Vtep, entropy: int = 0) -> Path:
    """The way to a VTEP; its Peer is made once per Underlay and VTEP."""
    peers: dict[Vtep, Peer] = underlay.__dict__.setdefault("peers_of_test", {})
    found = underlay.path(peers.setdefault(vtep, Peer(vtep)), entropy)
    assert found is not None
    return found


def send(underlay: Underlay, way: Path, frames: list[bytes], tos: int = 0, now: float = 0.0) -> None:
    """Send a run as the way out of a port would: the first gives the size, the last may be shorter."""
    way.frames.extend(map(memoryview, frames))
    way.size, way.total, way.tos = len(frames[0]), sum(map(len, frames)), tos
    underlay.send_run(way, now)


def plain(namespace: Namespace, address: str, port: int = 0, gro: bool = False) -> socket.socket:
    """A bound, non-blocking socket that is none of ours."""

    def make() -> socket.socket:
        made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        if gro:
            made.setsockopt(SOL_UDP, UDP_GRO, 1)
        made.bind((address, port))
        made.setblocking(False)
        return made

    return namespace.call(make)


def datagrams(sock: socket.socket, count: int) -> list[bytes]:
    """As many datagrams as are expected; fails when they do not come."""
    got: list[bytes] = []

    def enough() -> bool:
        while True:
            try:
                got.append(sock.recv(70000))
            except BlockingIOError:
                return len(got) >= count

    until(enough, f"{count} datagrams")
    return got


def runs(receiver: Receiver, count: int) -> list[list[bytes]]:
    """The runs that a Receiver gives until ``count`` datagrams are here, each as its rows."""
    got: list[list[bytes]] = []

    def enough() -> bool:
        while receiver.recv_run():
            got.append([bytes(receiver.run.row(n)) for n in range(receiver.run.count)])
        return sum(map(len, got)) >= count

    until(enough, f"{count} datagrams in runs")
    return got


@contextmanager
def sniffer(namespace: Namespace, device: str = "u0") -> Iterator[socket.socket]:
    """A packet socket on a device: whatever crosses it."""

    def make() -> socket.socket:
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        made.bind((device, ETH_P_ALL))
        made.setblocking(False)
        return made

    sock = namespace.call(make)
    try:
        yield sock
    finally:
        sock.close()


def sniffed(sock: socket.socket, count: int, dport: int = 4789) -> list[Any]:
    """``count`` UDP packets to a port, as scapy reads them."""
    found: list[Any] = []

    def enough() -> bool:
        while True:
            try:
                packet = Ether(sock.recv(70000))
            except BlockingIOError:
                return len(found) >= count
            if UDP in packet and packet[UDP].dport == dport:
                found.append(packet)

    until(enough, f"{count} packets on the wire")
    return found
