"""The headers of all rows of one super-frame: one header repeated, and the columns in which the rows differ.

Cut by the kernel or here, segments of one super-frame have the same header but for these fields: the IPv4 ID counts up
(inet_gso_segment, net/ipv4/af_inet.c; RFC 6864 section 4.1 would let atomic datagrams keep one, but doing as the kernel
does costs half a microsecond), so the IPv4 checksum counts down; the TCP sequence number advances by the payload of a
row; flags differ in the first and the last row, lengths in the last. Transport checksums need the payload and are
filled in by whoever has summed it.

Where the columns stand depends on the layout alone, so they are made once per `Shape` and kept: a container speaks few
dialects. The table of shapes is bounded against one that invents IP options. All shapes share one memory, which holds
the header rows of one super-frame at a time.
"""

from struct import Struct
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vxswitch.offload.arena import Arena
from vxswitch.offload.checksum import FIELD, MODULUS
from vxswitch.wire import ip, transport

U16: Final = Struct("!H")
U32: Final = Struct("!I")

_MAX_SHAPES: Final = 64
_BE16: Final = np.dtype(">u2")
_BE32: Final = np.dtype(">u4")

# The columns of consecutive IDs are slices of these. _COUNTING[i] is i. _FALLING[i] is the checksum field of a header
# whose words add up to i (RFC 1071): its ID and the folded sum of the others, up to 65535 each.
_ID_COUNT: Final = 1 << 16
_COUNTING: Final = np.arange(_ID_COUNT).astype(_BE16)
_FALLING: Final = (-np.arange(2 * _ID_COUNT) % MODULUS).astype(_BE16)


class Shape:
    """Header rows of one layout.

    Offsets count from the start of a row: `network` of the IP header, `transport` of the TCP or UDP header, `checksum`
    of the field in it; `length` is that of all headers. `rows` has one item of `length` bytes (dtype `record`) for the
    headers of each row, `view` is the same memory as bytes, `checksums` the column of transport checksums in it, for
    numbers of `offload.checksum`.
    """

    __slots__ = (
        "_id_column",
        "_ip_checksum_column",
        "_sequence_column",
        "checksum",
        "checksums",
        "ipv4",
        "length",
        "network",
        "record",
        "rows",
        "tcp",
        "transport",
        "view",
    )

    def __init__(self, store: Arena, network: int, transport_at: int, length: int, ipv4: bool, tcp: bool) -> None:
        self.network = network
        self.transport = transport_at
        self.checksum = transport_at + (transport.TCP_CHECKSUM if tcp else transport.UDP_CHECKSUM)
        self.length = length
        self.ipv4 = ipv4
        self.tcp = tcp
        self.view = store.view
        self.record: np.dtype[np.void] = np.dtype((np.void, length))
        rows = store.size // length
        self.rows: npt.NDArray[np.void] = np.ndarray((rows,), self.record, store.array)

        def column(offset: int, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
            return np.ndarray((rows,), dtype, store.array, offset, (length,))

        self._id_column = column(network + ip.V4_ID, _BE16)
        self._ip_checksum_column = column(network + ip.V4_CHECKSUM, _BE16)
        self._sequence_column = column(transport_at + transport.TCP_SEQUENCE, _BE32)
        self.checksums = column(self.checksum, FIELD)

    def repeat(self, count: int, array: npt.NDArray[np.uint8], at: int) -> None:
        """Make `count` rows of the one header that stands at `at` in `array`."""
        self.rows[:count] = np.ndarray((1,), self.record, array, at)

    def column(self, count: int, array: npt.NDArray[np.uint8], at: int, stride: int) -> npt.NDArray[np.void]:
        """The headers of `count` rows in `array`, the first at `at`, each next `stride` bytes later, like `rows`."""
        return np.ndarray((count,), self.record, array, at, (stride,))

    def number(self, count: int, first_id: int, rest: int) -> None:
        """IDs of `count` IPv4 headers, counting from `first_id`; `rest`: folded sum of the other words of a header."""
        fit = min(count, _ID_COUNT - first_id)
        self._id_column[:fit] = _COUNTING[first_id : first_id + fit]
        self._ip_checksum_column[:fit] = _FALLING[rest + first_id : rest + first_id + fit]
        if fit < count:
            self._id_column[fit:count] = _COUNTING[: count - fit]
            self._ip_checksum_column[fit:count] = _FALLING[rest : rest + count - fit]

    def advance(self, count: int, first: int, step: int) -> None:
        """Sequence numbers of `count` TCP headers: `first`, then `step` more each, modulo 2**32 (RFC 9293 3.4)."""
        self._sequence_column[:count] = np.arange(first, first + count * step, step)

    def write_lengths(self, view: memoryview, at: int, width: int) -> None:
        """Write the IP and UDP lengths of a row of `width` bytes into its header, which starts at `at` in `view`."""
        network = at + self.network
        if self.ipv4:
            U16.pack_into(view, network + ip.V4_TOTAL_LENGTH, width - self.network)
        else:
            U16.pack_into(view, network + ip.V6_PAYLOAD_LENGTH, width - self.network - ip.V6_HEADER_LEN)
        if not self.tcp:
            U16.pack_into(view, at + self.transport + transport.UDP_LENGTH, width - self.transport)

    def resize(self, view: memoryview, at: int, grown: int, width: int) -> None:
        """Like `write_lengths`, for a row that grew by `grown` bytes (or shrank): its IPv4 checksum moves along."""
        self.write_lengths(view, at, width)
        if self.ipv4:
            field = at + self.network + ip.V4_CHECKSUM
            U16.pack_into(view, field, (U16.unpack_from(view, field)[0] - grown) % MODULUS)


class HeaderRows:
    """The memory for the header rows of one super-frame, and the shapes seen so far."""

    __slots__ = ("_shapes", "_store")

    def __init__(self, size: int) -> None:
        """`size`: bytes of all header rows of the largest super-frame."""
        self._store = Arena(size)
        self._shapes: dict[tuple[int, int, int, bool, bool], Shape] = {}

    def shape(self, network: int, transport_at: int, length: int, ipv4: bool, tcp: bool) -> Shape:
        """The shape of this layout, made when it is first asked for."""
        key = (network, transport_at, length, ipv4, tcp)
        shape = self._shapes.get(key)
        if shape is None:
            if len(self._shapes) >= _MAX_SHAPES:
                self._shapes.clear()
            shape = self._shapes[key] = Shape(self._store, network, transport_at, length, ipv4, tcp)
        return shape
