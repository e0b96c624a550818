"""Frames for the tests, made and cut by plain code of their own: what is tested cannot be its own witness.

A TAP speaks ``[virtio_net_hdr 10][frame]``; ``plain`` puts an empty header before a frame. ``cut`` is the slow,
obvious way from a super-frame to its wire frames. Layouts: IEEE 802.3, RFC 791, 8200, 768, 9293, linux/virtio_net.h.
"""

from __future__ import annotations

import ipaddress
import struct

IP4, IP6, ARP, VLAN, QINQ = 0x0800, 0x86DD, 0x0806, 0x8100, 0x88A8
TCP, UDP = 6, 17
BROADCAST = b"\xff" * 6
NO_VNET = bytes(10)
VNET = struct.Struct("=BBHHHH")  # flags, gso_type, hdr_len, gso_size, csum_start, csum_offset
NEEDS_CSUM = 1
TCPV4, TCPV6, UDP_L4 = 1, 4, 5
ACK, PSH, FIN, CWR = 0x10, 0x08, 0x01, 0x80


def mac(n: int) -> bytes:
    """A locally administered unicast address."""
    return bytes((0x02, 0, 0, n >> 16 & 0xFF, n >> 8 & 0xFF, n & 0xFF))


def ones_complement_sum(data: bytes) -> int:
    """RFC 1071, word by word."""
    if len(data) % 2:
        data += b"\0"
    total = 0
    for (word,) in struct.iter_unpack("!H", data):
        total += word
        total = (total & 0xFFFF) + (total >> 16)
    return total


def ethernet(dst: bytes, src: bytes, ethertype: int, payload: bytes = b"", tags: tuple[int, ...] = ()) -> bytes:
    """An Ethernet frame; each of ``tags`` is a TPID, its VLAN 7."""
    return dst + src + b"".join(struct.pack("!HH", tpid, 7) for tpid in tags) + struct.pack("!H", ethertype) + payload


def ip4(src: str, dst: str, protocol: int, payload: bytes, *, tos: int = 0, ident: int = 1, fragment: int = 0) -> bytes:
    """An IPv4 packet with a right header checksum."""
    head = struct.pack("!BBHHHBBH", 0x45, tos, 20 + len(payload), ident, fragment, 64, protocol, 0)
    head += ipaddress.IPv4Address(src).packed + ipaddress.IPv4Address(dst).packed
    return head[:10] + struct.pack("!H", ones_complement_sum(head) ^ 0xFFFF) + head[12:] + payload


def ip6(src: str, dst: str, protocol: int, payload: bytes, *, tos: int = 0) -> bytes:
    """An IPv6 packet without extension headers."""
    head = struct.pack("!IHBB", 6 << 28 | tos << 20, len(payload), protocol, 64)
    return head + ipaddress.IPv6Address(src).packed + ipaddress.IPv6Address(dst).packed + payload


def packet(src: str, dst: str, protocol: int, payload: bytes, *, tos: int = 0) -> bytes:
    """An IP packet of the family of its addresses."""
    make = ip6 if ":" in src else ip4
    return make(src, dst, protocol, payload, tos=tos)


def _pseudo(src: str, dst: str, protocol: int, length: int) -> int:
    ends = ipaddress.ip_address(src).packed + ipaddress.ip_address(dst).packed
    return ones_complement_sum(ends + struct.pack("!II", protocol, length))


def udp(src: str, dst: str, sport: int, dport: int, data: bytes, *, tos: int = 0) -> bytes:
    """An IP packet that carries UDP with a right checksum."""
    head = struct.pack("!HHHH", sport, dport, 8 + len(data), 0)
    total = ones_complement_sum(struct.pack("!H", _pseudo(src, dst, UDP, 8 + len(data))) + head + data)
    return packet(src, dst, UDP, head[:6] + struct.pack("!H", (total ^ 0xFFFF) or 0xFFFF) + data, tos=tos)


def tcp(src: str, dst: str, sport: int, dport: int, data: bytes, *, seq: int = 0, flags: int = ACK) -> bytes:
    """An IP packet that carries TCP with a right checksum."""
    head = struct.pack("!HHIIBBHHH", sport, dport, seq, 0, 5 << 4, flags, 1000, 0, 0)
    total = ones_complement_sum(struct.pack("!H", _pseudo(src, dst, TCP, 20 + len(data))) + head + data)
    return packet(src, dst, TCP, head[:16] + struct.pack("!H", total ^ 0xFFFF) + head[18:] + data)


def plain(frame: bytes) -> bytes:
    """As a TAP gives an ordinary frame."""
    return NO_VNET + frame


def partial(frame: bytes, src: str, dst: str) -> bytes:
    """As a TAP gives a frame whose transport checksum is still to be finished (NEEDS_CSUM)."""
    start = 14 + (40 if ":" in src else 20)
    protocol = frame[14 + (6 if ":" in src else 9)]
    offset = 16 if protocol == TCP else 6
    field = start + offset
    seed = _pseudo(src, dst, protocol, len(frame) - start)
    frame = frame[:field] + struct.pack("!H", seed) + frame[field + 2 :]
    return VNET.pack(NEEDS_CSUM, 0, 0, 0, start, offset) + frame


def super_frame(frame: bytes, src: str, dst: str, gso_size: int) -> bytes:
    """As a TAP gives a super-frame of TCP or UDP to be cut into ``gso_size`` bytes of payload each."""
    whole = partial(frame, src, dst)
    flags, _, _, _, start, offset = VNET.unpack_from(whole)
    kind = UDP_L4 if offset == 6 else TCPV6 if ":" in src else TCPV4
    return VNET.pack(flags, kind, start + 20, gso_size, start, offset) + whole[10:]


def wire_count(data: bytes) -> int:
    """How many wire frames ``[vnet][frame]`` stands for, if it is well formed."""
    _, kind, _, gso_size, start, _ = VNET.unpack_from(data)
    if not kind:
        return 1
    headers = start + (8 if kind == UDP_L4 else (data[10 + start + 12] >> 4) * 4)
    return max(1, -(-(len(data) - 10 - int(headers)) // int(gso_size)))


def finish(data: bytes) -> bytes:
    """The frame of ``[vnet][frame]`` with its transport checksum finished."""
    flags, _, _, _, start, offset = VNET.unpack_from(data)
    frame = data[10:]
    if not flags & NEEDS_CSUM:
        return frame
    total = ones_complement_sum(frame[start:]) ^ 0xFFFF
    if offset == 6 and total == 0:
        total = 0xFFFF
    field = start + offset
    return frame[:field] + struct.pack("!H", total) + frame[field + 2 :]


def cut(data: bytes) -> list[bytes]:
    """The wire frames of ``[vnet][frame]``, as the kernel's segmentation would make them."""
    _, kind, _, gso_size, start, offset = VNET.unpack_from(data)
    if not kind:
        return [finish(data)]
    frame = data[10:]
    headers = start + (8 if kind == UDP_L4 else (frame[start + 12] >> 4) * 4)
    head, payload = frame[:headers], frame[headers:]
    pieces = [payload[at : at + gso_size] for at in range(0, len(payload), gso_size)]
    return [_segment(head, piece, n, n == len(pieces) - 1, start, offset, gso_size) for n, piece in enumerate(pieces)]


def _segment(head: bytes, piece: bytes, n: int, last: bool, start: int, offset: int, gso_size: int) -> bytes:
    out = bytearray(head + piece)
    v4 = head[12:14] == b"\x08\0"
    length = len(out) - 14
    if v4:
        (ident,) = struct.unpack_from("!H", head, 18)
        struct.pack_into("!HHH", out, 16, length, (ident + n) & 0xFFFF, *struct.unpack_from("!H", head, 20))
        out[24:26] = b"\0\0"
        struct.pack_into("!H", out, 24, ones_complement_sum(bytes(out[14:start])) ^ 0xFFFF)
    else:
        struct.pack_into("!H", out, 18, length - 40)
    ends = bytes(out[26:34] if v4 else out[22:54])
    protocol = UDP if offset == 6 else TCP
    if protocol == TCP:
        (seq,) = struct.unpack_from("!I", head, start + 4)
        struct.pack_into("!I", out, start + 4, (seq + n * gso_size) & 0xFFFFFFFF)
        out[start + 13] &= 0xFF ^ (0 if last else FIN | PSH) ^ (0 if n == 0 else CWR)
    else:
        struct.pack_into("!H", out, start + 4, len(out) - start)
    seed = ones_complement_sum(ends + struct.pack("!II", protocol, len(out) - start))
    struct.pack_into("!H", out, start + offset, seed)
    return finish(VNET.pack(NEEDS_CSUM, 0, 0, 0, start, offset) + bytes(out))


def vxlan(vni: int, frame: bytes, *, flags: int = 0x08, reserved: bytes = b"\0\0\0", last: int = 0) -> bytes:
    """The payload of one VXLAN datagram (RFC 7348 section 5)."""
    return bytes((flags,)) + reserved + vni.to_bytes(3, "big") + bytes((last,)) + frame
