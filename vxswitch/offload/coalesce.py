"""Joining: the run of rows that came from a VTEP into super-frames for a TAP.

    lead      can this row be the first of a super-frame at all: whole IP packet, no fragment, TCP with ACK alone
    count     how many rows can follow: FIN or PSH ends the super-frame, a row before last that is short does not exist
    demand    write the header rows and transport checksums that the cutter would write for such a super-frame
    compare   with what came, byte for byte; the rows up to the first difference are one
    write     virtio_net_hdr, one header, the payload of all rows

Demanding equality proves everything in one comparison: one flow, one VNI, contiguous sequence numbers, same window,
options, ToS and TTL, checksums right in every row. It is what the kernel's GRO asks (tcp_gro_receive, inet_gro_receive)
and a little more, so that cutting the joined frame gives the rows back. One thing alone is not kept: atomic datagrams
(DF) that all carry one IPv4 ID are joined, as GRO does, and counted up when the kernel cuts them (RFC 6864 4.1).

Rows whose checksum is only the pseudo-header sum, as a kernel VXLAN peer on a virtual underlay sends them, are joined
as well: NEEDS_CSUM says of the joined frame what holds for each of them.
"""

from typing import Final

import numpy as np

from vxswitch.offload.arena import ROW_ARENA, Arena, Run
from vxswitch.offload.checksum import FIELD, MODULUS, complete, row_sums, swap
from vxswitch.offload.headers import U16, U32, HeaderRows, Shape
from vxswitch.offload.packet import V4_TRANSPORT, plain_transport, pseudo_sum
from vxswitch.wire import ethernet, ip, transport, virtio, vxlan
from vxswitch.wire.checksum import fold, ones_complement

ALONE: Final = (1, 0)

# A kernel before 6.9 refuses UDP super-frames of more segments, and no kernel's GRO delivers more (UDP_MAX_SEGMENTS,
# linux/udp.h, checked in virtio_net_hdr_to_skb; UDP_GRO_CNT_MAX, net/ipv4/udp_offload.c).
_UDP_ROWS_MAX: Final = 64
_PACKET_MAX: Final = 0xFFFF  # what an IP length field can say

_NETWORK: Final = vxlan.HEADER_LEN + ethernet.HEADER_LEN
_BYTE: Final = np.dtype(np.uint8)
_LAST_ONLY: Final = transport.TCP_FIN | transport.TCP_PSH
_LEAD_FLAGS: Final = (transport.TCP_ACK, transport.TCP_ACK | transport.TCP_ECE)


class Joiner:
    """Joins runs, one call per super-frame. Keeps nothing between calls but its scratch memory."""

    __slots__ = ("_rows", "_sums")

    def __init__(self) -> None:
        self._rows = HeaderRows(ROW_ARENA)
        self._sums = np.zeros(ROW_ARENA // _NETWORK, np.uint32)

    def join(self, run: Run, first_row: int, out: Arena, uso: bool) -> tuple[int, int]:
        """Join as many rows as are one super-frame, beginning with `first_row`: (rows consumed, bytes written).

        What is written stands at the start of `out`: virtio_net_hdr (10 bytes) and frame. (1, 0) means that this row
        is joined with none: the caller writes it as it came. `uso`: this TAP takes UDP super-frames.
        """
        size = run.size
        at = run.start + first_row * size
        if first_row + 1 >= run.count:
            return ALONE
        lead = self._lead(run.view, at, size, uso)
        if lead is None:
            return ALONE
        shape, pseudo = lead
        count, width, flags = self._count(shape, run, first_row, out)
        if count < 2 or not self._demand(shape, run, at, count, width, flags):
            return ALONE
        self._sum(shape, run, at, count, width, pseudo)
        equal = _equal(shape, run, at, count)
        if equal < 2:
            return ALONE
        if equal < count:
            count, width, flags = equal, size, 0
        return count, _write(shape, run, at, count, width, flags, pseudo, out)

    def _lead(self, view: memoryview, at: int, size: int, uso: bool) -> tuple[Shape, int] | None:
        """If others can be joined to the row at `at`: its shape and its pseudo-header sum."""
        frame = at + vxlan.HEADER_LEN
        length = size - vxlan.HEADER_LEN
        first, protocol = plain_transport(view, frame, length)
        if protocol == ip.PROTO_TCP:
            own = (view[frame + first + transport.TCP_DATA_OFFSET] >> 4) * 4
            if own < transport.TCP_HEADER_LEN or view[frame + first + transport.TCP_FLAGS] not in _LEAD_FLAGS:
                return None
        elif protocol == ip.PROTO_UDP and uso:
            own = transport.UDP_HEADER_LEN
            if U16.unpack_from(view, frame + first + transport.UDP_LENGTH)[0] != length - first:
                return None
        else:
            return None
        network = frame + ethernet.HEADER_LEN
        ipv4 = first == V4_TRANSPORT
        if first + own >= length or (ipv4 and ones_complement(view[network : frame + first]) != MODULUS):
            return None
        to_row = vxlan.HEADER_LEN
        shape = self._rows.shape(_NETWORK, to_row + first, to_row + first + own, ipv4, protocol == ip.PROTO_TCP)
        return shape, pseudo_sum(view, frame, length, first, protocol)

    def _count(self, shape: Shape, run: Run, first_row: int, out: Arena) -> tuple[int, int, int]:
        """How many rows may be one super-frame, the width of the last in bytes, and FIN and PSH of the last."""
        size = run.size
        length = shape.length
        count = run.count - first_row
        room = min(_PACKET_MAX + _NETWORK, out.size - virtio.HEADER_LEN + vxlan.HEADER_LEN)
        most = (room - length) // (size - length)
        if count > most:
            count = most
        flags = 0
        if shape.tcp:
            first = run.start + first_row * size + shape.transport + transport.TCP_FLAGS
            seen = run.array[first : run.start + run.total : size].tobytes()
            same = len(seen) - len(seen.lstrip(seen[:1]))
            if same < count:
                count = same
                if same < len(seen) and seen[same] | _LAST_ONLY == seen[0] | _LAST_ONLY:
                    flags = seen[same] & _LAST_ONLY
                    count += 1
        elif count > _UDP_ROWS_MAX:
            count = _UDP_ROWS_MAX
        width = size
        if first_row + count == run.count:
            width = run.total - (run.count - 1) * size
            if width <= length:
                return count - 1, size, 0
        return count, width, flags

    def _demand(self, shape: Shape, run: Run, at: int, count: int, width: int, flags: int) -> bool:
        """Write the headers that these rows must have. False if already the second row cannot follow the first."""
        view = run.view
        size = run.size
        length = shape.length
        shape.repeat(count, run.array, at)
        if shape.ipv4 and not _number(shape, view, at, size, count):
            return False
        last = (count - 1) * length
        if shape.tcp:
            sequence = at + shape.transport + transport.TCP_SEQUENCE
            first = U32.unpack_from(view, sequence)[0]
            if (U32.unpack_from(view, sequence + size)[0] - first) & 0xFFFFFFFF != size - length:
                return False
            shape.advance(count, first, size - length)
            shape.view[last + shape.transport + transport.TCP_FLAGS] |= flags
        if width != size:
            shape.resize(shape.view, last, width - size, width)
        return True

    def _sum(self, shape: Shape, run: Run, at: int, count: int, width: int, pseudo: int) -> None:
        """Write the transport checksums that these rows must have; `pseudo`: pseudo-header sum of a full row."""
        array = run.array
        size = run.size
        missing = size - width
        if U16.unpack_from(run.view, at + shape.checksum)[0] == pseudo:
            if missing:  # rows with partial checksums: the demanded headers hold the first row's already
                last = (count - 1) * shape.length + shape.checksum
                U16.pack_into(shape.view, last, fold(pseudo - missing + MODULUS))
            return
        sums = self._sums[:count]
        first = at + shape.transport
        covered = size - shape.transport
        if missing:
            row_sums(array, first, size, covered, sums[:-1])
            row_sums(array, first + (count - 1) * size, size, covered - missing, sums[-1:])
            sums[-1] += swap(MODULUS - missing)  # ones' complement of what its pseudo-header lacks
        else:
            row_sums(array, first, size, covered, sums)
        came = np.ndarray((count,), FIELD, array, at + shape.checksum, (size,))
        np.subtract(sums, came, out=sums)
        complete(sums, swap(pseudo), not shape.tcp)
        shape.checksums[:count] = sums


def _number(shape: Shape, view: memoryview, at: int, size: int, count: int) -> bool:
    """Number the demanded IPv4 headers as the first two rows do: one up each, or atomic and all alike."""
    network = at + shape.network
    first = U16.unpack_from(view, network + ip.V4_ID)[0]
    advance = (U16.unpack_from(view, network + size + ip.V4_ID)[0] - first) & 0xFFFF
    if advance == 0:
        return bool(U16.unpack_from(view, network + ip.V4_FRAGMENT)[0] & ip.V4_DF)
    if advance != 1:
        return False
    rest = -first - U16.unpack_from(view, network + ip.V4_CHECKSUM)[0]
    shape.number(count, first, rest % MODULUS)
    return True


def _equal(shape: Shape, run: Run, at: int, count: int) -> int:
    """How many of the rows begin with exactly the demanded headers."""
    came = shape.column(count, run.array, at, run.size)
    demanded = shape.rows[:count]
    if came.tobytes() == demanded.tobytes():
        return count
    return int((came != demanded).argmax())


def _write(shape: Shape, run: Run, at: int, count: int, width: int, flags: int, pseudo: int, out: Arena) -> int:
    """Write the super-frame of `count` rows, the last of `width` bytes, into `out`; returns the bytes written."""
    size = run.size
    step = size - shape.length
    head = virtio.HEADER_LEN + shape.length - vxlan.HEADER_LEN  # where the payload begins
    payload = (count - 1) * step + width - shape.length
    gso_type = virtio.GSO_UDP_L4 if not shape.tcp else virtio.GSO_TCPV4 if shape.ipv4 else virtio.GSO_TCPV6
    view = out.view
    virtio.HEADER.pack_into(
        view,
        0,
        virtio.F_NEEDS_CSUM,
        gso_type,
        shape.length - vxlan.HEADER_LEN,
        step,
        shape.transport - vxlan.HEADER_LEN,
        shape.checksum - shape.transport,
    )
    view[virtio.HEADER_LEN : head] = run.view[at + vxlan.HEADER_LEN : at + shape.length]
    row = virtio.HEADER_LEN - vxlan.HEADER_LEN  # where a row would begin that held this frame
    shape.resize(view, row, payload - step, shape.length + payload)
    U16.pack_into(view, row + shape.checksum, fold(pseudo + payload - step))
    if shape.tcp:
        view[row + shape.transport + transport.TCP_FLAGS] |= flags
    full = count if width == size else count - 1
    source = np.ndarray((full, step), _BYTE, run.array, at + shape.length, (size, 1))
    np.ndarray((full, step), _BYTE, out.array, head, (step, 1))[...] = source
    if full < count:
        tail = at + full * size
        out.array[head + full * step : head + payload] = run.array[tail + shape.length : tail + width]
    return head + payload
