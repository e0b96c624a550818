"""Cutting: a super-frame as a TAP gives it into the run of rows that goes to a VTEP.

    judge     what virtio_net_hdr claims against what the bytes say; hdr_len is never asked for
    template  the header of a full row: its lengths, FIN, PSH and CWR cleared, pseudo-header sum in the checksum field
    stamp     that header once per row, then what is special about the first and the last
    scatter   headers and payload into the row arena
    checksum  one sum over the transport part of every row, complemented into its field

What comes out is, byte for byte, what tcp_gso_segment and __udp_gso_segment (net/ipv4/tcp_offload.c, udp_offload.c)
make of the same super-frame. As there, the pseudo-header sum is the one that the sender left in the checksum field,
with only its length term changed: under an IPv6 routing header the addresses at hand are not those that were summed.

All rows come out at once and stand contiguous, so that the caller can send them in as many pieces as it must. The row
arena is the cutter's own: a run is borrowed until the next cut.
"""

from typing import Final

import numpy as np

from vxswitch.offload.arena import ROW_ARENA, Arena, Run
from vxswitch.offload.checksum import FIELD, MODULUS, complete, row_sums
from vxswitch.offload.headers import U16, U32, HeaderRows, Shape
from vxswitch.wire import ethernet, ip, transport, virtio, vxlan
from vxswitch.wire.checksum import ones_complement

OK: Final = 0
BAD: Final = 1  # virtio_net_hdr and frame contradict each other
UNSUPPORTED: Final = 2  # another gso_type, more headers than HEADER_MAX, or more rows than ROW_ARENA holds

# Headers of a row, VXLAN included. IPv4 has at most 8 + 14 + 60 + 60; the rest is for tags and IPv6 extensions.
HEADER_MAX: Final = 512
_ROW_MIN: Final = vxlan.HEADER_LEN + ethernet.HEADER_LEN + ip.V4_HEADER_LEN + transport.UDP_HEADER_LEN + 1
_PACKET_MAX: Final = 0xFFFF  # what an IP length field can say

_BYTE: Final = np.dtype(np.uint8)
_LAST_ONLY: Final = transport.TCP_FIN | transport.TCP_PSH
_FIRST_ONLY: Final = transport.TCP_CWR  # RFC 3168 section 6.1.2
_ON_ALL: Final = 0xFF ^ _LAST_ONLY ^ _FIRST_ONLY
_TAGS: Final = (ethernet.ETH_P_8021Q, ethernet.ETH_P_8021AD)

# gso_type -> TCP or UDP, and the ethertypes that may carry it with the IP version they promise.
_V4: Final = {ethernet.ETH_P_IP: 4}
_V6: Final = {ethernet.ETH_P_IPV6: 6}
_KINDS: Final = {
    virtio.GSO_TCPV4: (True, _V4),
    virtio.GSO_TCPV4 | virtio.GSO_ECN: (True, _V4),
    virtio.GSO_TCPV6: (True, _V6),
    virtio.GSO_TCPV6 | virtio.GSO_ECN: (True, _V6),
    virtio.GSO_UDP_L4: (False, _V4 | _V6),
}


class Cutter:
    """Cuts super-frames, one at a time. Owns the row arena; takes and keeps nothing of the caller's."""

    __slots__ = ("_arena", "_head", "_rows", "_sums")

    def __init__(self) -> None:
        self._arena = Arena(ROW_ARENA)
        self._rows = HeaderRows(ROW_ARENA)
        self._head = Arena(HEADER_MAX)
        self._sums = np.zeros(ROW_ARENA // _ROW_MIN, np.uint32)

    def cut(
        self,
        buf: Arena,
        start: int,
        length: int,
        gso_type: int,
        gso_size: int,
        csum_start: int,
        csum_offset: int,
        header: bytes,
        run: Run,
    ) -> int:
        """Cut the frame of `length` bytes at `start` in `buf` and point `run` at its rows: OK, BAD or UNSUPPORTED.

        `gso_size` (payload bytes per row) and the rest are the fields of virtio_net_hdr; `header` is the VXLAN header
        of every row. Rows and run are borrowed until the next cut; after another verdict than OK the run is as it was.
        """
        kind = _KINDS.get(gso_type)
        if kind is None:
            return UNSUPPORTED
        tcp, families = kind
        network, inner = _headers(buf.view, start, length, csum_start, csum_offset, tcp, families)
        payload = length - inner
        if inner == 0 or payload <= 0 or gso_size <= 0 or length - network > _PACKET_MAX:
            return BAD
        at = vxlan.HEADER_LEN
        headers = at + inner
        step = min(gso_size, payload)
        count = -(-payload // step)
        size = headers + step
        if headers > HEADER_MAX or count * size > ROW_ARENA:
            return UNSUPPORTED
        ipv4 = buf.view[start + network] >> 4 == 4
        shape = self._rows.shape(at + network, at + csum_start, headers, ipv4, tcp)
        self._head.view[:at] = header
        self._head.view[at:headers] = buf.view[start : start + inner]
        total = count * headers + payload
        self._stamp(shape, count, size, at + length, total)
        self._scatter(shape, count, size, buf, start + inner, total)
        self._finish(shape, count, size)
        run.fill(self._arena, 0, size, total)
        return OK

    def _stamp(self, shape: Shape, count: int, size: int, whole: int, total: int) -> None:
        """Write all header rows. `whole`: VXLAN header and super-frame; `total`: bytes of all rows of `size` bytes."""
        head = self._head.view
        field = shape.checksum
        partial = U16.unpack_from(head, field)[0] + size - whole
        U16.pack_into(head, field, partial % MODULUS)
        shape.write_lengths(head, 0, size)
        flags_at = shape.transport + transport.TCP_FLAGS
        flags = head[flags_at]
        if shape.tcp:
            head[flags_at] = flags & _ON_ALL
        shape.repeat(count, self._head.array, 0)
        if shape.ipv4:
            self._number(shape, count)
        last = (count - 1) * shape.length
        if shape.tcp:
            shape.advance(
                count, U32.unpack_from(head, shape.transport + transport.TCP_SEQUENCE)[0], size - shape.length
            )
            shape.view[flags_at] |= flags & _FIRST_ONLY
            shape.view[last + flags_at] |= flags & _LAST_ONLY
        missing = count * size - total
        if missing:
            shape.resize(shape.view, last, -missing, size - missing)
            U16.pack_into(shape.view, last + field, (partial - missing) % MODULUS)

    def _number(self, shape: Shape, count: int) -> None:
        head = self._head.view
        network = shape.network
        end = network + (head[network + ip.V4_VERSION_IHL] & 0x0F) * 4
        first_id = U16.unpack_from(head, network + ip.V4_ID)[0]
        rest = ones_complement(head[network:end]) - first_id - U16.unpack_from(head, network + ip.V4_CHECKSUM)[0]
        shape.number(count, first_id, rest % MODULUS)

    def _scatter(self, shape: Shape, count: int, size: int, buf: Arena, payload: int, total: int) -> None:
        """Copy headers and payload (from `payload` on in `buf`) into the rows; a short last row is padded with zero."""
        rows = self._arena.array
        length = shape.length
        step = size - length
        full = total // size
        shape.column(count, rows, 0, size)[...] = shape.rows[:count]
        np.ndarray((full, step), _BYTE, rows, length, (size, 1))[...] = np.ndarray(
            (full, step), _BYTE, buf.array, payload, (step, 1)
        )
        if full < count:
            payload += full * step
            tail = full * size + length
            rows[tail:total] = buf.array[payload : payload + total - tail]
            rows[total : count * size] = 0

    def _finish(self, shape: Shape, count: int, size: int) -> None:
        """Complete the transport checksums: every row's field holds its pseudo-header sum."""
        rows = self._arena.array
        sums = self._sums[:count]
        row_sums(rows, shape.transport, size, size - shape.transport, sums)
        complete(sums, 0, not shape.tcp)
        np.ndarray((count,), FIELD, rows, shape.checksum, (size,))[...] = sums


def _headers(
    view: memoryview, start: int, length: int, csum_start: int, csum_offset: int, tcp: bool, families: dict[int, int]
) -> tuple[int, int]:
    """Offset of the IP header and length of all headers, from the start of the frame; (0, 0) if they make no sense.

    The length is what the headers say: options may reach beyond the frame.

    The IP header stands behind any tags, the transport header at csum_start: for IPv4 that must be where the IP header
    ends, for IPv6 there may be extension headers in between.
    """
    network = ethernet.HEADER_LEN
    room = length - csum_start - (transport.TCP_HEADER_LEN if tcp else transport.UDP_HEADER_LEN)
    if csum_start < network + ip.V4_HEADER_LEN or room < 0:
        return 0, 0
    if csum_offset != (transport.TCP_CHECKSUM if tcp else transport.UDP_CHECKSUM):
        return 0, 0
    ethertype = U16.unpack_from(view, start + ethernet.ETHERTYPE)[0]
    while ethertype in _TAGS and network < csum_start:
        network += ethernet.TAG_LEN
        ethertype = U16.unpack_from(view, start + network - 2)[0]
    between = csum_start - network
    version = view[start + network] >> 4
    if version != families.get(ethertype):
        return 0, 0
    if version == 4:
        if between < ip.V4_HEADER_LEN or between != (view[start + network] & 0x0F) * 4:
            return 0, 0
    elif between < ip.V6_HEADER_LEN or between % ip.EXT_UNIT:
        return 0, 0
    if not tcp:
        return network, csum_start + transport.UDP_HEADER_LEN
    own = (view[start + csum_start + transport.TCP_DATA_OFFSET] >> 4) * 4
    if own < transport.TCP_HEADER_LEN:
        return 0, 0
    return network, csum_start + own
