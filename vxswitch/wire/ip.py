"""IPv4 (RFC 791), IPv6 (RFC 8200) and the ECN field that an overlay must carry across (RFC 6040).

Offsets count from the first byte of the IP header. The functions take an inner Ethernet frame: `start` is its first
byte, `length` its size in bytes.

On encapsulation `tos` reads the inner field and `encap_ecn` says what the outer header carries. On decapsulation
`apply_ecn` carries a congestion mark from the outer header into the inner one, in place. A frame that holds no whole
IP header (another ethertype, a tag, a wrong version, IHL below 5, cut short) counts as non-IP and passes untouched.
"""

from typing import Final

from vxswitch.wire import Readable, Writable, checksum, ethernet

# IPv4, RFC 791 section 3.1
V4_VERSION_IHL: Final = 0  # upper nibble: 4; lower: header length in 32-bit words
V4_TOS: Final = 1  # DSCP (6 bits, RFC 2474), ECN (2 bits, RFC 3168)
V4_TOTAL_LENGTH: Final = 2
V4_ID: Final = 4
V4_FRAGMENT: Final = 6  # 3 flag bits, 13 bits of offset in units of 8 bytes
V4_TTL: Final = 8
V4_PROTOCOL: Final = 9
V4_CHECKSUM: Final = 10
V4_SOURCE: Final = 12
V4_DESTINATION: Final = 16
V4_HEADER_LEN: Final = 20  # without options
V4_HEADER_MAX: Final = 60
V4_ADDRESS_LEN: Final = 4

V4_DF: Final = 0x4000  # of the 16-bit word at V4_FRAGMENT
V4_MF: Final = 0x2000
V4_OFFSET_MASK: Final = 0x1FFF
V4_FRAGMENTED: Final = V4_MF | V4_OFFSET_MASK  # any bit set: this packet is a fragment

# IPv6, RFC 8200 section 3
V6_VERSION_CLASS: Final = 0  # 16-bit word: version (4 bits), traffic class (8), top of the flow label (4)
V6_PAYLOAD_LENGTH: Final = 4
V6_NEXT_HEADER: Final = 6
V6_HOP_LIMIT: Final = 7
V6_SOURCE: Final = 8
V6_DESTINATION: Final = 24
V6_HEADER_LEN: Final = 40
V6_ADDRESS_LEN: Final = 16

# IPv6 extension headers: RFC 8200 sections 4.3, 4.4, 4.6: next header, length in 8 bytes beyond the first 8
EXT_NEXT_HEADER: Final = 0
EXT_LENGTH: Final = 1
EXT_UNIT: Final = 8

# IANA "Assigned Internet Protocol Numbers"
PROTO_HOP_BY_HOP: Final = 0
PROTO_ICMP: Final = 1
PROTO_TCP: Final = 6
PROTO_UDP: Final = 17
PROTO_ROUTING: Final = 43
PROTO_FRAGMENT: Final = 44
PROTO_ICMPV6: Final = 58
PROTO_DEST_OPTIONS: Final = 60
PROTO_SCTP: Final = 132

# ECN codepoints, RFC 3168 section 5
NOT_ECT: Final = 0
ECT1: Final = 1
ECT0: Final = 2
CE: Final = 3
ECN_MASK: Final = 3
_V6_ECN_SHIFT: Final = 4  # where the ECN bits stand in the second byte of an IPv6 header
_V6_SECOND_BYTE: Final = V6_VERSION_CLASS + 1

DROP: Final = -1

# RFC 6040 figure 4: rows are the arriving inner codepoint, columns the arriving outer one, both in numeric order.
_DECAP: Final = (
    # outer: Not-ECT  ECT(1)   ECT(0)   CE
    (NOT_ECT, NOT_ECT, NOT_ECT, DROP),
    (ECT1, ECT1, ECT1, CE),
    (ECT0, ECT1, ECT0, CE),
    (CE, CE, CE, CE),
)


def version(buf: Readable, start: int, length: int) -> int:
    """4 or 6 if the frame holds a whole IPv4 or IPv6 header, options included; else 0."""
    at = start + ethernet.HEADER_LEN
    room = length - ethernet.HEADER_LEN
    if room < V4_HEADER_LEN:
        return 0
    ethertype = buf[start + ethernet.ETHERTYPE] << 8 | buf[start + ethernet.ETHERTYPE + 1]
    first = buf[at]
    if ethertype == ethernet.ETH_P_IP:
        return 4 if first >> 4 == 4 and V4_HEADER_LEN <= (first & 0x0F) * 4 <= room else 0
    if ethertype == ethernet.ETH_P_IPV6:
        return 6 if first >> 4 == 6 and room >= V6_HEADER_LEN else 0
    return 0


def tos(buf: Readable, start: int, length: int) -> int:
    """ToS byte (IPv4) or traffic class (IPv6) of the frame's IP header, 0..255; 0 for anything that is not IP."""
    family = version(buf, start, length)
    at = start + ethernet.HEADER_LEN
    if family == 4:
        return buf[at + V4_TOS]
    if family == 6:
        return (buf[at] & 0x0F) << 4 | buf[at + _V6_SECOND_BYTE] >> 4
    return 0


def encap_ecn(inner_tos: int) -> int:
    """Outer ToS for an inner one: ECN copied (RFC 6040 section 4.1, normal mode), DSCP left 0."""
    return inner_tos & ECN_MASK


def decap_ecn(outer_ecn: int, inner_ecn: int) -> int:
    """The inner ECN codepoint after decapsulation, or DROP (RFC 6040 section 4.2, figure 4). Bits above are ignored."""
    return _DECAP[inner_ecn & ECN_MASK][outer_ecn & ECN_MASK]


def apply_ecn(buf: Writable, start: int, length: int, outer_ecn: int) -> bool:
    """Carry the outer ECN codepoint (or whole outer ToS) into the inner IP header, in place. False: drop the frame."""
    if outer_ecn & ECN_MASK == NOT_ECT:
        return True  # figure 4, first column: the inner codepoint stands
    family = version(buf, start, length)
    if family == 0:
        return True
    at = start + ethernet.HEADER_LEN
    old = buf[at + V4_TOS] if family == 4 else buf[at + _V6_SECOND_BYTE] >> _V6_ECN_SHIFT
    new = decap_ecn(outer_ecn, old)
    if new == DROP:
        return False
    flip = (old ^ new) & ECN_MASK
    if flip and family == 4:
        _flip_v4_tos(buf, at, flip)
    elif flip:
        buf[at + _V6_SECOND_BYTE] ^= flip << _V6_ECN_SHIFT
    return True


def _flip_v4_tos(buf: Writable, at: int, flip: int) -> None:
    """Flip ToS bits of the IPv4 header at `at`; its checksum moves along, and one that was wrong stays as wrong."""
    old_word = buf[at + V4_VERSION_IHL] << 8 | buf[at + V4_TOS]
    old_sum = buf[at + V4_CHECKSUM] << 8 | buf[at + V4_CHECKSUM + 1]
    new_sum = checksum.update(old_sum, old_word, old_word ^ flip)
    buf[at + V4_TOS] ^= flip
    buf[at + V4_CHECKSUM] = new_sum >> 8
    buf[at + V4_CHECKSUM + 1] = new_sum & 0xFF
