"""Which flow a frame belongs to: a hash for its outer source port, a key for its cached decision.

`entropy` is what RFC 7348 section 5 asks for: one inner flow, one source port; many flows, many ports. It is symmetric
(a flow's two directions agree, so that one worker can own both) and the same in every process and run. What it covers:

    IPv4, IPv6    both MACs, ethertype, both addresses, protocol; both ports of TCP, UDP and SCTP
    a fragment    the same without ports: only the first fragment has them, and all must take one path
    all else      both MACs, ethertype

Each side's fields are joined, the smaller side goes first, and a CRC-32 covers the two. A CRC is linear: flows that
differ in a few bits only can miss buckets altogether. One multiplication breaks that.

`KEY_V4` and `KEY_V6` take from a frame, by one `unpack_from`, the bytes that decide its way; what changes from one
packet of a flow to the next (TTL, lengths, identification, header checksum) is skipped. The ports are taken from where
they stand without IPv4 options and IPv6 extension headers. Where the four bytes are no ports the key is merely finer
(or, for the source port alone, coarser) than the flow: cache by it only what `PORT_PROTOCOLS` names and what is no
fragment. `ECHO_V4` and `ECHO_V6` are the keys of ICMP messages: the type in place of ports, because a checksum stands
where the destination port would.
"""

import struct
import zlib
from typing import Final

from vxswitch.wire import Readable, ethernet, ip, transport

PORT_PROTOCOLS: Final = frozenset((ip.PROTO_TCP, ip.PROTO_UDP, ip.PROTO_SCTP))

# Fields: (MACs, ethertype, version/IHL, ToS) (flags and fragment offset) (protocol) (addresses, ports).
KEY_V4: Final = struct.Struct("!16s 4x H x B 2x 12s")
KEY_V4_FRAGMENT: Final = 1  # index in the tuple; test it with ip.V4_FRAGMENTED
KEY_V4_PROTOCOL: Final = 2
# Fields: (MACs, ethertype, version, traffic class, top 4 bits of the flow label) (next header) (addresses, ports).
KEY_V6: Final = struct.Struct("!16s 4x B x 36s")
KEY_V6_PROTOCOL: Final = 1

# Fields: (MACs, ethertype, version/IHL, ToS) (flags and fragment offset) (protocol) (addresses) (ICMP type).
ECHO_V4: Final = struct.Struct("!16s 4x H x B 2x 8s B")
# Fields: (MACs, ethertype, version, traffic class, top 4 bits of the flow label) (next header) (addresses) (ICMP type).
ECHO_V6: Final = struct.Struct("!16s 4x B x 32s B")
ECHO_V4_TYPES: Final = frozenset((0, 8))  # RFC 792: echo reply, echo
ECHO_V6_TYPES: Final = frozenset((128, 129))  # RFC 4443 section 4: echo request, echo reply

ENTROPY_BITS: Final = 16

_ENDS_V4: Final = struct.Struct("6s 6s 14x 4s 4s")  # MACs, rest of Ethernet and 12 bytes of IPv4, addresses
_ENDS_V6: Final = struct.Struct("6s 6s 10x 16s 16s")  # MACs, rest of Ethernet and 8 bytes of IPv6, addresses
_MACS: Final = struct.Struct("6s 6s")
_PORTS: Final = struct.Struct("2s 2s")
_NO_PORTS: Final = -1

_EXTENSIONS: Final = frozenset((ip.PROTO_HOP_BY_HOP, ip.PROTO_ROUTING, ip.PROTO_DEST_OPTIONS))
_EXTENSIONS_MAX: Final = 4  # RFC 8200 section 4.1: hop-by-hop, destination options, routing, destination options
_GOLDEN: Final = 0x9E3779B1  # 2**32 / golden ratio, made odd: Fibonacci hashing, Knuth vol. 3 section 6.4


def entropy(buf: Readable, start: int, length: int) -> int:
    """A hash of the frame's flow, 0 .. 2**16 - 1, every bit equally good; 0 if not even an Ethernet header is whole."""
    if length < ethernet.HEADER_LEN:
        return 0
    family = ip.version(buf, start, length)
    protocol = 0
    if family == 4:
        there, here, there_ip, here_ip = _ENDS_V4.unpack_from(buf, start)
        protocol, ports = _transport_v4(buf, start + ethernet.HEADER_LEN, start + length)
    elif family == 6:
        there, here, there_ip, here_ip = _ENDS_V6.unpack_from(buf, start)
        protocol, ports = _transport_v6(buf, start + ethernet.HEADER_LEN, start + length)
    else:
        there, here = _MACS.unpack_from(buf, start)
        there_ip, here_ip, ports = b"", b"", _NO_PORTS
    if ports != _NO_PORTS:
        here_port, there_port = _PORTS.unpack_from(buf, ports)
        here_ip += here_port
        there_ip += there_port
    ethertype = buf[start + ethernet.ETHERTYPE] << 8 | buf[start + ethernet.ETHERTYPE + 1]
    return _hash(here + here_ip, there + there_ip, ethertype << 8 | protocol)


def _transport_v4(buf: Readable, at: int, end: int) -> tuple[int, int]:
    """Protocol and offset of the ports (_NO_PORTS if it has none) of the IPv4 packet at `at`."""
    protocol = buf[at + ip.V4_PROTOCOL]
    ports = at + (buf[at] & 0x0F) * 4
    fragment = buf[at + ip.V4_FRAGMENT] << 8 | buf[at + ip.V4_FRAGMENT + 1]
    if fragment & ip.V4_FRAGMENTED or protocol not in PORT_PROTOCOLS or ports + transport.PORTS_LEN > end:
        return protocol, _NO_PORTS
    return protocol, ports


def _transport_v6(buf: Readable, at: int, end: int) -> tuple[int, int]:
    """Protocol and offset of the ports (_NO_PORTS if it has none) of the IPv6 packet at `at`.

    A fragment header ends the walk and is itself the protocol: first and later fragments agree on it.
    """
    protocol = buf[at + ip.V6_NEXT_HEADER]
    at += ip.V6_HEADER_LEN
    for _ in range(_EXTENSIONS_MAX):
        if protocol not in _EXTENSIONS or at + ip.EXT_UNIT > end:
            break
        protocol, size = buf[at + ip.EXT_NEXT_HEADER], (buf[at + ip.EXT_LENGTH] + 1) * ip.EXT_UNIT
        at += size
    if protocol not in PORT_PROTOCOLS or at + transport.PORTS_LEN > end:
        return protocol, _NO_PORTS
    return protocol, at


def _hash(one: bytes, other: bytes, seed: int) -> int:
    """The same number for (one, other) and (other, one)."""
    crc = zlib.crc32(one + other if one < other else other + one, seed)
    return (crc * _GOLDEN & 0xFFFFFFFF) >> 32 - ENTROPY_BITS
