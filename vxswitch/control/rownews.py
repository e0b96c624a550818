"""What people are told about rows: events for whoever listens, and the one thing that must stand in the log."""

from __future__ import annotations

import logging

from vxswitch.control.events import Tell
from vxswitch.fdb import LocalPort, Row, Table
from vxswitch.model import Claim, format_mac

log = logging.getLogger(__name__)


def local_row(table: Table, mac: bytes) -> Row | None:
    """The MAC's row, if it stands behind a local port."""
    row = table.rows.get(mac)
    return row if row is not None and row.hop is not None and row.hop.local else None


def tell_row(tell: Tell, table: Table, known: Claim | None, claim: Claim) -> None:
    """What is new about a row: not that its owner claimed it again."""
    was = known.node if known is not None else None
    frozen, was_frozen = "frozen" in claim.flags, known is not None and "frozen" in known.flags
    if frozen != was_frozen:
        word = "frozen" if frozen else "thawed"
    elif was != claim.node:
        word = "claimed" if known is None else "moved"
    else:
        return
    mac = format_mac(claim.mac)
    tell(f"row.{word}", network=table.name, mac=mac, node=claim.node, was=was, rev=claim.rev)


def log_frozen(table: Table, claim: Claim, before: Claim | None) -> None:
    """Two live nodes have claimed the MAC from each other, again and again: say which, and where it is here."""
    row = local_row(table, claim.mac)
    log.error(
        "MAC %s of network %s is a duplicate: frozen with node %s (since %.3f), which has it from node %s"
        " (since %.3f)%s",
        format_mac(claim.mac),
        table.name,
        claim.node,
        claim.since,
        before.node if before is not None else "unknown",
        before.since if before is not None else 0.0,
        f"; here it is behind port {row.hop.id}" if row is not None and isinstance(row.hop, LocalPort) else "",
    )
