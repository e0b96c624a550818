"""One frame on its way from a TAP: where it lies in the burst buffer, and what its virtio_net_hdr said.

The layout, in one buffer: ``[virtio_net_hdr 10][frame]``, so the VXLAN header goes over the vnet header's last eight
bytes without moving anything. One Slot is used again for every frame; the bytes are borrowed until the next burst.
"""

from __future__ import annotations

from vxswitch.counters import ALIVE, Drop
from vxswitch.offload.arena import Arena
from vxswitch.wire import checksum, ethernet, transport, virtio

VNET_LEN = virtio.HEADER_LEN
_CHECKED = {virtio.OK: ALIVE, virtio.BAD_VNET_HDR: Drop.BAD_VNET_HDR, virtio.UNSUPPORTED_GSO: Drop.UNSUPPORTED_GSO}


class Slot:
    """``at`` vnet header, ``start`` frame, ``end`` (offsets); ``count`` wire frames of ``wire_bytes`` bytes in all."""

    __slots__ = (
        "arena",
        "at",
        "count",
        "csum_offset",
        "csum_start",
        "end",
        "flags",
        "gso_size",
        "gso_type",
        "longest",
        "start",
        "view",
        "wire_bytes",
    )

    def __init__(self, size: int) -> None:
        self.arena = Arena(size)
        self.view = self.arena.view
        self.at = self.start = self.end = 0
        self.count = 1
        self.wire_bytes = self.longest = 0
        self.flags = self.gso_type = self.gso_size = self.csum_start = self.csum_offset = 0

    def take(self, at: int, n: int) -> int:
        """A read of ``n`` bytes lies at ``at``: say what it is. ALIVE, or the reason why it is nothing."""
        self.at, self.start, self.end = at, at + VNET_LEN, at + n
        length = self.longest = self.wire_bytes = n - VNET_LEN
        self.count = 1
        self.flags = self.view[at]
        self.gso_type = self.view[at + 1]
        if length < ethernet.HEADER_LEN:
            return Drop.RUNT_FRAME
        if self.flags or self.gso_type:
            return self._offloaded(length)
        return ALIVE

    def _offloaded(self, length: int) -> int:
        flags, kind, hint, self.gso_size, self.csum_start, self.csum_offset = virtio.HEADER.unpack_from(
            self.view, self.at
        )
        verdict = _CHECKED[virtio.check(flags, kind, hint, self.gso_size, self.csum_start, self.csum_offset, length)]
        if verdict or self.gso_type == virtio.GSO_NONE:
            return verdict
        headers = self.csum_start + self._transport_len()
        payload = length - headers
        if payload < 0:
            return Drop.BAD_VNET_HDR
        self.count = max(1, -(-payload // self.gso_size))
        self.wire_bytes = length + (self.count - 1) * headers
        self.longest = min(length, headers + self.gso_size)
        return ALIVE

    def _transport_len(self) -> int:
        if self.gso_type == virtio.GSO_UDP_L4:
            return transport.UDP_HEADER_LEN
        return (self.view[self.start + self.csum_start + transport.TCP_DATA_OFFSET] >> 4) * 4

    def finish_checksum(self) -> None:
        """Complete a partial checksum in place: what leaves the host is whole. Super-frames: cutting does it."""
        if self.flags & virtio.F_NEEDS_CSUM and self.gso_type == virtio.GSO_NONE:
            checksum.complete(self.view, self.start, self.end - self.start, self.csum_start, self.csum_offset)
            self.flags = 0
            self.view[self.at : self.start] = virtio.NONE

    def strip_tags(self) -> int:
        """Remove leading VLAN tags, keeping the vnet header in front: the number removed, -1 if one is cut short."""
        shift = ethernet.strip_tags(self.view, self.start, self.end - self.start)
        if shift <= 0:
            return shift
        if self.flags & virtio.F_NEEDS_CSUM:
            self.csum_start -= shift
        header = virtio.HEADER.pack(self.flags, self.gso_type, 0, self.gso_size, self.csum_start, self.csum_offset)
        self.at += shift
        self.start += shift
        self.view[self.at : self.start] = header
        self.wire_bytes -= shift * self.count
        self.longest -= shift
        return shift // ethernet.TAG_LEN
