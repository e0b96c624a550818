"""The stages that judge a frame, one question each, in the order in which frames meet them.

Each takes what it needs and returns a verdict (0 = alive, else a ``Drop``); none counts, learns or sends. The forwarder
asks them where no cached decision holds, and ``trace`` asks the very same ones dry. The order on receipt is
conformance.md's: the cheapest question first, and nothing learned from a frame that a later question would refuse.
"""

from __future__ import annotations

from vxswitch.counters import ALIVE, Drop
from vxswitch.dataplane.port import Port
from vxswitch.fdb import Peer, Row, Table
from vxswitch.wire import Readable, address, ethernet, vxlan

_HEADER_VERDICT = {vxlan.OK: ALIVE, vxlan.NO_I_FLAG: Drop.NO_I_FLAG, vxlan.RESERVED_BITS: Drop.RESERVED_BITS}


def vxlan_header(flags_word: int, vni_word: int, strict: bool) -> int:
    """RFC 7348 section 5: the I flag, and in strict mode the 39 reserved bits."""
    return _HEADER_VERDICT[vxlan.check(flags_word, vni_word, strict)]


def local_source(port: Port, src: bytes) -> int:
    """A station's own address, and with anti-spoofing the one that was given to this port."""
    if ethernet.bad_source(src):
        return Drop.BAD_SOURCE
    if port.antispoof and src != port.mac:
        return Drop.SPOOFED_SOURCE
    return ALIVE


def local_address(port: Port, buf: Readable, start: int, length: int, tags: int) -> int:
    """With full anti-spoofing: an IP packet, or what it says by ARP or ND, is from an address given to this port.

    Who has no address yet may say so. What claims to be IP and cannot be read is refused; all else is not asked.
    """
    if port.addresses is None:
        return ALIVE
    shift = tags * ethernet.TAG_LEN
    used = address.used(buf, start + shift, length - shift)
    return ALIVE if used is None or (used and used <= port.addresses) else Drop.SPOOFED_SOURCE


def remote_source(table: Table, peer: Peer, src: bytes) -> int:
    """An inner source that this VTEP may use: not one of our live ports' own, not another live node's."""
    if ethernet.bad_source(src):
        return Drop.BAD_SOURCE
    row = table.rows.get(src)
    if row is None or row.hop is peer:
        return ALIVE
    if row.given:
        return Drop.OWN_MAC
    if table.claims and row.source != "learned" and _is_other_live_owner(row, peer):
        return Drop.WRONG_OWNER
    return ALIVE


def _is_other_live_owner(row: Row, peer: Peer) -> bool:
    owner = row.hop
    if not isinstance(owner, Peer) or not owner.live:
        return False  # suspended, or ours and moving: let through, teaches nothing
    return row.node is None or row.node != peer.node


def group_destination(dst: bytes) -> int:
    """Link-local control frames (STP, LACP, LLDP, pause) end at the first bridge, in both directions."""
    return Drop.RESERVED_GROUP if ethernet.is_reserved_group(dst) else ALIVE


def vlan_in(table: Table, tags: int) -> int:
    """RFC 7348 section 6.1, decapsulation: an inner tag is dropped unless the network carries tags."""
    if tags < 0 or (tags and table.vlan != "carry"):
        return Drop.VLAN_POLICY
    return ALIVE


def size(table: Table, length: int, tags: int = 0) -> int:
    """``length`` is a wire frame's, Ethernet header included; carried tags are beyond the MTU."""
    if length > table.mtu + ethernet.HEADER_LEN + tags * ethernet.TAG_LEN:
        return Drop.OVERSIZE
    return ALIVE


def size_in(table: Table, length: int, tags: int = 0) -> int:
    """Likewise, of a frame that a VTEP sent: the longest that this network has had, see ``Table.resize``."""
    if length > table.mtu_in + ethernet.HEADER_LEN + tags * ethernet.TAG_LEN:
        return Drop.OVERSIZE
    return ALIVE


def unknown_unicast(table: Table) -> int:
    """Nobody is known to have the destination: flood it (alive), or drop it by the network's policy."""
    return Drop.UNKNOWN_UNICAST if table.unknown == "drop" else ALIVE


def unicast_from_port(row: Row, port: Port) -> int:
    """No frame goes back out of the port that it came from."""
    return Drop.HAIRPIN if row.hop is port else ALIVE


def unicast_from_vtep(row: Row) -> int:
    """What came from one VTEP never goes on to another (ingress replication has no transit)."""
    return ALIVE if row.hop is not None and row.hop.local else Drop.SPLIT_HORIZON


def no_hops(table: Table) -> int:
    """The reason why a frame to flood has nowhere to go."""
    return Drop.SUSPENDED if table.suspended else Drop.NO_FLOOD_PEERS
