"""Super-frames for the tests, and what a correct cut makes of them, by scapy: own code is not its own witness.

scapy builds every segment on its own, with its own lengths and checksums; here only stands which of its fields change
from segment to segment (RFC 9293 section 3.4, RFC 3168 section 6.1.2, and IDs that count up).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from vxswitch.offload.arena import Arena, Run

VXLAN = bytes.fromhex("08000000 00123400")
TCPV4, TCPV6, UDP_L4 = 1, 4, 5  # gso_type, linux/virtio_net.h
FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = (1 << bit for bit in range(8))
LINK = Ether(dst="02:00:00:00:00:02", src="02:00:00:00:00:01")
TIMESTAMPS = [("NOP", None), ("NOP", None), ("Timestamp", (0x01020304, 0x05060708))]


def ip4(**fields: object) -> Packet:
    return LINK / IP(**({"src": "192.0.2.1", "dst": "192.0.2.2", "flags": "DF", "id": 0x1234} | fields))


def ip6(**fields: object) -> Packet:
    return LINK / IPv6(**({"src": "2001:db8::1", "dst": "2001:db8::2", "hlim": 64, "fl": 0xABCDE} | fields))


def tcp(**fields: object) -> Packet:
    return TCP(**({"sport": 40000, "dport": 5201, "seq": 0x01020304, "ack": 7, "flags": ACK, "window": 501} | fields))


def udp() -> Packet:
    return UDP(sport=40000, dport=5201)


def pattern(length: int, seed: int = 1) -> bytes:
    """Payload in which no two stretches are alike, the same for the same seed."""
    return b"".join(struct.pack("!Q", (i + seed) * 0x9E3779B97F4A7C15 & (1 << 64) - 1) for i in range(length // 8 + 1))[
        :length
    ]


def fold(total: int) -> int:
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def words(data: bytes) -> int:
    """Sum of the 16-bit words, RFC 1071, not folded."""
    data += b"\0" * (len(data) % 2)
    return sum(word for (word,) in struct.iter_unpack("!H", data))


@dataclass(frozen=True)
class SuperFrame:
    """A frame as a TAP with IFF_VNET_HDR gives it, and the fields of its header."""

    frame: bytes
    gso_type: int
    gso_size: int
    csum_start: int
    csum_offset: int

    @property
    def vnet(self) -> bytes:
        """virtio_net_hdr, hdr_len left 0."""
        return struct.pack("=BBHHHH", 1, self.gso_type, 0, self.gso_size, self.csum_start, self.csum_offset)


def super_frame(headers: Packet, payload: bytes, mss: int) -> SuperFrame:
    """What the kernel hands over of `headers / payload`: one header, the checksum only of the pseudo-header.

    scapy's finished checksum is the complement of pseudo-header and data; taking the data off leaves the former.
    """
    packet = headers / Raw(payload)
    kind, offset = (TCP, 16) if TCP in packet else (UDP, 6)
    frame = bytearray(bytes(packet))
    start = len(frame) - len(bytes(packet[kind]))
    (finished,) = struct.unpack_from("!H", frame, start + offset)
    struct.pack_into("!H", frame, start + offset, 0)
    partial = fold((finished ^ 0xFFFF) + (0xFFFF ^ fold(words(bytes(frame[start:])))))
    struct.pack_into("!H", frame, start + offset, partial)
    gso_type = UDP_L4 if kind is UDP else TCPV4 if IP in packet else TCPV6
    return SuperFrame(bytes(frame), gso_type, mss, start, offset)


def segments(headers: Packet, payload: bytes, mss: int) -> list[bytes]:
    """The wire frames of `headers / payload`, each built by scapy on its own."""
    made = []
    for number, at in enumerate(range(0, len(payload), mss)):
        packet = headers.copy() / Raw(payload[at : at + mss])
        if IP in packet:
            packet[IP].id = (headers[IP].id + number) & 0xFFFF
        if TCP in packet:
            packet[TCP].seq = (headers[TCP].seq + at) & 0xFFFFFFFF
            flags = int(headers[TCP].flags)
            if at:
                flags &= ~CWR
            if at + mss < len(payload):
                flags &= ~(FIN | PSH)
            packet[TCP].flags = flags
        made.append(bytes(packet))
    return made


def load(data: bytes, at: int = 13, slack: int = 0) -> Arena:
    """An arena that holds `data` at an odd place, between bytes that are not its own."""
    arena = Arena(at + len(data) + slack)
    arena.view[:] = b"\xa5" * arena.size
    arena.view[at : at + len(data)] = data
    return arena


def run_of(rows: list[bytes], at: int = 13) -> Run:
    """A run as received: VXLAN header and frame per row, all of the first one's size but the last."""
    data = b"".join(VXLAN + row for row in rows)
    run = Run(arena := load(data, at))
    run.fill(arena, at, len(VXLAN) + len(rows[0]), len(data))
    return run


def frames_of(run: Run) -> list[bytes]:
    """The frames of a run; every row must begin with the VXLAN header of these tests."""
    rows = [bytes(run.row(index)) for index in range(run.count)]
    assert all(row.startswith(VXLAN) for row in rows)
    return [row[len(VXLAN) :] for row in rows]
