"""The Internet checksum (RFC 1071) of many rows at once.

The 16-bit words of every row are summed into 32 bits by one reduction, then folded: 2**16 is 1 modulo 65535, so one
remainder does all end-around carries. Words are read as *little*-endian: an odd last byte is then a word with a zero
after it, as RFC 1071 pads it, and swapping bytes commutes with the sum (section 2 B), so that a little-endian sum,
stored little-endian, is the network's checksum on any machine. Rows may start at any address and have any stride.

Numbers here are such byte-swapped words; `swap` turns a host-order word into one. `wire.checksum` sums a single frame.
"""

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

MODULUS: Final = 0xFFFF
FIELD: Final = np.dtype("<u2")  # a 16-bit word as summed, and a checksum field
_BYTE: Final = np.dtype(np.uint8)
_WORD_LEN: Final = 2
# The greatest multiple of the modulus in 32 bits. A row of 65,535 bytes sums up to half of it: neither overflows.
_ABOVE: Final = MODULUS * MODULUS

Sums: TypeAlias = npt.NDArray[np.uint32]


def swap(word: int) -> int:
    """The 16-bit word with its bytes exchanged."""
    return (word & 0xFF) << 8 | word >> 8


def row_sums(array: npt.NDArray[np.uint8], start: int, stride: int, width: int, out: Sums) -> None:
    """Sum `width` bytes (2 to 65,535) of len(out) rows: the first begins at `start`, each next `stride` bytes later."""
    words = np.ndarray((len(out), width // _WORD_LEN), FIELD, array, start, (stride, _WORD_LEN))
    np.add.reduce(words, axis=1, dtype=np.uint32, out=out)
    if width % _WORD_LEN:
        np.add(out, np.ndarray((len(out),), _BYTE, array, start + width - 1, (stride,)), out=out)


def complete(sums: Sums, seed: int, udp: bool) -> None:
    """Turn each sum, with `seed` (0 to 65,535) added, into its checksum field, in place: the complement, folded.

    As the kernel writes it: the sum 65535 gives 0, and for UDP, where 0 means "none" (RFC 768), 0xFFFF. A sum that is
    nothing but zeros counts as 65535, too; under a pseudo-header there is none.
    """
    least = 1 if udp else 0
    np.subtract(_ABOVE - seed - least, sums, out=sums)
    np.remainder(sums, MODULUS, out=sums)
    if udp:
        np.add(sums, least, out=sums)
