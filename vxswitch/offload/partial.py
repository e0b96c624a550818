"""Frames that a kernel VXLAN peer left to a device to finish: partial checksums, super-frames whole in one datagram.

On a virtual underlay (veth, as in namespaces, kind or LXD) nothing between the peer's TCP and here computes the inner
checksum or cuts the inner super-frame: the frame comes as the peer's stack made it, and virtio_net_hdr, which would say
so, stayed behind. What remains is the checksum field, in which CHECKSUM_PARTIAL (linux/skbuff.h) left the folded sum of
the pseudo-header, not complemented. From it the header is made again, and the TAP's kernel does the rest.

One frame in 65,536 has a finished checksum of just that value; called partial, and completed from it, its checksum
comes out the same. A corrupted frame cannot pass in this way but by the same chance, after the outer UDP checksum.

How the peer would have cut is not known: TCP is cut to the MTU of the port, which TCP does not mind. A UDP super-frame
cannot be told from one datagram that is too large, and is not restored.
"""

from typing import Final, TypeAlias

from vxswitch.offload.headers import U16
from vxswitch.offload.packet import V4_TRANSPORT, plain_transport, pseudo_sum
from vxswitch.wire import ethernet, ip, transport, virtio

# The fields of virtio_net_hdr in the order of wire.virtio.HEADER.
Fields: TypeAlias = tuple[int, int, int, int, int, int]

_CHECKSUM: Final = {ip.PROTO_TCP: transport.TCP_CHECKSUM, ip.PROTO_UDP: transport.UDP_CHECKSUM}


def is_partial(view: memoryview, start: int, length: int) -> bool:
    """True if the frame is TCP or UDP with no more than the pseudo-header sum in its checksum field.

    False for whatever cannot be judged here: fragments, IPv6 with extension headers, tags, padded or cut frames.
    """
    first, protocol = plain_transport(view, start, length)
    if first == 0:
        return False
    field = U16.unpack_from(view, start + first + _CHECKSUM[protocol])[0]
    return bool(field == pseudo_sum(view, start, length, first, protocol))


def gso_header(view: memoryview, start: int, length: int, mtu: int) -> Fields | None:
    """The virtio_net_hdr with which the frame, if its checksum is partial, goes to a TAP whose MTU is `mtu` bytes.

    None if it is not partial (it goes as it is), and if it is larger than the MTU but cannot be cut (it cannot go).
    """
    if not is_partial(view, start, length):
        return None
    first, protocol = plain_transport(view, start, length)
    if length <= ethernet.HEADER_LEN + mtu:
        return virtio.F_NEEDS_CSUM, virtio.GSO_NONE, 0, 0, first, _CHECKSUM[protocol]
    if protocol == ip.PROTO_UDP:
        return None
    headers = first + (view[start + first + transport.TCP_DATA_OFFSET] >> 4) * 4
    size = ethernet.HEADER_LEN + mtu - headers
    if headers < first + transport.TCP_HEADER_LEN or size <= 0:
        return None
    gso_type = virtio.GSO_TCPV4 if first == V4_TRANSPORT else virtio.GSO_TCPV6
    if view[start + first + transport.TCP_FLAGS] & transport.TCP_CWR:
        gso_type |= virtio.GSO_ECN
    return virtio.F_NEEDS_CSUM, gso_type, headers, size, first, transport.TCP_CHECKSUM
