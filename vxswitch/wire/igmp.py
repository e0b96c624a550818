"""IGMP versions 1, 2 and 3: who listens to which IPv4 group (RFC 1112 appendix I, RFC 2236, RFC 3376).

`parse` takes a message (what an IPv4 packet of protocol 2 carries), whatever its bytes are. `query` makes an IGMPv3
query, which hosts of every version understand: an older one ignores what stands behind the first eight bytes.

    all        type 1 | max response 1 | checksum 2 | group 4
    v3 query   ... | S and QRV 1 | QQIC 1 | sources 2 | source 4 ...
    v3 report  type 1 | - | checksum 2 | - | records 2 | records: type 1, aux words 1, sources 2, group 4, ...

The records of IGMPv3 and MLDv2 mean the same; `changes` reads both. A switch forwards by group alone, as RFC 4541
section 2.1.2 allows, so the lists of sources matter only in whether there are any.
"""

import struct
from typing import Final

from vxswitch.wire import checksum, ip, multicast
from vxswitch.wire.multicast import BAD, DOUBTFUL, JOINED, LEFT, QUERY, REPORT, ROUTER, Message, Record

MEMBERSHIP_QUERY: Final = 0x11
V1_REPORT: Final = 0x12
V2_REPORT: Final = 0x16
V2_LEAVE: Final = 0x17
V3_REPORT: Final = 0x22
ROUTER_ADVERTISEMENT: Final = 0x30  # RFC 4286 section 3.2

MAX_RESPONSE: Final = 1
CHECKSUM: Final = 2
GROUP: Final = 4
RECORDS: Final = 6
LEN: Final = 8
V3_QUERY_LEN: Final = 12
RECORD: Final = struct.Struct("!BBH")  # type, words of auxiliary data, sources; the group and the sources follow

# Record types, RFC 3376 section 4.2.12 and RFC 3810 section 5.2.12
IS_INCLUDE: Final = 1
IS_EXCLUDE: Final = 2
TO_INCLUDE: Final = 3
TO_EXCLUDE: Final = 4
ALLOW: Final = 5
BLOCK: Final = 6

_TICK: Final = 0.1  # seconds: the unit of the maximum response time
_V1_RESPONSE: Final = 10.0  # seconds, RFC 1112: a version 1 query has no such field
_EXPONENT: Final = 0x80  # from here on a one-byte code is a floating-point number (RFC 3376 section 4.1.1)
_WORD: Final = 4


def parse(body: bytes, source: bytes) -> Message | None:
    """What the message says; None: of a type that says nothing about listeners (it may still be meant for others).

    `source`: the packet's, 4 bytes; queries without one are no router's (RFC 4541 section 2.1.1).
    """
    if len(body) < LEN or checksum.ones_complement(body) != 0xFFFF:
        return Message(BAD, 4)
    kind, group = body[0], body[GROUP : GROUP + ip.V4_ADDRESS_LEN]
    if kind == MEMBERSHIP_QUERY:
        return _query(body, group, source != multicast.ANY[4])
    if kind in (V1_REPORT, V2_REPORT, V2_LEAVE):
        if not multicast.is_group(group):
            return Message(BAD, 4)
        return Message(REPORT, 4, records=((group, LEFT if kind == V2_LEAVE else JOINED),))
    if kind == V3_REPORT:
        records = changes(body, ip.V4_ADDRESS_LEN)
        return Message(BAD, 4) if records is None else Message(REPORT, 4, records=records)
    return Message(ROUTER, 4) if kind == ROUTER_ADVERTISEMENT else None


def _query(body: bytes, group: bytes, router: bool) -> Message:
    """RFC 3376 section 7.1: the version is told by the length; what is between the lengths is nobody's."""
    code = body[MAX_RESPONSE]
    if LEN < len(body) < V3_QUERY_LEN:
        return Message(BAD, 4)
    if len(body) == LEN:
        response = code * _TICK or _V1_RESPONSE
    else:
        response = decode_time(code) * _TICK
    about = b"" if group == multicast.ANY[4] else group
    return Message(QUERY, 4, group=about, response=response, router=router)


def changes(body: bytes, address_len: int) -> tuple[Record, ...] | None:
    """The records of an IGMPv3 or MLDv2 report; None if they do not fit into it. Unknown types say nothing."""
    found: list[Record] = []
    at = LEN
    for _ in range(body[RECORDS] << 8 | body[RECORDS + 1]):
        group_at = at + RECORD.size
        if group_at + address_len > len(body):
            return None
        kind, words, sources = RECORD.unpack_from(body, at)
        group = body[group_at : group_at + address_len]
        at = group_at + address_len * (1 + sources) + words * _WORD
        if at > len(body):
            return None
        change = _change(kind, sources)
        if change and multicast.is_group(group):
            found.append((group, change))
    return tuple(found)


def _change(kind: int, sources: int) -> int:
    """What a record says about the group as a whole; 0: nothing."""
    if kind in (IS_EXCLUDE, TO_EXCLUDE):
        return JOINED
    if kind == TO_INCLUDE:
        return JOINED if sources else LEFT
    if kind in (IS_INCLUDE, ALLOW):
        return JOINED if sources else 0
    return DOUBTFUL if kind == BLOCK else 0


def query(group: bytes, response: float, interval: float, robustness: int) -> bytes:
    """An IGMPv3 query about a group, or about all (empty); times in seconds."""
    code = encode_time(round(response / _TICK))
    body = bytearray(struct.pack("!BBH4s", MEMBERSHIP_QUERY, code, 0, group or multicast.ANY[4]))
    body += bytes((robustness & 7, encode_time(round(interval)), 0, 0))
    body[CHECKSUM:GROUP] = (0xFFFF - checksum.ones_complement(body)).to_bytes(2)
    return bytes(body)


def decode_time(code: int) -> int:
    """A number in one byte: 0 to 127 as it is, then with 4 bits of mantissa and 3 of exponent (to 31744)."""
    if code < _EXPONENT:
        return code
    return (code & 0x0F | 0x10) << ((code >> 4 & 7) + 3)


def encode_time(value: int) -> int:
    """The largest code that stands for no more than `value`, at least 1: zero would mean "at once"."""
    if value < _EXPONENT:
        return max(1, value)
    exponent = min(7, value.bit_length() - 8)
    mantissa = min(0x1F, value >> exponent + 3)
    return _EXPONENT | exponent << 4 | mantissa & 0x0F
