"""Multicast on its way: whom a group frame goes to, and what is overheard from it.

Only frames to a group address without a cached decision come here, and only in networks that know their listeners
(``Table.groups``); everything else is flooded. RFC 4541, sections 2.1.1 and 2.1.2:

    a query, a router's hello   to everybody; it tells where routers are
    a report, a leave           to routers only; where there are none it ends here, which is no loss (``absorbed``)
    IP data of a group          to its listeners and to routers; nobody: ``no_listeners``
    all else                    to everybody: broadcast, other protocols, link-local groups, what cannot be read

A message with a wrong checksum goes to everybody, too: whoever counts it believes it as little as we do.
"""

from __future__ import annotations

from typing import NamedTuple

from vxswitch.counters import ALIVE, Drop
from vxswitch.fdb import Table
from vxswitch.groups import Audience
from vxswitch.wire import multicast, snoop
from vxswitch.wire.multicast import REPORT, Message


class Way(NamedTuple):
    """Where a frame to all goes, and what becomes of it when that is nowhere: a ``Drop``, or ALIVE: it has served.

    ``said``: what its sender tells the switch by it, to be heard once it is certain that the frame goes on.
    """

    audience: Audience
    nowhere: int
    said: Message | None = None


def everybody(table: Table, nowhere: int, said: Message | None = None) -> Way:
    """All ports and all live VTEPs."""
    return Way(Audience(table.ports, table.flood), nowhere, said)


def way(table: Table, view: bytes | memoryview, start: int, length: int, nowhere: int) -> Way:
    """Whom the frame goes to. ``nowhere``: the reason if there is nobody to flood to. Nothing is changed."""
    groups = table.groups
    if groups is None or not view[start] & 1:
        return everybody(table, nowhere)
    said = snoop.read(view, start, length)
    if said is not None:
        return Way(groups.routers(said.family), ALIVE, said) if said.kind == REPORT else everybody(table, nowhere, said)
    group = multicast.group_of(view, start, length)
    return Way(groups.audience(group), Drop.NO_LISTENERS) if group else everybody(table, nowhere)
