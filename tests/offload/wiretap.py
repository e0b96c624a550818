"""Devices in a namespace that put what is written to a TAP before a packet socket: the kernel as a witness."""

from __future__ import annotations

import os
import select
import socket
import struct
import time

from tests.kernel.namespaces import Namespace
from tests.kernel.tun import PLAIN, Tun

ETH_P_ALL = 0x0003  # linux/if_ether.h
IFF_NAPI, IFF_VNET_HDR = 0x0010, 0x4000  # linux/if_tun.h
SOL_PACKET, PACKET_VNET_HDR, PACKET_OUTGOING = 263, 15, 4  # linux/if_packet.h, linux/socket.h
SO_RCVBUFFORCE = 33  # asm-generic/socket.h
VNET_LEN = 10
DEADLINE = 10.0  # seconds


class Wiretap:
    """A TAP to write to and a packet socket to read from."""

    def __init__(self, inside: Namespace, flags: int, listen_on: str, vnet: bool) -> None:
        self.vnet = vnet
        self.tun = inside.call(lambda: Tun("tap0", PLAIN | IFF_VNET_HDR | flags))
        inside.ip("link", "set", "tap0", "mtu", "65521", "up")
        self.socket = inside.call(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        if vnet:
            self.socket.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        self.socket.bind((listen_on, ETH_P_ALL))

    def write(self, vnet: bytes, frame: bytes) -> None:
        os.write(self.tun.fd, vnet + frame)

    def read(self, payload: int, headers: int) -> list[bytes]:
        """Packets as they came, until they hold `payload` bytes behind `headers` bytes of headers each."""
        found: list[bytes] = []
        end = time.monotonic() + DEADLINE
        headers += VNET_LEN if self.vnet else 0
        while payload > 0:
            left = end - time.monotonic()
            assert left > 0, f"{payload} bytes still missing after {DEADLINE:g} s, got {[len(p) for p in found]}"
            if select.select([self.socket], [], [], left)[0]:
                packet, address = self.socket.recvfrom(1 << 17)
                if address[2] != PACKET_OUTGOING:
                    found.append(packet)
                    payload -= len(packet) - headers
        return found

    def close(self) -> None:
        self.socket.close()
        self.tun.close()


def segmenting(inside: Namespace) -> Wiretap:
    """TAP, bridge, and a veth that can neither cut nor sum: what comes out of it, the kernel has cut."""
    inside.execute("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
    inside.ip("link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
    inside.ip("link", "add", "out", "mtu", "65535", "type", "veth", "peer", "name", "far", "mtu", "65535")
    inside.execute("ethtool", "-K", "out", "tx", "off", "tso", "off", "gso", "off")
    inside.execute("ethtool", "-K", "out", "tx-udp-segmentation", "off")
    inside.ip("link", "set", "br0", "mtu", "65521", "up")
    for device in ("out", "far"):
        inside.ip("link", "set", device, "up")
    tap = Wiretap(inside, 0, "far", vnet=False)
    for device in ("tap0", "out"):
        inside.ip("link", "set", device, "master", "br0")
    return tap


def coalescing(inside: Namespace) -> Wiretap:
    """A TAP that receives through NAPI, and so through GRO, which waits for more before it lets go."""
    inside.execute("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
    tap = Wiretap(inside, IFF_NAPI, "tap0", vnet=True)
    inside.execute("ethtool", "-K", "tap0", "rx-udp-gro-forwarding", "on")
    settings = "/sys/class/net/tap0"
    inside.execute(
        "sh", "-c", f"echo 100 > {settings}/napi_defer_hard_irqs; echo 2000000 > {settings}/gro_flush_timeout"
    )
    return tap


def parse(packet: bytes) -> tuple[tuple[int, ...], bytes]:
    """What virtio_net_hdr says of a packet, and the frame. hdr_len is left out: a hint, and the kernel's a bad one."""
    flags, gso_type, _, *rest = struct.unpack_from("=BBHHHH", packet)
    return (flags, gso_type, *rest), packet[VNET_LEN:]
