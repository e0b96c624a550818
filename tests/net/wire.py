"""Raw Ethernet at a device of a lab's namespace: frames in and out exactly as they are, and the underlay watched.

A packet socket stays in the namespace in which it was made, so the test process holds both ends of a link itself. What
the kernel takes out of a received frame (a VLAN tag, packet(7) PACKET_AUXDATA) is put back. Nothing here waits for
time to pass: a test reads until what it expects has come, and a marker sent after that shows that nothing else did.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeVar

from scapy.layers.inet import UDP
from scapy.layers.l2 import Ether
from scapy.layers.vxlan import VXLAN

from vxswitch.attach.netns import enter, resolve
from vxswitch.lab import LabError, Namespace
from vxswitch.wire import probe

T = TypeVar("T")

DEADLINE = 10.0  # seconds until something that must happen is called a failure
ETH_P_ALL = 0x0003  # linux/if_ether.h
ETH_P_PROBE = 0x88B5  # IEEE 802, local experimental ethertype 1: no station answers it
BROADCAST = "ff:ff:ff:ff:ff:ff"

_SOL_PACKET, _PACKET_AUXDATA = 263, 8  # linux/socket.h, linux/if_packet.h
_TP_STATUS_VLAN_VALID = 1 << 4  # linux/if_packet.h, with a tpid since 3.14
_AUXDATA = struct.Struct("=IIIHHHH")  # struct tpacket_auxdata
_RECEIVE_BUFFER = 32 << 20
_SO_RCVBUFFORCE = 33  # asm-generic/socket.h


def made_in(where: Namespace, make: Callable[[], T]) -> T:
    """What ``make`` returns, called inside the namespace; sockets made there stay there."""
    with enter(resolve(where.name)):
        return make()


def mac_bytes(text: str) -> bytes:
    """``02:00:...`` as six bytes."""
    return bytes.fromhex(text.replace(":", ""))


def frame(dst: str, src: str, payload: bytes = b"", ethertype: int = ETH_P_PROBE) -> bytes:
    """An untagged Ethernet frame, not padded."""
    return mac_bytes(dst) + mac_bytes(src) + ethertype.to_bytes(2) + payload


def source_of(data: bytes) -> bytes:
    """The source address of a frame."""
    return data[6:12]


class Wire:
    """One device of one namespace; a context manager. Only what comes in is received."""

    def __init__(self, where: Namespace, device: str = "eth0") -> None:
        self.where = where
        self.sock = made_in(where, lambda: _packet_socket(device))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        """Send one frame as it is."""
        assert self.sock.send(data) == len(data)

    def until(self, last: bytes, timeout: float = DEADLINE) -> list[bytes]:
        """The frames that came before ``last``, in order; LabError when it does not come.

        Frames of one flow keep their order, and a flooded frame leaves after what its port sent before.
        """
        found = self._read(lambda frames: frames[-1] == last, timeout)
        if found[-1:] != [last]:
            raise LabError(
                f"{self.where.label}: {last!r} not within {timeout:g} s, but {len(found)} others: {found[:5]}"
            )
        return found[:-1]

    def take(self, count: int, wanted: Callable[[bytes], bool], timeout: float = DEADLINE) -> list[bytes]:
        """The next ``count`` frames that are ``wanted``, of whatever flows; fewer when they do not come."""
        found = self._read(lambda frames: sum(map(wanted, frames)) == count, timeout)
        return list(filter(wanted, found))

    def _read(self, enough: Callable[[list[bytes]], bool], timeout: float) -> list[bytes]:
        found: list[bytes] = []
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0 and select.select([self.sock], [], [], left)[0]:
            data, kind = _receive(self.sock)
            if kind != socket.PACKET_OUTGOING:
                found.append(data)
                if enough(found):
                    break
        return found


@dataclass(frozen=True, slots=True)
class Seen:
    """One VXLAN datagram on the underlay's bridge: the port, ``in`` from the host there or ``out`` to it, its parts."""

    port: str
    way: str
    outer: Ether
    vni: int
    inner: bytes


class Watch:
    """All VXLAN datagrams that cross the bridge of a lab, seen on every port that they pass; a context manager.

    Probes of the switches are left out: no frame is in them.
    """

    def __init__(self, net: Namespace, udp_port: int = 4789) -> None:
        self.udp_port = udp_port
        self.sock = made_in(net, lambda: _packet_socket(None))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.sock.close()

    def seen(self) -> list[Seen]:
        """What has passed since the last call. Call when the last frame of interest has arrived at its end."""
        found = []
        while select.select([self.sock], [], [], 0)[0]:
            data, address = self.sock.recvfrom(1 << 17)
            outer = Ether(data)
            if UDP not in outer or outer[UDP].dport != self.udp_port or address[0] == "br0":
                continue
            payload = bytes(outer[UDP].payload)
            if probe.parse(payload, 0, len(payload)) is not None:
                continue
            way = "out" if address[2] == socket.PACKET_OUTGOING else "in"
            found.append(Seen(address[0], way, outer, VXLAN(payload).vni, payload[8:]))
        return found

    def copies(self, inner: bytes) -> dict[tuple[str, str], int]:
        """How often each bridge port saw a datagram that carries exactly this frame: {(port, way): count}."""
        counts: dict[tuple[str, str], int] = {}
        for one in self.seen():
            if one.inner == inner:
                counts[one.port, one.way] = counts.get((one.port, one.way), 0) + 1
        return counts


def _packet_socket(device: str | None) -> socket.socket:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)
    sock.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
    if device is not None:
        sock.bind((device, ETH_P_ALL))
    return sock


def _receive(sock: socket.socket) -> tuple[bytes, int]:
    """One frame as it was on the device, and its packet type."""
    data, ancillary, _, address = sock.recvmsg(1 << 17, socket.CMSG_SPACE(_AUXDATA.size))
    for level, kind, value in ancillary:
        if (level, kind) == (_SOL_PACKET, _PACKET_AUXDATA):
            status, _, _, _, _, tci, tpid = _AUXDATA.unpack(value)
            if status & _TP_STATUS_VLAN_VALID:
                data = data[:12] + struct.pack("!HH", tpid, tci) + data[12:]
    return data, address[2]
