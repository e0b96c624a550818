"""IP multicast: which group a frame is for, and what stations say about groups.

A group is its IP address, 4 or 16 bytes; the Ethernet address is only what follows from it (RFC 1112 section 6.4,
RFC 2464 section 7), and 32 IPv4 groups share one. `group_of` names the group of a frame that may be sent to its
listeners alone. Whatever is not certain to be such a frame is not: another protocol, a tag, broadcast, an Ethernet
address that belongs to another group, and every group that stays on the link (RFC 4541 section 2.1.2, RFC 4291
section 2.7): routing protocols, neighbour discovery and the like live there, and nobody joins them reliably.

`Message` is what IGMP (`igmp`), MLD (`mld`) and multicast routers say, as far as a switch has to know (`snoop`).
"""

from typing import Final, NamedTuple

from vxswitch.wire import Readable, ethernet, ip

V4_MAC: Final = b"\x01\x00\x5e"  # and the low 23 bits of the group
V6_MAC: Final = b"\x33\x33"  # and its low 32 bits
V4_LINK_LOCAL: Final = b"\xe0\x00\x00"  # 224.0.0.0/24 (RFC 5771 section 4)
V6_FIRST: Final = 0xFF
V6_SCOPE: Final = 1  # the byte whose low half is the scope
V6_LINK_LOCAL_SCOPE: Final = 2
ANY: Final = {4: bytes(ip.V4_ADDRESS_LEN), 6: bytes(ip.V6_ADDRESS_LEN)}

# Kinds of a Message.
QUERY: Final = 1  # who listens?
REPORT: Final = 2  # I do, I do not
ROUTER: Final = 3  # a multicast router is here (PIM, RFC 7761; router discovery, RFC 4286)
BAD: Final = 4  # cut short, a wrong checksum, or nonsense: nothing may be concluded from it

# What a record of a report says about its group.
JOINED: Final = 1
LEFT: Final = 2
DOUBTFUL: Final = 3  # some sources are not wanted any more: maybe that was the last of them

Record = tuple[bytes, int]


class Message(NamedTuple):
    """What was said, about IP version `family`.

    A query asks about `group`, or about all (empty), and wants to be answered within `response` seconds; `router`: by
    a router, not by a stand-in without an address. A report has `records`: (group, JOINED, LEFT or DOUBTFUL).
    """

    kind: int
    family: int
    group: bytes = b""
    response: float = 0.0
    router: bool = False
    records: tuple[Record, ...] = ()


def group_of(buf: Readable, start: int, length: int) -> bytes:
    """The group of the frame if it may go to that group's listeners alone, else nothing: it goes to everybody."""
    if not buf[start] & 1:
        return b""
    family = ip.version(buf, start, length)
    at = start + ethernet.HEADER_LEN
    if family == 4:
        group = bytes(buf[at + ip.V4_DESTINATION : at + ip.V4_HEADER_LEN])
    elif family == 6:
        group = bytes(buf[at + ip.V6_DESTINATION : at + ip.V6_HEADER_LEN])
    else:
        return b""
    if not stays_on_link(group) and bytes(buf[start : start + ethernet.SRC]) == mac_of(group):
        return group
    return b""


def is_group(address: bytes) -> bool:
    """Whether the address (4 or 16 bytes) is a multicast one (RFC 5771 section 1, RFC 4291 section 2.7)."""
    return address[0] >> 4 == 0xE if len(address) == ip.V4_ADDRESS_LEN else address[0] == V6_FIRST


def stays_on_link(address: bytes) -> bool:
    """True also for an address that is no group: 224.0.0.0/24; interface-local, link-local and reserved scopes."""
    if not is_group(address):
        return True
    if len(address) == ip.V4_ADDRESS_LEN:
        return address.startswith(V4_LINK_LOCAL)
    return address[V6_SCOPE] & 0x0F <= V6_LINK_LOCAL_SCOPE


def mac_of(group: bytes) -> bytes:
    """The Ethernet address that frames to this group are sent to."""
    if len(group) == ip.V4_ADDRESS_LEN:
        return V4_MAC + bytes((group[1] & 0x7F, group[2], group[3]))
    return V6_MAC + group[-4:]


def family_of(group: bytes) -> int:
    """4 or 6."""
    return 4 if len(group) == ip.V4_ADDRESS_LEN else 6
