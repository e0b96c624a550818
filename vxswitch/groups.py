"""Who listens to which multicast group: the group table of one network, shared by control and data like the `fdb`.

Control writes it (``put``, ``set_family``, ``set_tellers``), a frame asks it for an ``Audience``: the local ports and
the VTEPs that shall get it. Groups are addresses of 4 or 16 bytes (``wire.multicast``). Per IP version there are
besides those who want every group (``Family``): ports and nodes with a router, and whoever is not to be trusted to
know what is listened to behind it.

Nobody is left out by mistake: a VTEP whose node has not *told* its groups (a static peer, another vendor's, a node of
an older version, one whose words have not come yet) gets everything; a group that nobody told of goes to those who want
all (RFC 4541 section 2.1.2).

Ports are known by identity, nodes by name, because a node's VTEP may change. What a group comes to in ports and VTEPs
is computed once and kept until the table's ``generation`` changes, or something is written here that bears on it.
Whoever keeps ``Listeners`` sees that as with a ``fdb.Row``: by its ``hop``, which is None from then on.

Bounds: control gives at most ``mcast.network_groups`` groups of its own, and the store 1024 of each other node.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from vxswitch.fdb import Hop, Peer, Table
from vxswitch.wire.multicast import ANY, Message, family_of

FAMILIES = (4, 6)


class Audience(NamedTuple):
    """Who shall get a frame: local ports (that it came from is for the caller to see) and live VTEPs."""

    ports: tuple[Hop, ...]
    peers: tuple[Peer, ...]


_TOLD = Hop(0)  # what ``Listeners.hop`` is while they are what was told; nothing is ever sent there


class Listeners:
    """The audience of one group, or of all that nobody has joined (``joined`` False). ``hop``: None if out of date."""

    __slots__ = ("audience", "hop", "joined")

    def __init__(self, audience: Audience, *, joined: bool) -> None:
        self.audience = audience
        self.joined = joined
        self.hop: Hop | None = _TOLD


@dataclass(frozen=True, slots=True)
class Members:
    """Ports here, and nodes elsewhere."""

    ports: frozenset[Hop] = frozenset()
    nodes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Family:
    """One IP version: who wants every group. ``open``: all local ports do, because what they join is not known.

    ``routers``: the ports behind which a multicast router is. They are among ``every``'s ports; and to them alone,
    not to other hosts, goes what hosts tell routers.
    """

    every: Members = Members()
    routers: frozenset[Hop] = frozenset()
    open: bool = True


class GroupTable:
    """See the head of this file. ``on_message`` hears what stations say: (where it came in, what it was)."""

    def __init__(self, table: Table, on_message: Callable[[Hop, Message], None]) -> None:
        self.table = table
        self.members: dict[bytes, Members] = {}
        self.families = {family: Family() for family in FAMILIES}
        self.tellers: frozenset[str] = frozenset()
        self._on_message = on_message
        self._found: dict[bytes, Listeners] = {}
        self._routers: dict[int, Audience] = {}
        self._generation = table.generation

    # -- what a frame asks -----------------------------------------------------------------------------------------

    def audience(self, group: bytes) -> Audience:
        """Who gets a frame of this group."""
        return self.listeners(group).audience

    def listeners(self, group: bytes) -> Listeners:
        """The same, to be kept."""
        self._follow()
        family = family_of(group)
        members = self.members.get(group)
        key = group if members is not None else ANY[family]
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = Listeners(self._find(family, members), joined=members is not None)
        return found

    def routers(self, family: int) -> Audience:
        """Who gets what hosts tell routers: a host that heard it might keep silent about its own groups."""
        self._follow()
        found = self._routers.get(family)
        if found is None:
            routers = self.families[family].routers
            found = Audience(tuple(p for p in self.table.ports if p in routers), self._peers(family, None))
            self._routers[family] = found
        return found

    def hear(self, hop: Hop, message: Message) -> None:
        """A station behind this port or VTEP has said something."""
        self._on_message(hop, message)

    def _follow(self) -> None:
        if self._generation != self.table.generation:
            self._generation = self.table.generation
            self._forget_all()

    def _find(self, family: int, members: Members | None) -> Audience:
        state = self.families[family]
        ports = self.table.ports
        if not state.open:
            wanted = state.every.ports | members.ports if members is not None else state.every.ports
            ports = tuple(port for port in ports if port in wanted)
        return Audience(ports, self._peers(family, members))

    def _peers(self, family: int, members: Members | None) -> tuple[Peer, ...]:
        every = self.families[family].every.nodes
        nodes = every | members.nodes if members is not None else every
        return tuple(p for p in self.table.flood if p.node is None or p.node in nodes or p.node not in self.tellers)

    # -- what control says -----------------------------------------------------------------------------------------

    def put(self, group: bytes, members: Members) -> None:
        """These listen to the group now, all of them; nobody: it is forgotten."""
        if members == self.members.get(group, Members()):
            return
        if members.ports or members.nodes:
            self.members[group] = members
        else:
            self.members.pop(group, None)
        self._changed(group)

    def set_family(self, family: int, state: Family) -> None:
        """Who wants every group of an IP version."""
        if state != self.families[family]:
            self.families[family] = state
            self._changed(b"")

    def set_tellers(self, tellers: frozenset[str]) -> None:
        """The nodes that have told their groups."""
        if tellers != self.tellers:
            self.tellers = tellers
            self._changed(b"")

    def _changed(self, group: bytes) -> None:
        """Listeners of this group, which until now may have been one that nobody had joined, or, if empty, of all."""
        if group:
            self._forget(group)
            self._forget(ANY[family_of(group)])
        else:
            self._forget_all()
        if self.table.watcher is not None:
            self.table.watcher.groups(self.table, group)

    def _forget(self, key: bytes) -> None:
        found = self._found.pop(key, None)
        if found is not None:
            found.hop = None

    def _forget_all(self) -> None:
        for key in list(self._found):
            self._forget(key)
        self._routers.clear()
