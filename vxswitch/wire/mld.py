"""MLD versions 1 and 2: who listens to which IPv6 group (RFC 2710, RFC 3810). It is ICMPv6, and IGMP in IPv6's words.

`parse` takes an ICMPv6 message, whatever its bytes are; `query` makes an MLDv2 query, which hosts of both versions
understand. The checksum covers a pseudo-header, so both are told the packet's addresses.

    all        type 1 | code 1 | checksum 2 | max response 2 | - 2 | group 16
    v2 query   ... | S and QRV 1 | QQIC 1 | sources 2 | source 16 ...
    v2 report  type 1 | - | checksum 2 | - 2 | records 2 | records as IGMPv3's, with addresses of 16 bytes
"""

import struct
from typing import Final

from vxswitch.wire import checksum, ip, multicast
from vxswitch.wire.igmp import changes, encode_time
from vxswitch.wire.multicast import BAD, JOINED, LEFT, QUERY, REPORT, ROUTER, Message

LISTENER_QUERY: Final = 130
V1_REPORT: Final = 131
V1_DONE: Final = 132
V2_REPORT: Final = 143
ROUTER_ADVERTISEMENT: Final = 151  # RFC 4286 section 3.2
TYPES: Final = frozenset((LISTENER_QUERY, V1_REPORT, V1_DONE, V2_REPORT, ROUTER_ADVERTISEMENT))

CHECKSUM: Final = 2
MAX_RESPONSE: Final = 4
GROUP: Final = 8
HEADER_LEN: Final = 8  # of a version 2 report; that of a router advertisement, too
V1_LEN: Final = 24
V2_QUERY_LEN: Final = 28

_TICK: Final = 0.001  # seconds: the unit of the maximum response delay
_EXPONENT: Final = 0x8000  # from here on a two-byte code is a floating-point number (RFC 3810 section 5.1.3)
_LINK_LOCAL: Final = 0xFE80  # fe80::/10, RFC 4291 section 2.5.6
_LINK_LOCAL_MASK: Final = 0xFFC0


def parse(body: bytes, source: bytes, destination: bytes) -> Message | None:
    """What the message says; None: it is not one of MLD's, or of no type that says anything about listeners."""
    if not body or body[0] not in TYPES:
        return None
    if len(body) < HEADER_LEN or _sum(body, source, destination) != 0xFFFF:
        return Message(BAD, 6)
    kind = body[0]
    if kind == V2_REPORT:
        records = changes(body, ip.V6_ADDRESS_LEN)
        return Message(BAD, 6) if records is None else Message(REPORT, 6, records=records)
    if kind == ROUTER_ADVERTISEMENT:
        return Message(ROUTER, 6)
    if len(body) < V1_LEN:
        return Message(BAD, 6)
    group = body[GROUP:V1_LEN]
    if kind == LISTENER_QUERY:
        return _query(body, group, source)
    if not multicast.is_group(group):
        return Message(BAD, 6)
    return Message(REPORT, 6, records=((group, JOINED if kind == V1_REPORT else LEFT),))


def _query(body: bytes, group: bytes, source: bytes) -> Message:
    """RFC 3810 section 8.1 tells the version by the length; section 5.1.14 wants a link-local source."""
    if V1_LEN < len(body) < V2_QUERY_LEN or (source[0] << 8 | source[1]) & _LINK_LOCAL_MASK != _LINK_LOCAL:
        return Message(BAD, 6)
    code = body[MAX_RESPONSE] << 8 | body[MAX_RESPONSE + 1]
    if len(body) >= V2_QUERY_LEN and code >= _EXPONENT:
        code = (code & 0x0FFF | 0x1000) << ((code >> 12 & 7) + 3)
    about = b"" if group == multicast.ANY[6] else group
    return Message(QUERY, 6, group=about, response=code * _TICK, router=True)


def query(group: bytes, response: float, interval: float, robustness: int, source: bytes, destination: bytes) -> bytes:
    """An MLDv2 query about a group, or about all (empty); times in seconds, `response` under 32.8."""
    code = min(_EXPONENT - 1, max(1, round(response / _TICK)))
    body = bytearray(struct.pack("!BBHHH16s", LISTENER_QUERY, 0, 0, code, 0, group or multicast.ANY[6]))
    body += bytes((robustness & 7, encode_time(round(interval)), 0, 0))
    body[CHECKSUM : CHECKSUM + 2] = (0xFFFF - _sum(body, source, destination)).to_bytes(2)
    return bytes(body)


def _sum(body: bytes | bytearray, source: bytes, destination: bytes) -> int:
    """The ones' complement sum over pseudo-header (RFC 8200 section 8.1) and message: 0xFFFF if the checksum holds."""
    pseudo = checksum.pseudo_header(source + destination, ip.PROTO_ICMPV6, len(body))
    return checksum.fold(pseudo + checksum.ones_complement(body))
