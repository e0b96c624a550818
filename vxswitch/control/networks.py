"""The networks of this node: what was asked for, what the store's record says, and the table that forwards.

A network is ``up`` as soon as its VNI is known: frames flow from then on, whatever the store does. It is ``pending``
while only the store could tell its VNI. It is ``settled`` once the store's record was read (or made) and this node is a
member; only then are MACs announced. A record with another VNI or MTU is a ``conflict``: at start the switch says so
and ends; later the network goes on forwarding what it did, is no member, and shows the reason until that is resolved.

What the cluster has to agree on (VNI, subnets, MTU, learning) is the record's word; policy towards our own ports
(unknown, antispoof, vlan, suppress) is this node's. Networks joined by a command (``joining``) are kept in
``networks.json``, so that they and their ports come back with the switch. What the store did not answer in time is done
by ``run`` when it can be.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from typing import Any, Protocol

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
from vxswitch.store.mirror import BROKEN_HISTORY

log = logging.getLogger(__name__)

RETRY = 1.0  # seconds between attempts to settle
_PAUSE = 0.02  # seconds between questions to a store of our own that is coming up
_DOCUMENT = "networks"


class Follower(Protocol):
    """Who lives in networks: the ports."""

    async def network_up(self, network: Network) -> None:
        """Frames flow: open the network's ports."""
        ...

    async def network_settled(self, network: Network) -> None:
        """The store knows the network and us: what was left pending can be done."""
        ...

    async def network_changed(self, network: Network, was: int) -> None:
        """Its MTU is another one now."""
        ...

    async def network_down(self, network: Network) -> None:
        """The network goes: so do its ports."""
        ...


class Networks:
    """All networks of this node.

    ``auto_mtu``: what "auto" means on this underlay, bytes. ``retry``: seconds between attempts to settle.
    """

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
        retry: float = RETRY,
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
        self._retry = retry
        self._everywhere: tuple[Vtep, ...] = ()
        self.changing = asyncio.Lock()  # held by whoever makes networks come, go or settle
        self._poked = asyncio.Event()

    @property
    def recorded(self) -> bool:
        """The store keeps records of networks, and claims."""
        return self._store.status().state != "static"

    # -- the start -------------------------------------------------------------------------------------------------

    async def start(
        self,
        wanted: Iterable[config.Network],
        peers: Iterable[Vtep],
        patience: float,
        *,
        insist: bool = False,
        remembered: Callable[[str], int | None] = lambda name: None,
    ) -> None:
        """Join what is configured and what was joined before; then every network with a known VNI forwards.

        Waits ``patience`` seconds at most for a store that has not said yet how it is; ``insist``: even if it says no,
        because it is our own and about to come up. ConflictError if its record of a configured network contradicts.
        ``remembered``: the VNI that a network had in an earlier life, for those whose VNI only the store could tell;
        and what was there in an earlier life need not wait where a store that lost its data makes no new networks yet.
        """
        self._everywhere = tuple(peers)
        for settings in wanted:
            self.by_name[settings.name] = Network(settings, configured=True)
        for settings in self._saved():
            if settings.name not in self.by_name and all(n.vni != settings.vni for n in self.by_name.values()):
                self.by_name[settings.name] = Network(settings, configured=False)
        for network in self.by_name.values():
            network.remembered = remembered(network.name)
        if self.recorded and self.by_name:
            await self._read_records(deadline(patience), insist)
            self._remember()
        for network in self.by_name.values():
            if network.table is None and network.vni is not None and network.state != "conflict":
                await self.bring_up(network)
        self.poke()

    async def _read_records(self, until: float, insist: bool) -> None:
        for network in self.by_name.values():
            try:
                record = await self._agree_at_start(network, until, insist)
            except StoreUnavailableError as error:
                log.warning("starting without the store: %s", error)
                return
            if record is not None:
                network.settings = asked_for.adopted(network.settings, record)
            elif network.configured:
                raise ConflictError(network.reason or f"network {network.name!r} contradicts the store")

    def _remember(self) -> None:
        """The store has not told these networks' VNIs: go on with those they had."""
        for network in [n for n in self.by_name.values() if n.vni is None and n.state == "pending"]:
            vni = network.remembered
            if vni is not None and all(other.vni != vni for other in self.by_name.values()):
                network.settings = msgspec.structs.replace(network.settings, vni=vni)

    async def _agree_at_start(self, network: Network, until: float, insist: bool) -> NetworkRecord | None:
        while True:
            try:
                return await self._agree(network, until)
            except StoreUnavailableError:
                if not insist or deadline(_PAUSE) >= until:
                    raise
                await asyncio.sleep(_PAUSE)

    def _saved(self) -> list[config.Network]:
        """The networks that were joined by a command in earlier lives."""
        document = self._state.read(_DOCUMENT)
        try:
            return [asked_for.from_plain(item, f"{_DOCUMENT}.json") for item in document or ()]
        except (TypeError, VxswitchError) as error:
            self._state.move_aside(_DOCUMENT, str(error))
            return []

    async def save(self) -> None:
        """Remember the networks that were joined by a command; VxswitchError. For one that comes."""
        await asyncio.to_thread(self._state.write, _DOCUMENT, self._to_remember())

    async def keep(self) -> None:
        """Remember them if that is possible. For those that went."""
        await asyncio.to_thread(self._state.keep, _DOCUMENT, self._to_remember())

    def _to_remember(self) -> list[dict[str, Any]]:
        return [asked_for.to_plain(n.settings) for n in self.by_name.values() if not n.configured]

    # -- up and settled --------------------------------------------------------------------------------------------

    async def bring_up(self, network: Network) -> None:
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
            suppress=settings.suppress,
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
            record = await patiently(self._record(network.settings, again=network.was_there), until)
            reason = asked_for.contradiction(network.settings, record)
        except UsageError as error:
            record, reason = None, str(error)
        if reason is None:
            return record
        if network.reason != reason:
            log.error("network %s: %s", network.name, reason)
        network.state, network.reason = "conflict", reason
        return None

    async def _record(self, settings: config.Network, *, again: bool) -> NetworkRecord:
        record = await self._store.get_network(settings.name)
        if record is not None:
            return record
        try:
            return await self._store.create_network(settings.record(), again=again)
        except ConflictError:
            theirs = await self._store.get_network(settings.name)  # another node was quicker
            if theirs is None:
                raise  # the VNI is another network's
            return theirs

    async def settle(self, network: Network, until: float) -> None:
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
            await self.bring_up(network)
            return
        network.table.learning = record.learning
        await self._resize(network)
        network.table.changed()

    async def resize(self) -> None:
        """The underlay carries more or less than it did: networks whose MTU is "auto" follow, others are warned of."""
        async with self.changing:
            for network in [n for n in self.by_name.values() if n.table is not None]:
                await self._resize(network)

    async def _resize(self, network: Network) -> None:
        table, mtu = network.table, self._mtu(network.settings)
        assert table is not None
        if table.mtu == mtu:
            return
        was = table.mtu
        log.warning("network %s: its MTU is %d now, was %d", network.name, mtu, was)
        table.resize(mtu)
        table.changed()
        await self.follower.network_changed(network, was)

    async def run(self) -> None:
        """Settle what is not settled, again and again: the store comes back, records change."""
        done = self._breaks()
        while True:
            again = asyncio.get_running_loop().call_later(self._retry, self._poked.set)
            await self._poked.wait()
            again.cancel()
            self._poked.clear()
            if not self.recorded:
                continue
            async with self.changing:
                breaks = self._breaks()
                if self._store.status().state == "up" and done != breaks and await self.catch_up():
                    done = breaks
                await self.settle_all()

    def _breaks(self) -> int:
        """Another number whenever the store was away, or has lost what it knew (FLUSHALL breaks no connection)."""
        counts = self._store.counts
        return counts.connects + sum(counts.resyncs[reason] for reason in BROKEN_HISTORY)

    def poke(self) -> None:
        """There is something to settle: do not wait for the next round."""
        self._poked.set()

    async def catch_up(self) -> bool:
        """The store is back, maybe empty: its records of settled networks, and what its absence left undone in them.

        False: it did not answer, and has to be asked again. A record that contradicts us now is a conflict: the network
        goes on as it is. If its VNI is another network's by now it is no member any more, so that the two stay apart.
        """
        for network in [n for n in self.by_name.values() if n.settled.is_set()]:
            try:
                record = await self._agree(network, deadline())
            except StoreUnavailableError:
                return False
            except VxswitchError as error:
                network.state, network.reason = "conflict", str(error)
                log.error("network %s: %s", network.name, error)
                continue
            if record is None:
                await self._step_out(network)
            else:
                await self._adopt(network, record)
                network.state, network.reason = "up", None
                await self.follower.network_settled(network)
        return True

    async def _step_out(self, network: Network) -> None:
        """The record contradicts us: where the VNI is not ours any more, be no member and announce nothing.

        ``settle_all`` tries from then on whether the network may come back.
        """
        table = network.table
        assert table is not None
        with contextlib.suppress(StoreUnavailableError):
            record = await patiently(self._store.get_network(network.name), deadline())
            if record is not None and record.vni == table.vni:
                return
            table.on_local = table.on_heard = None
            network.settled.clear()
            await patiently(self._store.leave(table.vni), deadline())  # remembered, if it cannot be done now

    async def settle_all(self) -> None:
        """Try every network that is not settled, until the store does not answer."""
        for network in [n for n in self.by_name.values() if not n.settled.is_set()]:
            try:
                await self.settle(network, deadline())
            except StoreUnavailableError:
                return
            except VxswitchError as error:
                if network.reason != str(error):
                    log.error("network %s cannot come up: %s", network.name, error)
                network.state, network.reason = "conflict", str(error)

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

    async def lower(self, network: Network, until: float | None = None) -> None:
        """Stop forwarding: ports first, then the membership, with which our rows go."""
        await self.follower.network_down(network)
        table = network.table
        if table is None:
            return
        table.on_local = table.on_heard = None
        if network.settled.is_set() and self.recorded:
            try:
                await patiently(self._store.leave(table.vni), deadline() if until is None else until)
            except StoreUnavailableError as error:
                log.warning("network %s: left without telling the store: %s", network.name, error)
        self._reconciler.leave(table.vni)
        self._fdb.remove(table.vni)
        network.table = None

    def set_peers(self, everywhere: Iterable[Vtep]) -> None:
        """The static peers as configured now: those of every network, and each network's own."""
        self._everywhere = tuple(everywhere)
        own = {n.vni: n.settings.peers for n in self.by_name.values() if n.vni is not None and n.settings.peers}
        self._peers.set_static(self._everywhere, own)
