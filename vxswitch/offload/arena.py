"""The buffers that frames live in, and the run, which says where the rows of one super-frame stand in such a buffer.

An arena is made once and used for ever. It is one piece of memory under two names: `array` for arithmetic, `view` for
struct, sockets and file descriptors. A run is made once, too, and filled anew for every super-frame that is cut and
every datagram that is received; it owns nothing, and what it points to is borrowed until its arena is next written.
"""

import numpy as np
import numpy.typing as npt

# The sizes that arenas of this project have, in bytes.
# One TAP read or write: a super-frame is at most one IP packet of 65,535 bytes (RFC 791 section 3.1; IPv6 without
# jumbograms, RFC 8200 section 3), and before it stand virtio_net_hdr (10), Ethernet (14) and tags (4 each).
FRAME_ARENA = 65_535 + 10 + 14 + 4 * 4
# One received run: UDP_GRO joins up to one UDP datagram of 65,507 bytes (linux/udp.h, RFC 768 with RFC 791).
DATAGRAM_ARENA = 65_535
# All rows of one super-frame. Linux TCP never uses an MSS under 48 bytes (TCP_MIN_SND_MSS, linux/tcp.h), of which 40
# may be options: 8,192 rows of 8 bytes of payload under 8 + 14 + 20 + 60 bytes of headers, 901,120 bytes. At an
# ordinary MSS only the first 70,000 bytes are ever touched; the kernel gives no memory to the rest.
ROW_ARENA = 1 << 20


class Arena:
    """A fixed buffer of `size` zeroed bytes: `array` (uint8, one dimension) and `view` are the same memory."""

    __slots__ = ("array", "size", "view")

    def __init__(self, size: int) -> None:
        self.array: npt.NDArray[np.uint8] = np.zeros(size, np.uint8)
        self.view: memoryview = self.array.data
        self.size = size


class Run:
    """Where the rows of one run stand. A mutable slot: made once, filled for every run, borrowed until the next.

    `arena`: the memory; `view` and `array`: the same memory, as the arena names it. `start`: offset of the first row.
    `size`: bytes per row, VXLAN header included. `total`: bytes of all rows. `count`: rows, of which the last holds
    `total - (count - 1) * size` bytes, 1 to `size`.
    """

    __slots__ = ("array", "count", "size", "start", "total", "view")

    def __init__(self, arena: Arena) -> None:
        self.array = arena.array
        self.view = arena.view
        self.start = self.size = self.total = self.count = 0

    def fill(self, arena: Arena, start: int, size: int, total: int) -> None:
        """Point at `total` bytes of rows of `size` bytes, from `start` on in `arena`. `size` must not be 0."""
        self.array = arena.array
        self.view = arena.view
        self.start = start
        self.size = size
        self.total = total
        self.count = -(-total // size)

    def row(self, index: int) -> memoryview:
        """The bytes of one row, borrowed like the run itself."""
        first = self.start + index * self.size
        return self.view[first : min(first + self.size, self.start + self.total)]
