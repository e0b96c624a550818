"""Networks that come and go while the switch runs: by a command, by an attach, by SIGHUP.

A command is done when the network forwards here; what the store still has to hear follows (``networks.run``). Whatever
contradicts this node or the cluster is refused before anything has changed. Leaving takes ports and rows along; the
cluster's record goes with its last member.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

import msgspec

from vxswitch import config
from vxswitch.control import settings as asked_for
from vxswitch.control.network import Network
from vxswitch.control.networks import Networks
from vxswitch.control.patience import deadline, patiently
from vxswitch.control.peers import Peers
from vxswitch.errors import ConflictError, NotFoundError, StoreUnavailableError, UsageError, VxswitchError
from vxswitch.model import Vtep
from vxswitch.store.base import Store

log = logging.getLogger(__name__)


class Joining:
    """Changes to the networks of this node, one at a time."""

    def __init__(self, networks: Networks, store: Store, peers: Peers) -> None:
        self._networks = networks
        self._store = store
        self._peers = peers

    # -- commands --------------------------------------------------------------------------------------------------

    async def create(self, settings: config.Network, *, may_exist: bool) -> Network:
        """Create or join a network by command; ConflictError if it contradicts this node's or the store's."""
        async with self._networks.changing:
            known = self._networks.by_name.get(settings.name)
            if known is None:
                return await self._join(settings)
            differs = asked_for.difference(settings, known.settings)
            if differs or not may_exist:
                raise ConflictError(differs or f"network {known.name!r} exists: --may-exist makes that a success")
            return known

    async def ensure(self, name: str) -> Network:
        """The network of that name, joined now if only the store knows it. NotFoundError, StoreUnavailableError."""
        if name in self._networks.by_name or not self._networks.recorded:
            return self._networks.find(name)
        async with self._networks.changing:
            if name in self._networks.by_name:
                return self._networks.find(name)
            record = await patiently(self._store.get_network(name), deadline())
            if record is None:
                raise NotFoundError(f"there is no network {name!r}: `vxswitch network create {name}` makes it")
            return await self._join(asked_for.from_record(record, self._networks.defaults))

    async def _join(self, settings: config.Network) -> Network:
        if settings.vni is None and not self._networks.recorded:
            raise UsageError(f"network {settings.name!r} has no VNI and static: keeps no record of it: give --vni")
        network = self._networks.by_name[settings.name] = Network(settings, configured=False)
        try:
            if self._networks.recorded:
                await self._settle_or_wait(network)
            else:
                await self._networks.bring_up(network)
            await self._networks.save()
        except VxswitchError:
            del self._networks.by_name[settings.name]
            await self._networks.lower(network)
            raise
        self._networks.poke()
        return network

    async def _settle_or_wait(self, network: Network) -> None:
        try:
            await self._networks.settle(network, deadline())
        except StoreUnavailableError as error:
            log.warning("network %s waits for the store: %s", network.name, error)
            if network.table is None and network.vni is not None:
                await self._networks.bring_up(network)
        if network.state == "conflict":
            raise ConflictError(network.reason or "conflict")

    async def remove(self, name: str) -> bool:
        """Leave a network, its ports with it; true if its record went too (there was no other member)."""
        async with self._networks.changing:
            network = self._networks.find(name)
            others = self._peers.members(network.vni) if network.vni is not None else set()
            await self._networks.lower(network)
            del self._networks.by_name[name]
            await self._networks.keep()
            if not self._networks.recorded or others:
                return False
            try:
                await patiently(self._store.remove_network(name), deadline())
            except VxswitchError as error:
                log.warning("network %s: left, but its record stays: %s", name, error)
                return False
            return True

    async def purge(self) -> None:
        """Leave every network for good: ports, TAPs and rows go, records stay. What was joined is still remembered."""
        async with self._networks.changing:
            until = deadline()
            for network in self._networks.by_name.values():
                await self._networks.lower(network, until)

    # -- SIGHUP ----------------------------------------------------------------------------------------------------

    async def reload(
        self, wanted: Iterable[config.Network], defaults: config.Networks, peers: Iterable[Vtep]
    ) -> list[str]:
        """Be what the configuration says now; returns the keys that cannot change while frames flow."""
        refused: list[str] = []
        self._networks.defaults = defaults
        settings = {s.name: s for s in wanted}
        async with self._networks.changing:
            for network in [n for n in self._networks.by_name.values() if n.configured and n.name not in settings]:
                log.info("network %s is no longer configured: leaving it", network.name)
                await self._networks.lower(network)
                del self._networks.by_name[network.name]
            for name, asked in settings.items():
                known = self._networks.by_name.get(name)
                refused += await self._add(asked) if known is None else self._change(known, asked)
            await self._networks.keep()
        self._networks.set_peers(peers)
        self._networks.poke()
        return refused

    async def _add(self, asked: config.Network) -> list[str]:
        """A network that is new in the configuration; the store's part of it follows in ``run``."""
        network = self._networks.by_name[asked.name] = Network(asked, configured=True)
        try:
            if asked.vni is not None:
                await self._networks.bring_up(network)
        except VxswitchError as error:
            del self._networks.by_name[asked.name]
            await self._networks.lower(network)
            return [f"networks.{asked.name}: {error}"]
        return []

    @staticmethod
    def _change(known: Network, asked: config.Network) -> list[str]:
        known.configured = True
        keys = asked_for.fixed(asked, known.settings)
        policy = {key: getattr(asked, key) for key in ("unknown", "antispoof", "vlan", "suppress")}
        told = {key: getattr(asked, key) for key in ("snooping", "querier", "peers")}
        known.settings = msgspec.structs.replace(known.settings, **policy, **told)
        table = known.table
        if table is not None:
            for key, value in policy.items():
                setattr(table, key, value)
            table.changed()
        return [f"networks.{known.name}.{key}" for key in keys]
