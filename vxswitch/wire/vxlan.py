"""The VXLAN header (RFC 7348 section 5): eight bytes between the outer UDP header and the inner Ethernet frame.

    flags 8 | reserved 24 | VNI 24 | reserved 8

Two 32-bit words, so that one unpack gives `check` and `vni_of` what they need. Of the 40 bits that are not the VNI one,
the I flag, must be set; the other 39 are sent as zero and ignored on receipt, unless the strict mode of the kernel's
driver is asked for, which drops on any of them.
"""

import struct
from typing import Final

UDP_PORT: Final = 4789  # RFC 7348 section 5, IANA "vxlan"

FLAGS: Final = 0
VNI: Final = 4
HEADER_LEN: Final = 8
Header: Final = struct.Struct("!II")  # flags word, VNI word

FLAG_I: Final = 0x08  # of the first byte: the VNI is valid
VNI_MIN: Final = 1
VNI_MAX: Final = 2**24 - 1

# What the outer headers add to an inner IP packet: IP + UDP 8 + VXLAN 8 + inner Ethernet 14.
OVERHEAD_V4: Final = 50
OVERHEAD_V6: Final = 70

OK: Final = 0
NO_I_FLAG: Final = 1
RESERVED_BITS: Final = 2

_I_BIT: Final = FLAG_I << 24
_RESERVED_FLAGS_WORD: Final = 0xFFFFFFFF ^ _I_BIT
_RESERVED_VNI_WORD: Final = 0xFF


def header(vni: int) -> bytes:
    """The eight bytes sent before every frame of a network. A VNI over VNI_MAX is refused with struct.error."""
    return Header.pack(_I_BIT, vni << 8)


def check(flags_word: int, vni_word: int, strict: bool) -> int:
    """Judge both header words as received: OK, NO_I_FLAG or (if strict) RESERVED_BITS, the I flag first."""
    if not flags_word & _I_BIT:
        return NO_I_FLAG
    if strict and (flags_word & _RESERVED_FLAGS_WORD or vni_word & _RESERVED_VNI_WORD):
        return RESERVED_BITS
    return OK


def vni_of(vni_word: int) -> int:
    """The network identifier in the second header word."""
    return vni_word >> 8
