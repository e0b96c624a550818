"""Which addresses a frame speaks for: what full anti-spoofing has to know. And those of the switch itself."""

from typing import Final

from vxswitch.wire import Readable, arp, ethernet, ip, nd

_UNSPECIFIED: Final = (bytes(ip.V4_ADDRESS_LEN), bytes(ip.V6_ADDRESS_LEN))
_IP_TYPES: Final = (ethernet.ETH_P_IP, ethernet.ETH_P_IPV6)


def used(buf: Readable, start: int, length: int) -> frozenset[bytes] | None:
    """The addresses that the sender of the frame at `start` says are its own: source, ARP sender, advertised target.

    None: it says nothing of the kind, or that it has no address yet. Empty: it calls itself IP, and is not.
    """
    ethertype = buf[start + ethernet.ETHERTYPE] << 8 | buf[start + ethernet.ETHERTYPE + 1]
    if ethertype in (ethernet.ETH_P_ARP, arp.ETH_P_RARP):
        packet = arp.parse(buf, start, length)
        return _told(packet.sender_ip) if packet is not None else None
    if ethertype not in _IP_TYPES:
        return None
    family, at = ip.version(buf, start, length), start + ethernet.HEADER_LEN
    if family == 4:
        return _told(bytes(buf[at + ip.V4_SOURCE : at + ip.V4_DESTINATION]))
    if family != 6:
        return frozenset()
    message = nd.parse(buf, start, length)
    if message is not None and message.kind == nd.ADVERTISEMENT:
        return frozenset((message.source, message.target))
    return _told(bytes(buf[at + ip.V6_SOURCE : at + ip.V6_DESTINATION]))


def _told(source: bytes) -> frozenset[bytes] | None:
    return None if source in _UNSPECIFIED else frozenset((source,))


def link_local(mac: bytes) -> bytes:
    """The link-local address that IPv6 derives from a MAC (RFC 4291 appendix A, RFC 2464 section 5)."""
    return b"\xfe\x80" + bytes(6) + bytes((mac[0] ^ 0x02,)) + mac[1:3] + b"\xff\xfe" + mac[3:]


# Who a switch's own questions and queries are from. Not of the prefix 02 that ports' own MACs have; no port and no
# station has it, and no frame to it leaves the switch that it was sent to. Another node's, behind a bridge that two
# switches reach, is recognised by it.
STAND_IN: Final = bytes.fromhex("0a7678737700")
STAND_IN_IP6: Final = link_local(STAND_IN)
