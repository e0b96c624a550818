"""Multicast for the fabric: group tables, and frames that are for groups or about them."""

from __future__ import annotations

import random
import struct

from tests.dataplane.frames import IP4, IP6, ethernet, ip4, mac, ones_complement_sum, plain, udp
from vxswitch.fdb import Hop, Table
from vxswitch.groups import Family, GroupTable, Members
from vxswitch.wire.multicast import Message, mac_of

G4, H4, G6 = bytes((239, 1, 2, 3)), bytes((239, 9, 9, 9)), bytes((0xFF, 0x0E, *bytes(13), 9))
NAMES = {G4: "239.1.2.3", H4: "239.9.9.9", G6: "ff0e::9"}
KNOWN = Family(open=False)


def snooped(table: Table, heard: list[tuple[Hop, Message]] | None = None) -> GroupTable:
    """The network sends multicast to its listeners from now on, of whom there are none yet."""
    said = heard if heard is not None else []
    known = GroupTable(table, lambda hop, message: said.append((hop, message)))
    for family in (4, 6):
        known.set_family(family, KNOWN)
    table.set_groups(known)
    return known


def data(group: bytes, n: int, payload: bytes = b"data") -> bytes:
    """A UDP datagram of station ``n`` to a group."""
    four = len(group) == 4
    packet = udp(f"10.0.0.{n}" if four else f"fd00::{n}", NAMES[group], 5, 6, payload)
    return ethernet(mac_of(group), mac(n), IP4 if four else IP6, packet)


def igmp(n: int, kind: int, group: bytes, *, source: str | None = None, code: int = 0) -> bytes:
    """An IGMPv2 message of station ``n``, to the group itself."""
    body = struct.pack("!BBH4s", kind, code, 0, group)
    body = body[:2] + struct.pack("!H", ones_complement_sum(body) ^ 0xFFFF) + body[4:]
    to = group if any(group) else bytes((224, 0, 0, 1))
    packet = ip4(source or f"10.0.0.{n}", ".".join(map(str, to)), 2, body)
    return ethernet(mac_of(to), mac(n), IP4, packet)


def random_frame(chance: random.Random, src: bytes) -> bytes:
    """``[vnet][frame]`` for a group, or about one."""
    group = chance.choice((G4, H4, G6))
    if chance.random() < 0.6:
        frame = data(group, 1)
    else:
        frame = igmp(1, chance.choice((0x11, 0x16, 0x17, 0x13)), chance.choice((G4, H4, bytes(4))))
    if chance.random() < 0.1:
        frame = frame[: chance.randrange(14, len(frame))]
    return plain(frame[:6] + src + frame[12:])


def change(chance: random.Random, known: GroupTable) -> None:
    """Other listeners, by chance."""
    ports = frozenset(port for port in known.table.ports if chance.random() < 0.5)
    nodes = frozenset(peer.node for peer in known.table.flood if peer.node is not None and chance.random() < 0.5)
    match chance.randrange(3):
        case 0:
            known.put(chance.choice((G4, H4, G6)), Members(ports, nodes))
        case 1:
            known.set_tellers(nodes)
        case 2:
            known.set_family(chance.choice((4, 6)), Family(Members(ports, nodes), ports, chance.random() < 0.3))
