"""Deciding once per inner flow: a cached decision, when it still holds, and where it is kept.

The key is the bytes that decide (``wire.flow.KEY_V4``, ``KEY_V6``): addresses, ports, protocol, ToS, fragment bits;
on receipt with the VXLAN header in front. Only unfragmented TCP, UDP and echo over plain IP headers is cached: for
all else those bytes are not a flow. A decision holds while the network's generation, and the hops of the two rows that
it was made from, are what they were; so no change of the table has to look for the decisions that it voids. For a
multicast group its ``Listeners`` stand in the place of the destination's row.

A cache is bounded and belongs to one port (or one sender): who fills it empties only his own.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from vxswitch.fdb import Hop, Row, Table
from vxswitch.groups import Listeners
from vxswitch.wire import ethernet, ip, virtio
from vxswitch.wire.flow import ECHO_V4, ECHO_V4_TYPES, ECHO_V6, ECHO_V6_TYPES, KEY_V4, KEY_V6
from vxswitch.wire.vxlan import HEADER_LEN

if TYPE_CHECKING:
    from vxswitch.dataplane.fan import Fan
    from vxswitch.dataplane.slot import Slot
    from vxswitch.dataplane.underlay import Path

MAX_FLOWS = 4096
_MISSES_MAX = 8  # a flow that cannot be joined costs one attempt in 256 frames
FlowKey = tuple[object, ...]

_RX_KEY_V4, _RX_KEY_V6, _RX_ECHO_V4, _RX_ECHO_V6 = (
    struct.Struct(f"!{HEADER_LEN}s" + key.format.lstrip("!<>=@")) for key in (KEY_V4, KEY_V6, ECHO_V4, ECHO_V6)
)

# From the vnet header on: all that KEY_V4 and KEY_V6 take, and the packet's length; identification, TTL and header
# checksum are skipped. (vnet header, Ethernet, version to length) (fragment bits) (protocol) (addresses, ports)
_LIKE_V4 = struct.Struct("28s 2x 2s x B 2x 12s")
# (vnet header, Ethernet, version to next header) (addresses, ports)
_LIKE_V6 = struct.Struct("31s x 36s")
_V4_FIRST = 0x45  # version 4, no options
_TYPE_HI, _TYPE_LO = ethernet.ETHERTYPE, ethernet.ETHERTYPE + 1
_IP = ethernet.HEADER_LEN
_V4_FRAGMENT = _IP + ip.V4_FRAGMENT
_V4_FRAGMENT_HI = ip.V4_FRAGMENTED >> 8
_V4_PROTOCOL = _IP + ip.V4_PROTOCOL
_V4_ICMP_TYPE = _IP + ip.V4_HEADER_LEN
_V6_NEXT = _IP + ip.V6_NEXT_HEADER
_V6_ICMP_TYPE = _IP + ip.V6_HEADER_LEN
_CACHED = frozenset((ip.PROTO_TCP, ip.PROTO_UDP))


class Flow:
    """One decision: from ``src`` at its hop to ``dst`` at ``hop``, by ``path`` if that is remote; or to a ``Fan``."""

    __slots__ = (
        "door_until",
        "dst",
        "dst_hop",
        "generation",
        "hop",
        "last",
        "longest",
        "misses",
        "path",
        "skip",
        "src",
        "src_hop",
        "table",
        "tos",
    )

    def __init__(
        self, table: Table, src: Row, dst: Row | Listeners, path: Path | None, tos: int = 0, fan: Fan | None = None
    ) -> None:
        assert src.hop is not None
        assert dst.hop is not None
        self.table = table
        self.generation = table.generation
        self.src = src
        self.src_hop: Hop = src.hop
        self.dst = dst
        self.dst_hop: Hop = dst.hop
        self.hop: Hop = dst.hop if fan is None else fan
        self.path = path
        self.tos = tos  # outer
        self.longest = (table.mtu if self.src_hop.local else table.mtu_in) + ethernet.HEADER_LEN

        self.last = 0  # length of the last small frame, vnet header included
        self.door_until = 0.0  # monotonic; until then its frames follow a super-frame that the kernel cuts
        self.misses = 0  # on receipt: how often in a row nothing could be joined
        self.skip = 0  # and for how many frames it is not tried again

    def joined(self, rows: int) -> None:
        """A join was tried and took ``rows`` rows: a flow that never joins is asked ever more rarely."""
        if rows > 1:
            self.misses = 0
        else:
            self.misses = min(self.misses + 1, _MISSES_MAX)
            self.skip = (1 << self.misses) - 1

    def holds(self) -> bool:
        """The decision is still the one that would be made now."""
        return (
            self.dst.hop is self.dst_hop and self.src.hop is self.src_hop and self.generation == self.table.generation
        )


class Like(NamedTuple):
    """Small frames that differ from each other in nothing that is looked at.

    ``n``: their length, vnet header included. ``csum``: csum_start and csum_offset of a checksum to be finished.
    """

    flow: Flow
    n: int
    csum: tuple[int, int] | None


class FlowCache(dict[FlowKey, Flow]):
    """Decisions by key; emptied when full, because what matters is back after one frame each.

    ``head``: how many bytes before the frame decide, too (0, or a VXLAN header's length).
    ``partial``: the sender, whose frames these are about, leaves inner checksums to be finished.
    """

    def __init__(self, head: int = 0) -> None:
        super().__init__()
        self.head = head
        self.likes: dict[FlowKey, Like] = {}
        self.partial = False
        self._v4, self._v6 = (_RX_KEY_V4, _RX_KEY_V6) if head else (KEY_V4, KEY_V6)
        self._echo_v4, self._echo_v6 = (_RX_ECHO_V4, _RX_ECHO_V6) if head else (ECHO_V4, ECHO_V6)

    def find(self, buf: memoryview, start: int, length: int) -> Flow | None:
        """The decision about the frame at ``start``, if there is one that still holds.

        Does not ask whether the frame is of a kind that is cached: the bytes that say so are in the key.
        """
        if length >= KEY_V4.size and buf[start + _TYPE_HI] == 0x08:
            flow = self.get(self._v4.unpack_from(buf, start - self.head))
            if flow is None and buf[start + _V4_PROTOCOL] == ip.PROTO_ICMP:
                flow = self.get(self._echo_v4.unpack_from(buf, start - self.head))
        elif length >= KEY_V6.size and buf[start + _TYPE_HI] == 0x86:
            flow = self.get(self._v6.unpack_from(buf, start - self.head))
            if flow is None and buf[start + _V6_NEXT] == ip.PROTO_ICMPV6:
                flow = self.get(self._echo_v6.unpack_from(buf, start - self.head))
        else:
            return None
        return flow if flow is not None and flow.holds() else None

    def another(self, view: memoryview, at: int, n: int) -> Like | None:
        """What is known of frames like the one at ``at``, of ``n`` bytes with its vnet header, if it still holds."""
        likes = self.likes
        like = likes.get(_LIKE_V4.unpack_from(view, at)) or likes.get(_LIKE_V6.unpack_from(view, at))
        return like if like is not None and like.n == n and like.flow.holds() else None

    def remember(self, slot: Slot, flow: Flow) -> None:
        """The small frame in the slot was in order; after two of one length, what is like them need not be judged."""
        n = slot.end - slot.at
        if flow.last != n:
            flow.last = n
            return
        view, start = slot.view, slot.start
        four = view[start + _TYPE_HI] == 0x08
        if view[start + (_V4_PROTOCOL if four else _V6_NEXT)] not in _CACHED:
            return
        if len(self.likes) >= MAX_FLOWS:
            self.likes.clear()
        csum = (slot.csum_start, slot.csum_offset) if slot.flags & virtio.F_NEEDS_CSUM else None
        self.likes[(_LIKE_V4 if four else _LIKE_V6).unpack_from(view, slot.at)] = Like(flow, n, csum)

    def keep(self, key: FlowKey, flow: Flow) -> None:
        """Remember a decision."""
        if len(self) >= MAX_FLOWS:
            self.clear()
            self.likes.clear()
        self[key] = flow


def flow_key(buf: bytearray | memoryview, start: int, length: int, head: int) -> FlowKey | None:
    """Key of the frame at ``start``, with the ``head`` (0, or a VXLAN header's length) bytes before it; None if it is
    of a kind that is not cached."""
    if length >= KEY_V4.size and buf[start + _TYPE_HI] == 0x08 and buf[start + _TYPE_LO] == 0:
        if buf[start + _IP] != _V4_FIRST or (
            buf[start + _V4_FRAGMENT] & _V4_FRAGMENT_HI or buf[start + _V4_FRAGMENT + 1]
        ):
            return None
        protocol = buf[start + _V4_PROTOCOL]
        if protocol in _CACHED:
            return (_RX_KEY_V4 if head else KEY_V4).unpack_from(buf, start - head)
        if protocol == ip.PROTO_ICMP and buf[start + _V4_ICMP_TYPE] in ECHO_V4_TYPES:
            return (_RX_ECHO_V4 if head else ECHO_V4).unpack_from(buf, start - head)
    elif length >= KEY_V6.size and buf[start + _TYPE_HI] == 0x86 and buf[start + _TYPE_LO] == 0xDD:
        protocol = buf[start + _V6_NEXT]
        if protocol in _CACHED:
            return (_RX_KEY_V6 if head else KEY_V6).unpack_from(buf, start - head)
        if protocol == ip.PROTO_ICMPV6 and buf[start + _V6_ICMP_TYPE] in ECHO_V6_TYPES:
            return (_RX_ECHO_V6 if head else ECHO_V6).unpack_from(buf, start - head)
    return None
