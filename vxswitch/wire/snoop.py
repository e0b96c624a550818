"""Frames that a switch has to listen to: IGMP, MLD and multicast routers, in and out.

`read` says what a frame tells about listeners, or None: an ordinary frame, to be forwarded by its destination alone.
`query_frame` makes the query of a switch that stands in for a router which is not there (RFC 4541 section 2.1.1): from
0.0.0.0, which wins no election, or from the link-local address that MLD insists on.

Every header on the way may lie. A fragment, a length beyond the frame or a chain of extension headers that does not end
is an ordinary frame; a message that is there but wrong is BAD.
"""

import struct
from typing import Final

from vxswitch.wire import Readable, checksum, ethernet, igmp, ip, mld, multicast
from vxswitch.wire.address import STAND_IN, STAND_IN_IP6
from vxswitch.wire.multicast import ROUTER, Message

PROTO_IGMP: Final = 2
PROTO_PIM: Final = 103
PIM_HELLO: Final = 0x20  # version 2, type 0: RFC 7761 section 4.9
PIM_GROUPS: Final = (b"\xe0\0\0\x0d", b"\xff\x02" + bytes(13) + b"\x0d")  # 224.0.0.13, ff02::d
ALL_HOSTS: Final = {4: b"\xe0\0\0\x01", 6: b"\xff\x02" + bytes(13) + b"\x01"}  # 224.0.0.1, ff02::1

_ROUTER_ALERT_V4: Final = b"\x94\x04\0\0"  # RFC 2113 section 2.1
_ROUTER_ALERT_V6: Final = b"\x3a\0\x05\x02\0\0\x01\0"  # hop-by-hop: ICMPv6 follows; MLD (RFC 2711), PadN of nothing
_CONTROL: Final = 0xC0  # internetwork control, RFC 3376 section 4
_EXTENSIONS: Final = frozenset((ip.PROTO_HOP_BY_HOP, ip.PROTO_ROUTING, ip.PROTO_DEST_OPTIONS))
_EXTENSIONS_MAX: Final = 4  # as in wire.flow
_HEAD_V4: Final = struct.Struct("!BBHHHBBH4s4s")
_HEAD_V6: Final = struct.Struct("!IHBB16s16s")


def read(buf: Readable, start: int, length: int) -> Message | None:
    """What the frame says about listeners, None if it says nothing. Any bytes will do."""
    family = ip.version(buf, start, length)
    at, end = start + ethernet.HEADER_LEN, start + length
    if family == 4:
        return _read_v4(buf, at, end)
    return _read_v6(buf, at, end) if family == 6 else None


def _read_v4(buf: Readable, at: int, end: int) -> Message | None:
    protocol = buf[at + ip.V4_PROTOCOL]
    fragment = buf[at + ip.V4_FRAGMENT] << 8 | buf[at + ip.V4_FRAGMENT + 1]
    if protocol not in (PROTO_IGMP, PROTO_PIM) or fragment & ip.V4_FRAGMENTED:
        return None
    body_at = at + (buf[at] & 0x0F) * 4
    body_end = at + (buf[at + ip.V4_TOTAL_LENGTH] << 8 | buf[at + ip.V4_TOTAL_LENGTH + 1])
    if not body_at <= body_end <= end:
        return None
    body = bytes(buf[body_at:body_end])
    if protocol == PROTO_PIM:
        return _pim(4, body, bytes(buf[at + ip.V4_DESTINATION : at + ip.V4_HEADER_LEN]))
    return igmp.parse(body, bytes(buf[at + ip.V4_SOURCE : at + ip.V4_DESTINATION]))


def _read_v6(buf: Readable, at: int, end: int) -> Message | None:
    protocol = buf[at + ip.V6_NEXT_HEADER]
    body_end = at + ip.V6_HEADER_LEN + (buf[at + ip.V6_PAYLOAD_LENGTH] << 8 | buf[at + ip.V6_PAYLOAD_LENGTH + 1])
    body_at = at + ip.V6_HEADER_LEN
    for _ in range(_EXTENSIONS_MAX):
        if protocol not in _EXTENSIONS or body_at + ip.EXT_UNIT > end:
            break
        protocol, size = buf[body_at + ip.EXT_NEXT_HEADER], (buf[body_at + ip.EXT_LENGTH] + 1) * ip.EXT_UNIT
        body_at += size
    if protocol not in (ip.PROTO_ICMPV6, PROTO_PIM) or not body_at <= body_end <= end:
        return None
    source = bytes(buf[at + ip.V6_SOURCE : at + ip.V6_DESTINATION])
    destination = bytes(buf[at + ip.V6_DESTINATION : at + ip.V6_HEADER_LEN])
    if protocol == PROTO_PIM:
        return _pim(6, bytes(buf[body_at:body_end]), destination)
    if not multicast.is_group(destination) or body_at == body_end or buf[body_at] not in mld.TYPES:
        return None
    message = mld.parse(bytes(buf[body_at:body_end]), source, destination)
    return message._replace(router=False) if message is not None and source == STAND_IN_IP6 else message


def _pim(family: int, body: bytes, destination: bytes) -> Message | None:
    """A router says hello to its neighbours. Its checksum is not asked: a hello too many costs copies, no frame."""
    return Message(ROUTER, family) if destination in PIM_GROUPS and body[:1] == bytes((PIM_HELLO,)) else None


def query_frame(family: int, group: bytes, response: float, interval: float, robustness: int) -> bytes:
    """The stand-in's query about one group or about all (empty), as an Ethernet frame. Times in seconds."""
    to = group or ALL_HOSTS[family]
    addresses = multicast.mac_of(to) + STAND_IN
    if family == 4:
        body = igmp.query(group, response, interval, robustness)
        return addresses + ethernet.ETH_P_IP.to_bytes(2) + _head_v4(len(body), to) + body
    source = STAND_IN_IP6
    body = _ROUTER_ALERT_V6 + mld.query(group, response, interval, robustness, source, to)
    head = _HEAD_V6.pack(6 << 28, len(body), ip.PROTO_HOP_BY_HOP, 1, source, to)
    return addresses + ethernet.ETH_P_IPV6.to_bytes(2) + head + body


def _head_v4(size: int, to: bytes) -> bytes:
    """An IPv4 header with router alert, TTL 1 (RFC 3376 section 4), from nobody."""
    header_len = ip.V4_HEADER_LEN + len(_ROUTER_ALERT_V4)
    fields = (4 << 4 | header_len // 4, _CONTROL, header_len + size, 0, ip.V4_DF, 1, PROTO_IGMP)
    head = bytearray(_HEAD_V4.pack(*fields, 0, multicast.ANY[4], to) + _ROUTER_ALERT_V4)
    head[ip.V4_CHECKSUM : ip.V4_CHECKSUM + 2] = (0xFFFF - checksum.ones_complement(head)).to_bytes(2)
    return bytes(head)
