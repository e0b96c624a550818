"""What coalescing and partial checksums ask of a received frame: is it exactly one plain TCP or UDP packet?

Plain is: no tag, no IPv4 options (as inet_gro_receive, net/ipv4/af_inet.c, wants it) or IPv6 extension headers, no
fragment, and an IP length that ends where the frame ends. Everything else is nobody's business here: it passes as it
came. `start` and `length` are those of the Ethernet frame in `view`.
"""

from typing import Final

from vxswitch.offload.headers import U16
from vxswitch.wire import ethernet, ip, transport
from vxswitch.wire.checksum import pseudo_header

V4_TRANSPORT: Final = ethernet.HEADER_LEN + ip.V4_HEADER_LEN
V6_TRANSPORT: Final = ethernet.HEADER_LEN + ip.V6_HEADER_LEN

_V4_PLAIN: Final = 0x45  # version 4, header of five 32-bit words
_V6_VERSION: Final = 6
_TRANSPORT_LEN: Final = {ip.PROTO_TCP: transport.TCP_HEADER_LEN, ip.PROTO_UDP: transport.UDP_HEADER_LEN}
_ADDRESSES_LEN: Final = {V4_TRANSPORT: 2 * ip.V4_ADDRESS_LEN, V6_TRANSPORT: 2 * ip.V6_ADDRESS_LEN}


def plain_transport(view: memoryview, start: int, length: int) -> tuple[int, int]:
    """Where in the frame its transport header stands, and PROTO_TCP or PROTO_UDP; (0, 0) if it is not plain.

    The first is V4_TRANSPORT or V6_TRANSPORT. The transport header without TCP options is inside the frame.
    """
    packet = length - ethernet.HEADER_LEN
    if packet < ip.V4_HEADER_LEN + transport.UDP_HEADER_LEN:
        return 0, 0
    ethertype = U16.unpack_from(view, start + ethernet.ETHERTYPE)[0]
    network = start + ethernet.HEADER_LEN
    if ethertype == ethernet.ETH_P_IP:
        first, protocol = V4_TRANSPORT, view[network + ip.V4_PROTOCOL]
        plain = (
            view[network + ip.V4_VERSION_IHL] == _V4_PLAIN
            and U16.unpack_from(view, network + ip.V4_TOTAL_LENGTH)[0] == packet
            and not U16.unpack_from(view, network + ip.V4_FRAGMENT)[0] & ip.V4_FRAGMENTED
        )
    elif ethertype == ethernet.ETH_P_IPV6:
        first, protocol = V6_TRANSPORT, view[network + ip.V6_NEXT_HEADER]
        plain = (
            view[network] >> 4 == _V6_VERSION
            and U16.unpack_from(view, network + ip.V6_PAYLOAD_LENGTH)[0] == packet - ip.V6_HEADER_LEN
        )
    else:
        return 0, 0
    if not plain or length < first + _TRANSPORT_LEN.get(protocol, length):
        return 0, 0
    return first, protocol


def pseudo_sum(view: memoryview, start: int, length: int, first: int, protocol: int) -> int:
    """Pseudo-header sum of the frame that `plain_transport` said `first` and `protocol` of: host order, not inverted.

    It is what a partial checksum holds.
    """
    at = start + first
    return pseudo_header(view[at - _ADDRESSES_LEN[first] : at], protocol, length - first)
