"""Letting the kernel cut: super-frames go out whole, through a TAP that leads into this host's own stack.

What is written there is a finished VXLAN packet around a super-frame, with a vnet header of 24 bytes that says where
the inner headers are (linux/virtio_net.h, virtio_net_hdr_v1_hash_tunnel; linux 6.17). The host routes it out like any
packet, and the device, or the kernel in front of it, cuts: no arithmetic and no copy here. The same datagrams leave as
by UDP_SEGMENT, from the same source ports. A super-frame that does not fit one outer packet is cut here all the same.

Two ways out must not race. So for ``HOLD`` seconds after a super-frame, all frames of its flow go through the door.

TCP only: on a virtual underlay nobody cuts, the peer gets the super-frame whole, and how a UDP one was to be cut is
written nowhere in it (``offload.partial``).

What dies behind the door (no route, a firewall) the host's stack counts, not this switch: hence opt-in. A segment over
the route's MTU comes back as ICMP on the error queue of the path's socket.
"""

from __future__ import annotations

import os
import socket
import struct

from vxswitch.counters import ALIVE, Drop
from vxswitch.dataplane.slot import Slot
from vxswitch.dataplane.underlay import Path
from vxswitch.wire import checksum, ethernet, ip, transport, virtio, vxlan

HOLD = 0.01  # seconds: far longer than a packet waits between two queues of one host

# linux/virtio_net.h: virtio_net_hdr_v1_hash_tunnel. What virtio_net_hdr has, num_buffers, hash value and report,
# padding, outer_th_offset, inner_nh_offset
VNET = struct.Struct("=BBHHHHHIHHHH")
F_UDP_TUNNEL_CSUM = 0x08
GSO_UDP_TUNNEL_IPV4 = 0x20
GSO_UDP_TUNNEL_IPV6 = 0x40

TCP = frozenset(kind | ecn for kind in (virtio.GSO_TCPV4, virtio.GSO_TCPV6) for ecn in (0, virtio.GSO_ECN))

_ETHERNET = struct.Struct("!6s6sH")
_IPV4 = struct.Struct("!BBHHHBBH4s4s")
_IPV6 = struct.Struct("!IHBB16s16s")
_UDP = struct.Struct("!HHHH")
_OUTER = transport.UDP_HEADER_LEN + vxlan.HEADER_LEN
WHOLE_MAX = 0xFFFF - ip.V6_HEADER_LEN - _OUTER  # bytes of a frame that fits one outer packet of either family
_US = bytes.fromhex("020000000001")  # the outer source MAC on the way in; nobody looks at it


class Door:
    """The TAP into this host's stack. Owns the descriptor; ``mac`` is the TAP's own address."""

    def __init__(self, fd: int, mac: bytes, ttl: int) -> None:
        self.fd = fd
        self.mac = mac
        self.ttl = ttl + 1  # the host takes one off as it forwards
        self.sent = 0  # super-frames
        self._ends: dict[Path, tuple[bytes, bytes, int, int]] = {}

    def send(self, slot: Slot, path: Path, header: bytes, tos: int) -> int:
        """The slot's frame, WHOLE_MAX bytes at most, to the path's VTEP, cut by the kernel if it is a super-frame.

        A verdict.
        """
        length = slot.end - slot.start
        source, target, source_port, port = self._ends_of(path)
        v6 = path.family == socket.AF_INET6
        network = ip.V6_HEADER_LEN if v6 else ip.V4_HEADER_LEN
        inner = ethernet.HEADER_LEN + network + _OUTER  # where the inner Ethernet header stands
        udp_length = _OUTER + length
        sum_of_ends = checksum.pseudo_header(source + target, ip.PROTO_UDP, udp_length)
        packet = b"".join(
            (
                self._vnet(slot, v6, network, inner),
                _ETHERNET.pack(self.mac, _US, ethernet.ETH_P_IPV6 if v6 else ethernet.ETH_P_IP),
                self._ipv6(source, target, udp_length, tos) if v6 else self._ipv4(source, target, udp_length, tos),
                _UDP.pack(source_port, port, udp_length, sum_of_ends),
                header,
            )
        )
        try:
            os.writev(self.fd, (packet, slot.view[slot.start : slot.end]))
        except BlockingIOError:
            return Drop.UNDERLAY_BUSY
        except OSError:
            return Drop.UNDERLAY_ERROR
        self.sent += 1
        return ALIVE

    @staticmethod
    def _vnet(slot: Slot, v6: bool, network: int, inner: int) -> bytes:
        """The inner super-frame's header moved behind the outer ones; a plain frame's outer UDP checksum to finish."""
        outer_transport = ethernet.HEADER_LEN + network
        if not slot.gso_type:
            return VNET.pack(virtio.F_NEEDS_CSUM, 0, 0, 0, outer_transport, transport.UDP_CHECKSUM, 0, 0, 0, 0, 0, 0)
        return VNET.pack(
            virtio.F_NEEDS_CSUM | F_UDP_TUNNEL_CSUM,
            slot.gso_type | (GSO_UDP_TUNNEL_IPV6 if v6 else GSO_UDP_TUNNEL_IPV4),
            0,
            slot.gso_size,
            inner + slot.csum_start,
            slot.csum_offset,
            0,
            0,
            0,
            0,
            outer_transport,
            inner + ethernet.HEADER_LEN,
        )

    def _ipv4(self, source: bytes, target: bytes, udp_length: int, tos: int) -> bytes:
        """RFC 791; DF set (R06), identification 0 counted up by whoever cuts."""
        total = ip.V4_HEADER_LEN + udp_length
        bare = _IPV4.pack(0x45, tos, total, 0, ip.V4_DF, self.ttl, ip.PROTO_UDP, 0, source, target)
        done = 0xFFFF - checksum.ones_complement(bare)
        return _IPV4.pack(0x45, tos, total, 0, ip.V4_DF, self.ttl, ip.PROTO_UDP, done, source, target)

    def _ipv6(self, source: bytes, target: bytes, udp_length: int, tos: int) -> bytes:
        """RFC 8200."""
        return _IPV6.pack(6 << 28 | tos << 20, udp_length, ip.PROTO_UDP, self.ttl, source, target)

    def _ends_of(self, path: Path) -> tuple[bytes, bytes, int, int]:
        ends = self._ends.get(path)
        if ends is None:
            if len(self._ends) >= 4096:
                self._ends.clear()
            address, source_port = path.sock.getsockname()[:2]
            target, port = path.sockaddr
            ends = (
                socket.inet_pton(path.family, address),
                socket.inet_pton(path.family, target),
                source_port,
                port,
            )
            self._ends[path] = ends
        return ends

    def forget(self) -> None:
        """The sockets were made anew."""
        self._ends.clear()

    def close(self) -> None:
        """Close the descriptor: the TAP, which is not persistent, goes with it."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
