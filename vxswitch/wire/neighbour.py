"""Who is where, as stations say it themselves: ARP and IPv6 neighbour discovery read as one kind of sentence.

    ASK       somebody looks for the MAC of ``target``, and says that ``ip`` is at ``mac``
    PROBE     the same before the asker uses ``target`` itself: duplicate address detection (RFC 5227, RFC 4862)
    TELL      an answer: ``ip`` is at ``mac``
    ANNOUNCE  nobody asked: gratuitous ARP, unsolicited advertisement, RARP. A machine that moved says so like this

``evidence`` is what the sentence is worth as evidence of a move. And the sentences that the switch says itself:
`answer` for an absent station, `ask_again` to one of its own, `ask_all` in a station's name.
"""

import struct
from typing import Final, Literal, NamedTuple

from vxswitch.wire import Readable, arp, ethernet, ip, nd
from vxswitch.wire.address import STAND_IN, STAND_IN_IP6

ASK: Final = 1
PROBE: Final = 2
TELL: Final = 3
ANNOUNCE: Final = 4

Evidence = Literal["frame", "garp", "na", "rarp"]

_ARP_LOW: Final = ethernet.ETH_P_ARP & 0xFF
_RARP_HIGH: Final = arp.ETH_P_RARP >> 8
_V6_HIGH: Final = ethernet.ETH_P_IPV6 >> 8
_NEXT: Final = ethernet.HEADER_LEN + ip.V6_NEXT_HEADER
_ENDS_V4: Final = struct.Struct("4s4s")
_ENDS_V6: Final = struct.Struct("16s16s")


class Said(NamedTuple):
    """One sentence. Addresses are 4 or 16 bytes; ``ip`` None: the one whom it speaks of has none (yet)."""

    kind: int
    mac: bytes
    ip: bytes | None
    target: bytes
    evidence: Evidence


def listen(buf: Readable, start: int, length: int) -> Said | None:
    """What the frame at `start` says about neighbours; None, at little cost, if it is about something else."""
    first, second = buf[start + ethernet.ETHERTYPE], buf[start + ethernet.ETHERTYPE + 1]
    if (first == 0x08 and second == _ARP_LOW) or first == _RARP_HIGH:
        packet = arp.parse(buf, start, length)
        return _of_arp(packet, buf[start] & 1 == 1) if packet is not None else None
    if first == _V6_HIGH and length > _NEXT and buf[start + _NEXT] == ip.PROTO_ICMPV6:
        message = nd.parse(buf, start, length)
        return _of_nd(message, bytes(buf[start + ethernet.SRC : start + ethernet.ETHERTYPE])) if message else None
    return None


def _of_arp(packet: arp.Arp, group: bool) -> Said | None:
    _, operation, sender, sender_ip, _, target_ip = packet
    if packet.reverse:
        return Said(ANNOUNCE, sender, None, target_ip, "rarp") if operation == arp.REVERSE_REQUEST else None
    if operation not in (arp.REQUEST, arp.REPLY):
        return None
    if operation == arp.REQUEST and sender_ip == arp.NO_ADDRESS:
        return Said(PROBE, sender, None, target_ip, "frame")
    if sender_ip == target_ip or (operation == arp.REPLY and group):
        return Said(ANNOUNCE, sender, sender_ip, target_ip, "garp")
    return Said(ASK if operation == arp.REQUEST else TELL, sender, sender_ip, target_ip, "frame")


def _of_nd(message: nd.Discovery, src: bytes) -> Said:
    mac = message.link or src
    if message.kind == nd.SOLICITATION:
        if message.source == nd.UNSPECIFIED:
            return Said(PROBE, mac, None, message.target, "frame")
        return Said(ASK, mac, message.source, message.target, "frame")
    if message.flags & nd.SOLICITED:
        return Said(TELL, mac, message.target, message.target, "frame")
    return Said(ANNOUNCE, mac, message.target, message.target, "na")


def usable(address: bytes) -> bool:
    """Whether others may be told where this address is.

    A unicast address that is not loopback; of IPv6 none that is link-local. Routers are known by those, an answer has
    to say whether it speaks for a router, and a wrong "no" takes default routes away (RFC 4861 section 7.2.5).
    """
    if len(address) == ip.V4_ADDRESS_LEN:
        return 0 < address[0] < 224 and address[0] != 127
    return address[0] != 0xFF and address[:2] != b"\xfe\x80" and address[:15] != bytes(15)


def answer(said: Said, mac: bytes) -> bytes:
    """The frame that tells the asker that its target is at `mac`. A prober has no address yet: all are told."""
    if len(said.target) == ip.V4_ADDRESS_LEN:
        return arp.reply(mac, said.target, said.mac, said.ip or arp.NO_ADDRESS)
    if said.ip is None:
        return nd.advertise(nd.group_mac(nd.ALL_NODES), mac, nd.ALL_NODES, said.target, nd.OVERRIDE)
    return nd.advertise(said.mac, mac, said.ip, said.target, nd.SOLICITED | nd.OVERRIDE)


def ask_again(mac: bytes, address: bytes) -> bytes:
    """The frame by which the switch asks one of its own stations whether it still has an address.

    Only that station gets it. An ARP question without a sender's address enters nobody's cache.
    """
    if len(address) == ip.V4_ADDRESS_LEN:
        return arp.request(mac, STAND_IN, arp.NO_ADDRESS, address)
    return nd.solicit(mac, STAND_IN, STAND_IN_IP6, address, address)


def ask_all(buf: Readable, start: int, length: int) -> bytes | None:
    """The question that the sender of an IP packet would ask to find its destination; None if it is not IP."""
    at, src = start + ethernet.HEADER_LEN, bytes(buf[start + ethernet.SRC : start + ethernet.ETHERTYPE])
    family = ip.version(buf, start, length)
    if family == 4:
        source, target = _ENDS_V4.unpack_from(buf, at + ip.V4_SOURCE)
        return arp.request(ethernet.BROADCAST, src, source, target)
    if family == 6:
        source, target = _ENDS_V6.unpack_from(buf, at + ip.V6_SOURCE)
        group = nd.group_of(target)
        return nd.solicit(nd.group_mac(group), src, source, group, target)
    return None
