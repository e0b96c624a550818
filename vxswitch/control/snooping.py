"""What the local ports of one network listen to, as their stations say (RFC 4541), with an end to everything.

A report makes its port a member of a group; without another one that ends after ``membership`` seconds. A leave ends it
at once where only one station may use the port, else when nobody behind the port has answered in time. Members of
link-local groups are not kept: those are flooded.

A port gets every group of an IP version while a router is behind it, while its limit of groups keeps it from being
known by its memberships, and while nobody can know them (``Querier.knows``). Limits cost their own port copies, and
nobody a frame.

What follows is written into the network's ``GroupTable``, together with what other nodes say (``Elsewhere``), and
``groups`` is what this node has to tell them.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from vxswitch.config import Mcast
from vxswitch.control.doors import Clock
from vxswitch.control.elsewhere import TELLS, Elsewhere
from vxswitch.control.querier import Querier, Say
from vxswitch.fdb import Hop, LocalPort, Table
from vxswitch.groups import FAMILIES, Family, GroupTable, Members
from vxswitch.wire.multicast import ANY, BAD, JOINED, LEFT, QUERY, REPORT, Message, family_of, stays_on_link


@dataclass(slots=True)
class Membership:
    """One port in one group: when it was last reported, and when it ends. Monotonic seconds."""

    seen: float
    ends: float


class Snooping:
    """See the head of this file. ``single``: only one station may use the port. ``on_change``: ``groups`` differ."""

    def __init__(
        self,
        table: Table,
        settings: Mcast,
        elsewhere: Elsewhere,
        *,
        asks: bool,
        say: Say,
        single: Callable[[LocalPort], bool],
        on_change: Callable[[int], None],
        clock: Clock,
    ) -> None:
        self.table = table
        self.members: dict[bytes, dict[LocalPort, Membership]] = {}
        self.known = GroupTable(table, self.hear)
        self.querier = Querier(settings, say, clock(), asks=asks)
        self._elsewhere = elsewhere
        self._single = single
        self._on_change = on_change
        self._clock = clock
        self._ports: frozenset[LocalPort] = frozenset()
        self._counts: Counter[LocalPort] = Counter()  # groups of each port
        self._routers: dict[tuple[int, LocalPort], float] = {}  # until when
        self._full: dict[tuple[int, LocalPort], float] = {}  # until when its memberships are more than it may have
        self._next_end = float("inf")  # no membership ends before
        self._next = 0.0  # nothing happens by itself before
        self._seen_ports: tuple[Hop, ...] | None = None
        self.tick()
        self.publish_nodes()
        for group in elsewhere.groups:
            self.publish(group)
        table.set_groups(self.known)

    def close(self) -> None:
        """Flood again."""
        self.table.set_groups(None)

    @property
    def settings(self) -> Mcast:
        """Timers and limits."""
        return self.querier.settings

    # -- what stations say -------------------------------------------------------------------------------------------

    def hear(self, hop: Hop, message: Message) -> None:
        """A station behind a port, or behind a VTEP, has said something."""
        now = self._next = self._clock()
        if message.kind == BAD:
            self.table.stats.groups_malformed += 1
            return
        if message.kind == QUERY:
            self.querier.heard(message, now)
        if not isinstance(hop, LocalPort):
            return  # other nodes' stations are told of in the store
        if message.kind == REPORT:
            for group, change in message.records:
                self._report(hop, group, change, now)
        elif message.kind != QUERY or message.router:
            self._routers[(message.family, hop)] = now + self.settings.membership
            self._publish_family(message.family, now)

    def _report(self, port: LocalPort, group: bytes, change: int, now: float) -> None:
        if stays_on_link(group):
            return
        if change == JOINED:
            self._join(port, group, now)
        elif port not in self.members.get(group, ()):
            return
        elif change == LEFT and self.settings.fast_leave and self._single(port):
            self._end(port, group)
        elif self.querier.asks:
            membership = self.members[group][port]
            last = now + (self.settings.robustness + 1) * self.settings.last_member
            membership.ends = min(membership.ends, last)
            self._next_end = min(self._next_end, last)
            self.querier.press(port, group, now)

    def _join(self, port: LocalPort, group: bytes, now: float) -> None:
        ports = self.members.get(group, {})
        if port not in ports and not self._has_room(port, group):
            self._refuse(port, family_of(group), now)
            return
        ends = now + self.settings.membership
        self._next_end = min(self._next_end, ends)
        if port in ports:
            ports[port] = Membership(now, ends)
            return
        self.members.setdefault(group, {})[port] = Membership(now, ends)
        self._counts[port] += 1
        self.publish(group)
        if not ports:
            self._on_change(self.table.vni)

    def _refuse(self, port: LocalPort, family: int, now: float) -> None:
        self.table.stats.groups_refused += 1
        known = (family, port) in self._full
        self._full[(family, port)] = now + self.settings.membership
        if not known:
            self._publish_family(family, now)

    def _has_room(self, port: LocalPort, group: bytes) -> bool:
        if self._counts[port] >= self.settings.port_groups:
            return False
        return group in self.members or len(self.members) < self.settings.network_groups

    def _end(self, port: LocalPort, group: bytes) -> None:
        ports = self.members[group]
        del ports[port]
        self._counts[port] -= 1
        if not ports:
            del self.members[group]
            self._on_change(self.table.vni)
        self.publish(group)

    # -- time goes by ------------------------------------------------------------------------------------------------

    def tick(self) -> bool:
        """A few times a second: ports that came and went, what has ended, questions that are due. False: nothing."""
        now = self._clock()
        if now < self._next and self.table.ports is self._seen_ports:
            return False
        if self.table.ports is not self._seen_ports:
            self._follow_ports(now)
        if now >= self._next_end:
            self._end_old(now)
        for until in (self._routers, self._full):
            for key in [key for key, end in until.items() if now >= end]:
                del until[key]
        for family in FAMILIES:
            self._publish_family(family, now)
        self.querier.tick(self._ports, now)
        self._next = min(self._next_end, self.querier.next(now), *self._routers.values(), *self._full.values())
        return True

    def _follow_ports(self, now: float) -> None:
        self._seen_ports = self.table.ports
        ports = frozenset(port for port in self.table.ports if isinstance(port, LocalPort))
        others = (port for _, port in (*self._routers, *self._full))
        for port in {*self._ports, *self._counts, *others} - ports:
            self._forget(port)
        for port in ports - self._ports:
            self.querier.add(port, now)
        self._ports = ports
        self._on_change(self.table.vni)

    def _end_old(self, now: float) -> None:
        ended = [(port, group) for group, ports in self.members.items() for port, m in ports.items() if now >= m.ends]
        for port, group in ended:
            self._end(port, group)
        self._next_end = min((m.ends for ports in self.members.values() for m in ports.values()), default=float("inf"))

    def _forget(self, port: LocalPort) -> None:
        for group in [group for group, ports in self.members.items() if port in ports]:
            self._end(port, group)
        self._counts.pop(port, None)
        self.querier.remove(port)
        for until in (self._routers, self._full):
            for key in [key for key in until if key[1] is port]:
                del until[key]

    # -- what follows ------------------------------------------------------------------------------------------------

    def publish(self, group: bytes) -> None:
        """Write down who listens to a group, here and elsewhere."""
        if group not in ANY.values():
            self.known.put(group, Members(frozenset(self.members.get(group, ())), self._elsewhere.listeners(group)))

    def publish_nodes(self) -> None:
        """Write down which other nodes tell, and which of them want everything."""
        self.known.set_tellers(self._elsewhere.tellers)
        now = self._clock()
        for family in FAMILIES:
            self._publish_family(family, now)

    def _publish_family(self, family: int, now: float) -> None:
        routers = frozenset(port for version, port in self._routers if version == family)
        full = frozenset(port for version, port in self._full if version == family)
        every = Members(routers | full, self._elsewhere.listeners(ANY[family]))
        before = self.known.families[family]
        state = Family(every, routers, not self.querier.knows(family, now))
        if state != before:
            self.known.set_family(family, state)
            if _wants(state) != _wants(before):
                self._on_change(self.table.vni)

    @property
    def groups(self) -> frozenset[str]:
        """What this node has to tell: its groups, ``0.0.0.0`` and ``::`` for all of them, and that it tells at all."""
        return frozenset(self._texts())

    def _texts(self) -> Iterator[str]:
        yield TELLS
        for group in self.members:
            yield str(ipaddress.ip_address(group))
        for family, state in self.known.families.items():
            if _wants(state) and self._ports:
                yield str(ipaddress.ip_address(ANY[family]))


def _wants(state: Family) -> bool:
    """Whether every group has to come to this node."""
    return state.open or bool(state.every.ports)
