"""Where the table that frames go by and this node's copy of the store say different things.

There should be no such place: the reconciler turns every change of the copy into the same change of the table. But
"should" is what an operator doubts at night, so every MAC is looked at from both sides. What is under way is no drift:
a claim whose answer has not come, a port that waits for its TAP, a node that cannot be reached now.

    missing     the copy has a row of another node, the table has not
    elsewhere   the table has it behind another hop than its owner's VTEP
    rev         the table has it at another rev
    extra       the table has a claimed row that the copy has not
    unclaimed   a MAC behind one of our ports that the store does not have under our name
    not here    a claim of ours for a MAC that stands behind none of our ports
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from vxswitch.control.reconciling import Mirror
from vxswitch.control.views import Rooms
from vxswitch.fdb import LocalPort, Peer, Row, Table
from vxswitch.model import Claim

What = Literal["missing", "elsewhere", "rev", "extra", "unclaimed", "not here"]


@dataclass(frozen=True, slots=True)
class Drift:
    """One MAC on which the two disagree. ``table`` and ``copy`` say it for people, None: it is not there."""

    mac: bytes
    what: What
    table: str | None
    copy: str | None


def drifts(rooms: Rooms, table: Table, mirror: Mirror) -> Iterator[Drift]:
    """Every MAC that is different, in no order. Nothing in networks that do not learn by claims."""
    if table.learning == "flood":
        return
    for mac, claim in mirror.rows.items():
        row = table.rows.get(mac)
        of = _of_ours if claim.uid == rooms.node.uid else _of_theirs
        what = of(rooms, table, row, claim)
        if what is not None and not rooms.announcer.pending(table.vni, mac):
            yield Drift(mac, what, _row_text(row), _claim_text(claim))
    for mac, row in table.rows.items():
        if mac not in mirror.rows and (without := _without_claim(rooms, table, row)) is not None:
            yield Drift(mac, without, _row_text(row), None)


def _of_ours(rooms: Rooms, table: Table, row: Row | None, claim: Claim) -> What | None:
    here = row is not None and row.hop is not None and row.hop.local
    return None if here or rooms.ports.expects(table.vni, claim.mac) else "not here"


def _of_theirs(rooms: Rooms, table: Table, row: Row | None, claim: Claim) -> What | None:
    if row is not None and row.source == "static":
        return None
    peer = rooms.peers.peer(table.vni, claim.node)
    if peer is None:  # it waits until its node can be reached
        return "extra" if row is not None and row.source == "claimed" else None
    if row is None:
        return "missing"
    if row.hop is not peer:
        return "elsewhere"
    return None if row.rev == claim.rev else "rev"


def _without_claim(rooms: Rooms, table: Table, row: Row) -> What | None:
    if row.hop is not None and row.hop.local:
        unclaimed = table.on_local is not None and not rooms.announcer.pending(table.vni, row.mac)
        return "unclaimed" if unclaimed else None
    return "extra" if row.source == "claimed" else None


def _row_text(row: Row | None) -> str | None:
    if row is None:
        return None
    if isinstance(row.hop, Peer):
        return f"{row.source}, VTEP {row.hop.vtep}, rev {row.rev}"
    return f"port {row.hop.id}" if isinstance(row.hop, LocalPort) else row.source


def _claim_text(claim: Claim) -> str:
    return f"node {claim.node}, VTEP {','.join(map(str, claim.vteps))}, rev {claim.rev}"
