"""The Internet checksum (RFC 1071) on bytes, by one big-integer remainder instead of a loop.

2**16 is 1 modulo 65535, so the number that a byte string spells has the same remainder as the sum of its 16-bit words:
`int.from_bytes(data) % 65535` is the end-around-carry sum, in two C calls. The string is read as *little*-endian for
two reasons: an odd last byte then stands in the low half of its word with a zero after it, as RFC 1071 pads it (big
endian would pad at the front); and the words come out byte-swapped, which the sum commutes with (RFC 1071 section 2 B),
so that one swap at the end, or a little-endian store, gives the network's order on any machine.

The remainder cannot tell 0 from 0xFFFF, two names of one value. The end-around carry yields 0 only for all-zero data;
`fold` says the same, so every result equals the kernel's bit for bit.
"""

from typing import Final

from vxswitch.wire import Readable, Writable, transport

_MODULUS: Final = 0xFFFF
_CHECKSUM_LEN: Final = 2


def fold(total: int) -> int:
    """Fold a sum of 16-bit words, or of anything congruent to it, into 16 bits. 0 only for 0."""
    return total % _MODULUS or (_MODULUS if total else 0)


def ones_complement(data: Readable) -> int:
    """The ones' complement sum of `data` as 16-bit network words, 0..0xFFFF; an odd last byte is padded with zero.

    A header whose checksum is right sums to 0xFFFF; the checksum of one whose field is zero is 0xFFFF - sum.
    """
    swapped = fold(int.from_bytes(data, "little"))
    return (swapped & 0xFF) << 8 | swapped >> 8


def pseudo_header(addresses: Readable, protocol: int, length: int) -> int:
    """Folded sum of a TCP or UDP pseudo-header, not inverted: what a NEEDS_CSUM frame carries in its checksum field.

    `addresses`: source and destination as they stand in the header, 8 bytes (IPv4, RFC 9293 section 3.1) or 32 (IPv6,
    RFC 8200 section 8.1): both layouts add up to the same three terms. `length`: transport header and payload, bytes.
    """
    return fold(ones_complement(addresses) + protocol + length)


def complete(buf: Writable, start: int, length: int, csum_start: int, csum_offset: int) -> bool:
    """Finish a partial (NEEDS_CSUM) checksum of the frame at `start` in place.

    The field at csum_start + csum_offset holds the pseudo-header sum; what it covers runs from csum_start to the end of
    the frame. Offsets as in virtio_net_hdr, from the start of the frame. Zero becomes 0xFFFF for UDP, where zero means
    "none" (RFC 768). False, and nothing written, if the field is not inside the frame.
    """
    if csum_start < 0 or csum_offset < 0 or csum_start + csum_offset + _CHECKSUM_LEN > length:
        return False
    first = start + csum_start
    total = fold(int.from_bytes(memoryview(buf)[first : start + length], "little"))
    result = _MODULUS - total
    if result == 0 and csum_offset == transport.UDP_CHECKSUM:
        result = _MODULUS
    field = first + csum_offset
    buf[field] = result & 0xFF  # the sum is byte-swapped: storing it little-endian swaps it back
    buf[field + 1] = result >> 8
    return True


def update(old_csum: int, old_word: int, new_word: int) -> int:
    """The checksum after one 16-bit word of what it covers changed (RFC 1624 section 3, equation 3).

    All three in network words. An old checksum that was off by some amount stays off by that amount.
    """
    return _MODULUS - fold((_MODULUS - old_csum) + (_MODULUS - old_word) + new_word)
