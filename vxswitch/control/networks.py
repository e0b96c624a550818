"""The networks of this node: what was asked for, what the store's record says, and the table that forwards.

A network is ``up`` as soon as its VNI is known: frames flow from then on, whatever the store does. It is ``pending``
while only the store could tell its VNI. It is ``settled`` once the store's record was read (or made) and this node is a
member; only then are MACs announced. A record with another VNI or MTU is a ``conflict``: at start the switch says so
and ends; later the network goes on forwarding what it did, is no member, and shows the reason until that is resolved.

What the cluster has to agree on (VNI, subnets, MTU, learning) is the record's word; policy towards our own ports
(unknown, antispoof, vlan) is this node's. Networks joined by a command are kept in ``networks.json``, so that they and
their ports come back with the switch. Commands wait for the store ``PATIENCE`` seconds; what it did not answer by then
is done by ``run`` when it can be.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from typing import Protocol

import msgspec

from vxswitch import config
from vxswitch.control import settings as asked_for
from vxswitch.control.announcer import Announcer
from vxswitch.control.network import Network
from vxswitch.control.patience import deadline, patiently
from vxswitch.control.peers import Peers
from vxswitch.control.reconciler import Reconciler
from vxswitch.control.state import StateDir
from vxswitch.counters import Stats
from vxswitch.errors import ConflictError, NotFoundError, StoreUnavailableError, UsageError, VxswitchError
from vxswitch.fdb import Fdb, Table
from vxswitch.model import NetworkRecord, Vtep
from vxswitch.store.base import Store

log = logging.getLogger(__name__)

_RETRY = 1.0
_DOCUMENT = "networks"


class Follower(Protocol):
    """Who lives in networks: the ports."""

    async def network_up(self, network: Network) -> None:
        """Frames flow: open the network's ports."""
        ...

    async def network_settled(self, network: Network) -> None:
        """The store knows the network and us: what was left pending can be done."""
        ...

    async def network_changed(self, network: Network) -> None:
        """Its MTU is another one now."""
        ...

    async def network_down(self, network: Network) -> None:
        """The network goes: so do its ports."""
        ...


class Networks:
    """All networks of this node. ``auto_mtu``: what "auto" means on this underlay, bytes."""

    follower: Follower

    def __init__(
        self,
        fdb: Fdb,
        store: Store,
        peers: Peers,
        announcer: Announcer,
        reconciler: Reconciler,
        state: StateDir,
        *,
        defaults: config.Networks,
        max_macs: int,
        auto_mtu: Callable[[], int],
        stats: Stats,
    ) -> None:
        self.by_name: dict[str, Network] = {}
        self.defaults = defaults
        self._fdb = fdb
        self._store = store
        self._peers = peers
        self._announcer = announcer
        self._reconciler = reconciler
        self._state = state
        self._max_macs = max_macs
        self._auto_mtu = auto_mtu
        self._stats = stats
        self._everywhere: tuple[Vtep, ...] = ()
        self._changing = asyncio.Lock()
        self._poke = asyncio.Event()

    @property
    def recorded(self) -> bool:
        """The store keeps records of networks, and claims."""
        return self._store.status().state != "static"

    # -- the start -------------------------------------------------------------------------------------------------

    async def start(self, wanted: Iterable[config.Network], peers: Iterable[Vtep], patience: float) -> None:
        """Join what is configured and what was joined before; then every network with a known VNI forwards.

        Waits ``patience`` seconds at most for a store that has not said yet how it is. ConflictError if its record
        of a configured network contradicts.
        """
        self._everywhere = tuple(peers)
        for settings in wanted:
            self.by_name[settings.name] = Network(settings, configured=True)
        for settings in self._saved():
            if settings.name not in self.by_name and all(n.vni != settings.vni for n in self.by_name.values()):
                self.by_name[settings.name] = Network(settings, configured=False)
        if self.recorded and self.by_name:
            await self._read_records(deadline(patience))
        for network in self.by_name.values():
            if network.table is None and network.vni is not None and network.state != "conflict":
                await self._raise(network)
        self._poke.set()

    async def _read_records(self, until: float) -> None:
        for network in self.by_name.values():
            try:
                record = await self._agree(network, until)
            except StoreUnavailableError as error:
                log.warning("starting without the store: %s", error)
                return
            if record is not None:
                network.settings = asked_for.adopted(network.settings, record)
            elif network.configured:
                raise ConflictError(network.reason or f"network {network.name!r} contradicts the store")

    def _saved(self) -> list[config.Network]:
        """The networks that were joined by a command in earlier lives."""
        document = self._state.read(_DOCUMENT)
        try:
            return [asked_for.from_plain(item, f"{_DOCUMENT}.json") for item in document or ()]
        except (TypeError, VxswitchError) as error:
            self._state.move_aside(_DOCUMENT, str(error))
            return []

    async def _save(self) -> None:
        items = [asked_for.to_plain(n.settings) for n in self.by_name.values() if not n.configured]
        await asyncio.to_thread(self._state.write, _DOCUMENT, items)

    # -- up and settled --------------------------------------------------------------------------------------------

    async def _raise(self, network: Network) -> None:
        """The VNI is known: forward."""
        settings = network.settings
        assert settings.vni is not None
        other = self._fdb.tables.get(settings.vni)
        if other is not None:
            raise ConflictError(f"network {network.name!r}: VNI {settings.vni} is network {other.name!r} on this node")
        table = Table(
            network.name,
            settings.vni,
            mtu=self._mtu(settings),
            learning=settings.learning,
            unknown=settings.unknown,
            antispoof=settings.antispoof,
            vlan=settings.vlan,
            max_macs=self._max_macs,
            stats=self._stats,
        )
        network.table = self._fdb.add(table)
        network.state, network.reason = "up", None
        self._reconciler.join(settings.vni)
        self.set_peers(self._everywhere)
        await self.follower.network_up(network)
        if not self.recorded:
            network.settled.set()

    def _mtu(self, settings: config.Network) -> int:
        auto = self._auto_mtu()
        if settings.mtu is not None and settings.mtu > auto:
            log.warning("network %s: MTU %d is more than the underlay carries (%d)", settings.name, settings.mtu, auto)
        return settings.mtu or auto

    async def _agree(self, network: Network, until: float) -> NetworkRecord | None:
        """The store's record, made if there was none; None: it contradicts. StoreUnavailableError: later."""
        try:
            record = await patiently(self._record(network.settings), until)
            reason = asked_for.contradiction(network.settings, record)
        except UsageError as error:
            record, reason = None, str(error)
        if reason is None:
            return record
        if network.reason != reason:
            log.error("network %s: %s", network.name, reason)
        network.state, network.reason = "conflict", reason
        return None

    async def _record(self, settings: config.Network) -> NetworkRecord:
        record = await self._store.get_network(settings.name)
        if record is not None:
            return record
        try:
            return await self._store.create_network(settings.record())
        except ConflictError:
            theirs = await self._store.get_network(settings.name)  # another node was quicker
            if theirs is None:
                raise  # the VNI is another network's
            return theirs

    async def _settle(self, network: Network, until: float) -> None:
        """Agree with the store and become a member. StoreUnavailableError: later."""
        record = await self._agree(network, until)
        if record is None:
            return
        await self._adopt(network, record)
        await patiently(self._store.join(record.vni), until)
        assert network.table is not None
        self._announcer.watch(network.table)
        network.state, network.reason = "up", None
        network.settled.set()
        await self.follower.network_settled(network)

    async def _adopt(self, network: Network, record: NetworkRecord) -> None:
        network.settings = asked_for.adopted(network.settings, record)
        if network.table is None:
            await self._raise(network)
            return
        table, mtu = network.table, self._mtu(network.settings)
        table.learning = record.learning
        if table.mtu != mtu:
            log.warning("network %s: its MTU is %d, says the store", network.name, mtu)
            table.mtu = mtu
            await self.follower.network_changed(network)
        table.changed()

    async def run(self) -> None:
        """Settle what is not settled, again and again: the store comes back, records change."""
        while True:
            with contextlib.suppress(TimeoutError):  # not wait_for, which may swallow a cancellation (python 3.11)
                async with asyncio.timeout(_RETRY):
                    await self._poke.wait()
            self._poke.clear()
            if self.recorded:
                async with self._changing:
                    await self.settle_all()

    async def settle_all(self) -> None:
        """Try every network that is not settled, until the store does not answer."""
        for network in [n for n in self.by_name.values() if not n.settled.is_set()]:
            try:
                await self._settle(network, deadline())
            except StoreUnavailableError:
                return
            except VxswitchError as error:
                network.state, network.reason = "conflict", str(error)
                log.error("network %s cannot come up: %s", network.name, error)

    # -- commands --------------------------------------------------------------------------------------------------

    def find(self, name: str) -> Network:
        """A network of this node; NotFoundError."""
        network = self.by_name.get(name)
        if network is None:
            raise NotFoundError(f"network {name!r} is not on this node: `vxswitch network ls` shows those that are")
        return network

    def forwarding(self, name: str) -> tuple[Network, Table]:
        """A network of this node whose frames flow; NotFoundError, StoreUnavailableError, ConflictError."""
        network = self.find(name)
        if network.state == "conflict":
            raise ConflictError(f"network {name!r}: {network.reason}")
        if network.table is None:
            raise StoreUnavailableError(f"network {name!r} is pending: its VNI is in the store, which is away")
        return network, network.table

    def name_of(self, vni: int) -> str | None:
        """The name of a joined VNI."""
        table = self._fdb.tables.get(vni)
        return table.name if table is not None else None

    async def create(self, settings: config.Network, *, may_exist: bool) -> Network:
        """Create or join a network by command; ConflictError if it contradicts this node's or the store's."""
        async with self._changing:
            known = self.by_name.get(settings.name)
            if known is None:
                return await self._join(settings)
            differs = asked_for.difference(settings, known.settings)
            if differs or not may_exist:
                raise ConflictError(differs or f"network {known.name!r} exists: --may-exist makes that a success")
            return known

    async def ensure(self, name: str) -> Network:
        """The network of that name, joined now if only the store knows it. NotFoundError, StoreUnavailableError."""
        if name in self.by_name or not self.recorded:
            return self.find(name)
        async with self._changing:
            if name in self.by_name:
                return self.find(name)
            record = await patiently(self._store.get_network(name), deadline())
            if record is None:
                raise NotFoundError(f"there is no network {name!r}: `vxswitch network create {name}` makes it")
            return await self._join(asked_for.from_record(record, self.defaults.vlan))

    async def _join(self, settings: config.Network) -> Network:
        if settings.vni is None and not self.recorded:
            raise UsageError(f"network {settings.name!r} has no VNI and static: keeps no record of it: give --vni")
        network = self.by_name[settings.name] = Network(settings, configured=False)
        try:
            if self.recorded:
                await self._settle_or_wait(network)
            else:
                await self._raise(network)
        except VxswitchError:
            del self.by_name[settings.name]
            await self._lower(network)
            raise
        await self._save()
        self._poke.set()
        return network

    async def _settle_or_wait(self, network: Network) -> None:
        try:
            await self._settle(network, deadline())
        except StoreUnavailableError as error:
            log.warning("network %s waits for the store: %s", network.name, error)
            if network.table is None and network.vni is not None:
                await self._raise(network)
        if network.state == "conflict":
            raise ConflictError(network.reason or "conflict")

    async def remove(self, name: str) -> bool:
        """Leave a network, its ports with it; true if its record went too (there was no other member)."""
        async with self._changing:
            network = self.find(name)
            others = self._peers.members(network.vni) if network.vni is not None else set()
            await self._lower(network)
            del self.by_name[name]
            await self._save()
            if not self.recorded or others:
                return False
            try:
                await patiently(self._store.remove_network(name), deadline())
            except VxswitchError as error:
                log.warning("network %s: left, but its record stays: %s", name, error)
                return False
            return True

    async def purge(self) -> None:
        """Leave every network for good: ports, TAPs and rows go, records stay. What was joined is still remembered."""
        async with self._changing:
            for network in self.by_name.values():
                await self._lower(network)

    async def _lower(self, network: Network) -> None:
        """Stop forwarding: ports first, then the membership, with which our rows go."""
        await self.follower.network_down(network)
        table = network.table
        if table is None:
            return
        table.on_local = None
        if network.settled.is_set() and self.recorded:
            try:
                await patiently(self._store.leave(table.vni), deadline())
            except StoreUnavailableError as error:
                log.warning("network %s: left without telling the store: %s", network.name, error)
        self._reconciler.leave(table.vni)
        self._fdb.remove(table.vni)
        network.table = None

    # -- SIGHUP ----------------------------------------------------------------------------------------------------

    def set_peers(self, everywhere: Iterable[Vtep]) -> None:
        """The static peers as configured now: those of every network, and each network's own."""
        self._everywhere = tuple(everywhere)
        own = {n.vni: n.settings.peers for n in self.by_name.values() if n.vni is not None and n.settings.peers}
        self._peers.set_static(self._everywhere, own)

    async def reload(self, wanted: Iterable[config.Network], defaults: config.Networks) -> list[str]:
        """Be what the configuration says now; returns the keys that cannot change while frames flow."""
        refused: list[str] = []
        self.defaults = defaults
        settings = {s.name: s for s in wanted}
        async with self._changing:
            for network in [n for n in self.by_name.values() if n.configured and n.name not in settings]:
                log.info("network %s is no longer configured: leaving it", network.name)
                await self._lower(network)
                del self.by_name[network.name]
            for name, asked in settings.items():
                known = self.by_name.get(name)
                refused += await self._add(asked) if known is None else self._change(known, asked)
            await self._save()
        self.set_peers(self._everywhere)
        self._poke.set()
        return refused

    async def _add(self, asked: config.Network) -> list[str]:
        """A network that is new in the configuration; the store's part of it follows in ``run``."""
        network = self.by_name[asked.name] = Network(asked, configured=True)
        try:
            if asked.vni is not None:
                await self._raise(network)
        except VxswitchError as error:
            del self.by_name[asked.name]
            await self._lower(network)
            return [f"networks.{asked.name}: {error}"]
        return []

    @staticmethod
    def _change(known: Network, asked: config.Network) -> list[str]:
        known.configured = True
        keys = asked_for.fixed(asked, known.settings)
        known.settings = msgspec.structs.replace(
            known.settings, unknown=asked.unknown, antispoof=asked.antispoof, vlan=asked.vlan, peers=asked.peers
        )
        table = known.table
        if table is not None:
            table.unknown, table.antispoof, table.vlan = asked.unknown, asked.antispoof, asked.vlan
            table.changed()
        return [f"networks.{known.name}.{key}" for key in keys]
