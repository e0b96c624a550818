"""virtio_net_hdr: what the kernel says about a frame on a TAP with IFF_VNET_HDR (linux/virtio_net.h).

Ten bytes before every frame, in host order, in both directions. They say whether the transport checksum is still to be
finished (NEEDS_CSUM: the field at csum_start + csum_offset holds the pseudo-header sum) and whether the frame is a
super-frame to be cut into segments of gso_size payload bytes (gso_type). `check` judges a header as read, before
anything trusts it: a packet socket in a container has its say in these fields.
"""

import struct
from typing import Final

from vxswitch.wire import ethernet, transport

HEADER: Final = struct.Struct("=BBHHHH")  # flags, gso_type, hdr_len, gso_size, csum_start, csum_offset
HEADER_LEN: Final = 10
NONE: Final = bytes(HEADER_LEN)  # an ordinary frame, its checksum finished

F_NEEDS_CSUM: Final = 1
F_DATA_VALID: Final = 2

GSO_NONE: Final = 0
GSO_TCPV4: Final = 1
GSO_UDP: Final = 3  # IP fragmentation offload (UFO), never negotiated
GSO_TCPV6: Final = 4
GSO_UDP_L4: Final = 5  # one UDP datagram per segment (USO)
GSO_ECN: Final = 0x80  # or-ed to TCPV4 or TCPV6: CWR is set, and belongs to the first segment alone

OK: Final = 0
BAD_VNET_HDR: Final = 1
UNSUPPORTED_GSO: Final = 2

_CHECKSUM_LEN: Final = 2
# gso_type -> what its transport header must be: (csum_offset, least length in bytes).
_TCP: Final = (transport.TCP_CHECKSUM, transport.TCP_HEADER_LEN)
_UDP: Final = (transport.UDP_CHECKSUM, transport.UDP_HEADER_LEN)
_SUPPORTED_GSO: Final = {
    GSO_TCPV4: _TCP,
    GSO_TCPV6: _TCP,
    GSO_TCPV4 | GSO_ECN: _TCP,
    GSO_TCPV6 | GSO_ECN: _TCP,
    GSO_UDP_L4: _UDP,
}


def check(
    flags: int, gso_type: int, hdr_len: int, gso_size: int, csum_start: int, csum_offset: int, length: int
) -> int:
    """Judge a header, its fields in their order, for a frame of `length` bytes: OK, BAD_VNET_HDR or UNSUPPORTED_GSO.

    Unsupported is a gso_type that nobody here can cut. Bad is: a checksum field outside the frame or inside the
    Ethernet header; a super-frame without gso_size, without NEEDS_CSUM, or whose checksum field is not its
    transport's. Without NEEDS_CSUM the checksum fields mean nothing. `hdr_len` is a hint that the kernel itself does
    not trust: not judged.
    """
    if flags & F_NEEDS_CSUM and (csum_start < ethernet.HEADER_LEN or csum_start + csum_offset + _CHECKSUM_LEN > length):
        return BAD_VNET_HDR
    if gso_type == GSO_NONE:
        return OK
    transport_header = _SUPPORTED_GSO.get(gso_type)
    if transport_header is None:
        return UNSUPPORTED_GSO
    expected_offset, least = transport_header
    if not flags & F_NEEDS_CSUM or gso_size == 0 or csum_offset != expected_offset or csum_start + least > length:
        return BAD_VNET_HDR
    return OK
