"""Multicast on its way: whom a group frame goes to, and what is overheard from it.

Only frames to a group address without a cached decision come here. In networks that know their listeners
(``Table.groups``) they go as RFC 4541 has it, sections 2.1.1 and 2.1.2, elsewhere to everybody:

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
from vxswitch.groups import Audience, Listeners
from vxswitch.wire import multicast, snoop
from vxswitch.wire.multicast import REPORT, Message


class Way(NamedTuple):
    """Where a frame to all goes, and what becomes of it when that is nowhere: a ``Drop``, or ALIVE: it has served.

    ``said``: what its sender tells the switch by it, to be heard once it is certain that the frame goes on.
    ``listeners``: it is data of a group, and these are whom it is for; what is decided about it may be kept.
    """

    audience: Audience
    nowhere: int
    said: Message | None = None
    listeners: Listeners | None = None


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
    if not group:
        return everybody(table, nowhere)
    listeners = groups.listeners(group)
    return Way(listeners.audience, Drop.NO_LISTENERS, listeners=listeners)
