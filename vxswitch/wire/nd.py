"""IPv6 neighbour discovery (RFC 4861): solicitations and advertisements, read and written.

    IPv6 header, hop limit 255 | type, code 0, checksum, flags | target 16 | options, in units of 8 bytes

`parse` takes only what RFC 4861 sections 7.1.1 and 7.1.2 call valid, the checksum included: all else is somebody else's
packet, and passes as one. Packets with extension headers are not looked into.
"""

import struct
from typing import Final, NamedTuple

from vxswitch.wire import Readable, checksum, ethernet, ip

SOLICITATION: Final = 135  # section 4.3
ADVERTISEMENT: Final = 136  # section 4.4
ROUTER: Final = 0x80  # flags of an advertisement, first byte
SOLICITED: Final = 0x40
OVERRIDE: Final = 0x20

UNSPECIFIED: Final = bytes(16)
ALL_NODES: Final = bytes.fromhex("ff02" + "00" * 13 + "01")
SOLICITED_NODE: Final = bytes.fromhex("ff02" + "00" * 9 + "01ff")  # and the target's last three bytes, RFC 4291 2.7.1

_SOURCE_LINK_LAYER: Final = 1  # section 4.6.1
_TARGET_LINK_LAYER: Final = 2
_HOP_LIMIT: Final = 255  # nobody has routed it
_UNIT: Final = 8
_LEAST: Final = 24  # type to target
_MULTICAST: Final = 0xFF
_V6: Final = struct.Struct("!IHBB16s16s")
_Icmp: Final = struct.Struct("!BBHB3x16s")
_AT_IP: Final = ethernet.HEADER_LEN
_AT_ICMP: Final = _AT_IP + ip.V6_HEADER_LEN
_RIGHT: Final = 0xFFFF  # the sum of what a right checksum covers, itself included


class Discovery(NamedTuple):
    """One solicitation or advertisement. Addresses are 16 bytes; ``link`` is the MAC in its option, if it has one."""

    kind: int
    flags: int
    source: bytes
    destination: bytes
    target: bytes
    link: bytes | None


def parse(buf: Readable, start: int, length: int) -> Discovery | None:
    """The valid solicitation or advertisement in the frame at `start`, None if it carries anything else."""
    if length < _AT_ICMP + _LEAST or buf[start + _AT_IP + ip.V6_NEXT_HEADER] != ip.PROTO_ICMPV6:
        return None
    if buf[start + _AT_ICMP] not in (SOLICITATION, ADVERTISEMENT) or ip.version(buf, start, length) != 6:
        return None
    _, size, _, hop_limit, source, destination = _V6.unpack_from(buf, start + _AT_IP)
    kind, code, _, flags, target = _Icmp.unpack_from(buf, start + _AT_ICMP)
    if hop_limit != _HOP_LIMIT or code or not _LEAST <= size <= length - _AT_ICMP or target[0] == _MULTICAST:
        return None
    message = bytes(buf[start + _AT_ICMP : start + _AT_ICMP + size])
    if checksum.fold(_pseudo(source, destination, size) + checksum.ones_complement(message)) != _RIGHT:
        return None
    options = _options(message)
    if options is None:
        return None
    found = Discovery(kind, flags, source, destination, target, options.get(_wanted(kind)))
    return found if _valid(found) else None


def _wanted(kind: int) -> int:
    return _SOURCE_LINK_LAYER if kind == SOLICITATION else _TARGET_LINK_LAYER


def _options(message: bytes) -> dict[int, bytes] | None:
    """Link-layer addresses by option type; None if an option has no length or is cut short."""
    found: dict[int, bytes] = {}
    at = _LEAST
    while at < len(message):
        if at + 1 >= len(message) or not message[at + 1] or at + message[at + 1] * _UNIT > len(message):
            return None
        if message[at + 1] == 1:
            found.setdefault(message[at], message[at + 2 : at + _UNIT])
        at += message[at + 1] * _UNIT
    return found


def _valid(found: Discovery) -> bool:
    if found.kind == ADVERTISEMENT:
        return found.destination[0] != _MULTICAST or not found.flags & SOLICITED
    if found.source == UNSPECIFIED:
        return found.link is None and found.destination == group_of(found.target)
    return True


def group_of(target: bytes) -> bytes:
    """The solicited-node multicast address of an address."""
    return SOLICITED_NODE + target[-3:]


def group_mac(group: bytes) -> bytes:
    """The MAC of an IPv6 multicast address (RFC 2464 section 7)."""
    return b"\x33\x33" + group[-4:]


def solicit(dst: bytes, src: bytes, source: bytes, destination: bytes, target: bytes) -> bytes:
    """A frame that asks who has `target`, and says that `source` is at `src`."""
    option = bytes((_SOURCE_LINK_LAYER, 1)) + src
    return _frame(dst, src, source, destination, SOLICITATION, 0, target, option)


def advertise(dst: bytes, src: bytes, destination: bytes, target: bytes, flags: int) -> bytes:
    """A frame that says: `target` is at `src`."""
    option = bytes((_TARGET_LINK_LAYER, 1)) + src
    return _frame(dst, src, target, destination, ADVERTISEMENT, flags, target, option)


def _frame(
    dst: bytes, src: bytes, source: bytes, destination: bytes, kind: int, flags: int, target: bytes, option: bytes
) -> bytes:
    size = _Icmp.size + len(option)
    sums = (_pseudo(source, destination, size), *map(checksum.ones_complement, (bytes((kind, 0)), bytes((flags, 0)))))
    total = sum(sums) + checksum.ones_complement(target) + checksum.ones_complement(option)
    message = _Icmp.pack(kind, 0, _RIGHT - checksum.fold(total), flags, target) + option
    header = _V6.pack(6 << 28, size, ip.PROTO_ICMPV6, _HOP_LIMIT, source, destination)
    return dst + src + ethernet.ETH_P_IPV6.to_bytes(2) + header + message


def _pseudo(source: bytes, destination: bytes, size: int) -> int:
    return checksum.pseudo_header(source + destination, ip.PROTO_ICMPV6, size)
