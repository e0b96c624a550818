"""Questions for neighbours, answered here instead of flooded (RFC 9161), from what the claims say.

A local port's question for an address that one claimed, remote MAC has is answered at once while the VTEP of that MAC
lives; goes to that VTEP alone while it is suspended; and is flooded, as ever, where nothing is known for certain. Local
stations answer for themselves. A probe (duplicate address detection) is answered alike: it asks about an address that
another MAC has, and is to find that out. Announcements always flood.
"""

from __future__ import annotations

from vxswitch.counters import Stats
from vxswitch.fdb import Peer, Row, Table
from vxswitch.wire.ip import V4_ADDRESS_LEN
from vxswitch.wire.neighbour import ASK, PROBE, Said


def owner(table: Table, said: Said, dst: bytes) -> Row | None:
    """The row of the remote MAC that is asked for, None: not a question, or not one to be answered here.

    A question to one station alone (``dst``) asks whether it is still there, which only that one can say.
    """
    if said.kind not in (ASK, PROBE) or not dst[0] & 1 or not table.suppress or not table.claims:
        return None
    mac = table.bindings.mac_of(said.target)
    row = table.lookup(mac) if mac is not None and mac != said.mac else None
    return row if row is not None and row.source == "claimed" and isinstance(row.hop, Peer) else None


def vouched_for(row: Row) -> bool:
    """Its owner is known to live, and the store to have the claim."""
    return isinstance(row.hop, Peer) and row.hop.live and not row.stale


def count(stats: Stats, said: Said, *, answered: bool) -> None:
    """One question that was not flooded."""
    arp = len(said.target) == V4_ADDRESS_LEN
    if answered:
        stats.arp_answered += arp
        stats.nd_answered += not arp
    else:
        stats.arp_directed += arp
        stats.nd_directed += not arp
