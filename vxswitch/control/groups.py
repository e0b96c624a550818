"""Multicast of all networks: which of them snoop, what this node tells the store of them, and what others do.

Networks come, go and change their policy; ``tick`` looks at them as they are, four times a second. Until it has, a
network floods, which is always right. What other nodes say is kept per network from the first event on, whether or not
this node snoops in it yet.

What our ports listen to is told when it has changed, at most once in ``_SPACING`` seconds, so a container that joins
and leaves as fast as it can costs the store a few writes a second. A network that does not snoop tells nothing, and
says so once, since the store may still have what an earlier start told.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from vxswitch.config import Mcast
from vxswitch.control.doors import Clock, DataPlane
from vxswitch.control.elsewhere import Elsewhere
from vxswitch.control.network import Network
from vxswitch.control.networks import Networks
from vxswitch.control.snooping import Snooping
from vxswitch.errors import StoreUnavailableError, VxswitchError
from vxswitch.fdb import LocalPort, Peer, Table
from vxswitch.groups import Audience, Members
from vxswitch.store.base import Store
from vxswitch.wire.multicast import ANY, family_of

log = logging.getLogger(__name__)

_BATCH = 64  # networks that one tick has time for: the loop has frames to look at
_COALESCE = 0.02  # seconds from a change to what is told of it
_SPACING = 0.25  # seconds between two rounds of telling


class Groups:
    """See the head of this file. ``single`` says of a port whether only one station may use it."""

    def __init__(
        self,
        networks: Networks,
        store: Store,
        plane: DataPlane,
        *,
        settings: Mcast,
        single: Callable[[LocalPort], bool],
        clock: Clock,
    ) -> None:
        self.settings = settings
        self.by_vni: dict[int, Snooping] = {}
        self._networks = networks
        self._store = store
        self._plane = plane
        self._single = single
        self._clock = clock
        self._elsewhere: dict[int, Elsewhere] = {}
        self._told: dict[int, tuple[Table, frozenset[str]]] = {}
        self._untold: set[int] = set()
        self._busy = 0  # networks that had something to do in this tick
        self._wake = asyncio.Event()

    # -- networks ----------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Look at the networks as they are now, and let time go by in those that snoop."""
        tables = {}
        self._busy = 0
        for network in self._networks.by_name.values():
            if network.table is not None:
                tables[network.table.vni] = network.table
                self._look_at(network, network.table)
        for vni in [vni for vni in self.by_vni if vni not in tables]:
            del self.by_vni[vni]
        self._told = {vni: told for vni, told in self._told.items() if tables.get(vni) is told[0]}
        for vni, snooping in list(self.by_vni.items()):
            if self._busy < _BATCH and snooping.tick():
                self._busy += 1
                self.by_vni[vni] = self.by_vni.pop(vni)  # the others first, next time

    def reconfigure(self, settings: Mcast) -> None:
        """Other timers, limits or policies: networks that snoop begin anew, by flooding until they know."""
        if settings != self.settings:
            self.settings = settings
            for vni in list(self.by_vni):
                self._close(vni)
            self.tick()

    def _look_at(self, network: Network, table: Table) -> None:
        wanted, asks = self._policy(network)
        snooping = self.by_vni.get(table.vni)
        if snooping is not None and (not wanted or snooping.table is not table or snooping.querier.asks != asks):
            self._close(table.vni)
            snooping = None
        if wanted and snooping is None and self._busy < _BATCH:
            self._busy += 1
            elsewhere = self._elsewhere.setdefault(table.vni, Elsewhere())
            snooping = self.by_vni[table.vni] = Snooping(
                table,
                self.settings,
                elsewhere,
                asks=asks,
                say=self._plane.say,
                single=self._single,
                on_change=self._changed,
                clock=self._clock,
            )
            self._changed(table.vni)
        if self._networks.recorded and network.settled.is_set() and table.vni not in self._told:
            self._changed(table.vni)

    def _close(self, vni: int) -> None:
        self.by_vni.pop(vni).close()
        self._changed(vni)

    def _policy(self, network: Network) -> tuple[bool, bool]:
        """Whether the network snoops, and whether it asks."""
        asked = network.settings.snooping or self.settings.snooping
        claimed = network.settings.learning == "control" and self._networks.recorded
        querier = network.settings.querier or self.settings.querier
        return asked == "on" or (asked == "auto" and claimed), querier == "auto"

    # -- what other nodes say ----------------------------------------------------------------------------------------

    def told(self, vni: int, node: str, groups: frozenset[str]) -> None:
        """All that a node listens to in a network now; nothing: it does not tell, or has left."""
        self._publish(vni, self._elsewhere.setdefault(vni, Elsewhere()).tell(node, groups))

    def told_all(self, vni: int, groups: Mapping[str, frozenset[str]]) -> None:
        """All that any node listens to in a network now."""
        self._publish(vni, self._elsewhere.setdefault(vni, Elsewhere()).tell_all(groups))

    def forget(self, vni: int) -> None:
        """We left the network."""
        self._elsewhere.pop(vni, None)

    def _publish(self, vni: int, changed: set[bytes]) -> None:
        snooping = self.by_vni.get(vni)
        if snooping is not None:
            snooping.publish_nodes()
            for group in changed:
                snooping.publish(group)

    # -- what we say -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Tell the store what has changed, for ever."""
        while True:
            await self._wake.wait()
            await asyncio.sleep(_COALESCE)
            self._wake.clear()
            await self.tell()
            await asyncio.sleep(_SPACING)

    async def tell(self) -> None:
        """Tell the store, once."""
        untold, self._untold = self._untold, set()
        for vni in untold:
            table = self._settled(vni)
            if table is None:
                continue  # ``tick`` comes back to it once it is settled
            snooping = self.by_vni.get(vni)
            groups = snooping.groups if snooping is not None else frozenset[str]()
            if self._told.get(vni) == (table, groups):
                continue
            try:
                await self._store.set_groups(vni, groups)
            except StoreUnavailableError:
                self._changed(vni)
            except VxswitchError as error:
                log.error("network %s: the store refuses its multicast groups: %s", table.name, error)
                self._told[vni] = (table, groups)
            else:
                self._told[vni] = (table, groups)

    def _settled(self, vni: int) -> Table | None:
        """The table of a network that the store knows us to be a member of."""
        if not self._networks.recorded:
            return None
        settled = [network.table for network in self._networks.by_name.values() if network.settled.is_set()]
        return next((table for table in settled if table is not None and table.vni == vni), None)

    def _changed(self, vni: int) -> None:
        self._untold.add(vni)
        self._wake.set()

    # -- what is shown -----------------------------------------------------------------------------------------------

    def view(self, network: str | None = None) -> list[dict[str, Any]]:
        """The rows of ``vxswitch mcast``: who wants all groups, then who is a member of one."""
        shown = sorted(self.by_vni.values(), key=lambda snooping: snooping.table.name)
        return [row for s in shown if network in (None, s.table.name) for row in self._rows(s)]

    def _rows(self, snooping: Snooping) -> Iterator[dict[str, Any]]:
        for family, state in snooping.known.families.items():
            audience = snooping.known.audience(ANY[family])
            source = "router" if state.routers else "unknown" if state.open else "limit" if state.every.ports else None
            yield _row(snooping.table, ANY[family], audience, source, None)
        for group, members in sorted(snooping.known.members.items(), key=lambda item: (family_of(item[0]), item[0])):
            seen = [membership.seen for membership in snooping.members.get(group, {}).values()]
            age = round(max(0.0, self._clock() - max(seen)), 3) if seen else None
            yield _row(snooping.table, group, _named(snooping.table, members), "snooped" if seen else "store", age)


def _named(table: Table, members: Members) -> Audience:
    """Who has joined, without those who get everything."""
    ports = tuple(port for port in table.ports if port in members.ports)
    return Audience(ports, tuple(peer for peer in table.flood if peer.node in members.nodes))


def _row(table: Table, group: bytes, audience: Audience, source: str | None, age: float | None) -> dict[str, Any]:
    peers: list[Peer] = sorted(audience.peers, key=lambda peer: str(peer.vtep))
    return {
        "network": table.name,
        "vni": table.vni,
        "group": str(ipaddress.ip_address(group)),
        "ports": sorted(port.id for port in audience.ports if isinstance(port, LocalPort)),
        "vteps": [str(peer.vtep) for peer in peers],
        "nodes": sorted({peer.node for peer in peers if peer.node is not None}),
        "source": source,
        "age": age,
    }
