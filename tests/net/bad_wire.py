"""An underlay that loses, doubles and overtakes: a thread between the two hosts of a lab, in place of its bridge.

It moves whole Ethernet frames from one host's link to the other's by packet sockets. VXLAN datagrams fare as chance has
it; all else (ARP) passes. A late frame waits until some others have gone before it, or until nothing more comes.
"""

from __future__ import annotations

import random
import select
import socket
import threading
from collections import deque
from functools import partial
from types import TracebackType
from typing import Self

from tests.net.wire import made_in
from vxswitch.lab import Lab

ETH_P_ALL = 0x0003  # linux/if_ether.h
VXLAN_PORT = (4789).to_bytes(2)
_PORT_AT = 14 + 20 + 2  # of the destination port behind Ethernet and IPv4 headers
_IDLE = 0.002  # seconds without a frame after which late ones go on
_BUFFER = 16 << 20
_SO_RCVBUFFORCE = 33  # asm-generic/socket.h


class Lane:
    """One direction, and what became of its datagrams."""

    def __init__(self, source: socket.socket, target: socket.socket, seed: int) -> None:
        self.source, self.target = source, target
        self.chance = random.Random(seed)
        self.waiting: deque[tuple[int, bytes]] = deque()  # (frames that still go before it, it)
        self.lost = self.doubled = self.delayed = 0


class BadWire:
    """A context manager around a lab of two hosts (bridged, wire-like). Probabilities for each datagram."""

    def __init__(self, lab: Lab, *, loss: float, double: float, late: float, seed: int = 1) -> None:
        self.loss, self.double, self.late = loss, double, late
        names = [host.label for host in lab.hosts]
        lab.net.ip(*(f"link set {name} nomaster" for name in names))
        self.socks = [made_in(lab.net, partial(_packet_socket, name)) for name in names]
        one, two = self.socks
        self.lanes = (Lane(one, two, seed), Lane(two, one, seed + 1))
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()
        for sock in self.socks:
            sock.close()

    def _work(self) -> None:
        while not self._end.is_set():
            readable = select.select(self.socks, [], [], _IDLE)[0]
            for lane in self.lanes:
                if lane.source in readable:
                    self._carry(lane)
                elif not readable:
                    _release(lane, everything=True)

    def _carry(self, lane: Lane) -> None:
        data, address = lane.source.recvfrom(1 << 16)
        if address[2] == socket.PACKET_OUTGOING:
            return
        if data[_PORT_AT : _PORT_AT + 2] != VXLAN_PORT:
            lane.target.send(data)
            return
        fate = lane.chance.random()
        if fate < self.loss:
            lane.lost += 1
        elif fate < self.loss + self.late:
            lane.delayed += 1
            lane.waiting.append((lane.chance.randint(1, 20), data))
        else:
            lane.target.send(data)
            if fate > 1 - self.double:
                lane.doubled += 1
                lane.target.send(data)
            _release(lane, everything=False)


def _release(lane: Lane, *, everything: bool) -> None:
    """One more frame has gone before those that wait."""
    waiting, lane.waiting = lane.waiting, deque()
    for before, data in waiting:
        if everything or before <= 1:
            lane.target.send(data)
        else:
            lane.waiting.append((before - 1, data))


def _packet_socket(device: str) -> socket.socket:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
    sock.bind((device, ETH_P_ALL))
    return sock
