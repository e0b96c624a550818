"""Checksums that the frames of one run still lack, finished all at once when the run leaves.

A container's kernel leaves the checksum of a small frame to its device, too (virtio_net_hdr, NEEDS_CSUM). One sum at a
time costs as much as all else that happens to the frame; sums of equal frames at equal distances are one operation.
So the frames of one flow, read one behind the other, wait for it; any other frame is finished by itself, at once.
"""

from __future__ import annotations

import numpy as np

from vxswitch.dataplane.slot import VNET_LEN
from vxswitch.offload import checksum as sums_of_rows
from vxswitch.offload.arena import Arena
from vxswitch.wire import checksum, transport

_FEW = 8  # so many are as quick one by one
_MANY = 128  # frames of a run, linux/udp.h UDP_MAX_SEGMENTS

_sums = np.empty(_MANY, np.uint32)


class Unfinished:
    """The first ``count`` frames of a run, all of one length and with the checksum at one place.

    ``first``: where the vnet header of the first one stands in the arena; ``stride``: bytes from one to the next.
    """

    __slots__ = ("count", "csum", "first", "length", "stride")

    def __init__(self) -> None:
        self.count = self.first = self.length = self.stride = 0
        self.csum = (0, 0)

    def begin(self, at: int, n: int, csum: tuple[int, int]) -> None:
        """A run begins with an unfinished frame of ``n`` bytes at ``at``; ``csum``: csum_start and csum_offset."""
        self.count, self.first, self.length, self.csum = 1, at, n - VNET_LEN, csum

    def take(self, at: int, n: int, csum: tuple[int, int], waiting: int) -> bool:
        """Another such frame joins a run of ``waiting`` frames. False: it cannot be left for later."""
        count = self.count
        if count != waiting or n - VNET_LEN != self.length or csum != self.csum or count >= _MANY:
            return False
        if count == 1:
            self.stride = at - self.first
        elif at != self.first + count * self.stride:
            return False
        self.count = count + 1
        return True

    def finish(self, arena: Arena) -> None:
        """Complete them in place."""
        count, self.count = self.count, 0
        begin, offset = self.csum
        first, stride = self.first + VNET_LEN, self.stride
        if count < _FEW:
            for at in range(first, first + count * stride, stride) if count > 1 else (first,):
                checksum.complete(arena.view, at, self.length, begin, offset)
            return
        sums = _sums[:count]
        sums_of_rows.row_sums(arena.array, first + begin, stride, self.length - begin, sums)
        sums_of_rows.complete(sums, 0, offset == transport.UDP_CHECKSUM)
        np.ndarray((count,), sums_of_rows.FIELD, arena.array, first + begin + offset, (stride,))[:] = sums
