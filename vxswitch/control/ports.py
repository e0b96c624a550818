"""The local ports of this node, from the descriptor that arrives to the namespace that vanishes.

    host     joining a network opens ``vx-NAME``; leaving it removes it
    start    each recorded port whose namespace is still the same is re-attached inside; a descriptor opened there keeps
             the namespace alive, so ``watch`` looks once a second whether the recorded path still leads to it
    gone     the TAP or its namespace has vanished: rows withdrawn and released, addresses given back, record removed
    remove   the same, on request (``attaching``), and the device goes with its descriptor

Which ports there are, what is asked about them and what is shown of them: ``portbook``.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine
from typing import Any

from vxswitch import config
from vxswitch.bindings import pack
from vxswitch.control import portrecord
from vxswitch.control.addresses import Addresses
from vxswitch.control.doors import Clock, DataPlane, Opened, Taps
from vxswitch.control.events import Tell, nobody
from vxswitch.control.network import Network
from vxswitch.control.networks import Networks
from vxswitch.control.portbook import Entry, PortBook
from vxswitch.control.portrecord import PortRecord, derive_mac, host_port_id
from vxswitch.control.state import StateDir
from vxswitch.errors import ConflictError, NotFoundError, StoreUnavailableError, UsageError, VxswitchError
from vxswitch.fdb import LocalPort, Table
from vxswitch.model import PortSpec, format_mac
from vxswitch.wire.address import link_local

log = logging.getLogger(__name__)

_DOCUMENT = "ports"


class Ports(PortBook):
    """All local ports. ``limits`` may be replaced while they forward (``relimit``).

    ``identity``: cluster and node, for derived MACs. ``release`` tells the store that we gave up a MAC, also one that
    another node has by now.
    """

    def __init__(
        self,
        networks: Networks,
        plane: DataPlane,
        taps: Taps,
        addresses: Addresses,
        state: StateDir,
        *,
        identity: tuple[str, str],
        limits: config.Limits,
        max_macs: int,
        clock: Clock,
        release: Callable[[int, bytes], None],
        tell: Tell = nobody,
    ) -> None:
        super().__init__(networks, plane)
        self.limits = limits
        self._taps = taps
        self._addresses = addresses
        self._state = state
        self._identity = identity
        self._max_macs = max_macs
        self._clock = clock
        self._release = release
        self._tell = tell
        self._strays: list[PortRecord] = []  # the host's own ports of an earlier life
        self._saving = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    # -- the start -------------------------------------------------------------------------------------------------

    def load(self) -> None:
        """Read ``ports.json``: every container's port waits until its network is up."""
        document = self._state.read(_DOCUMENT)
        try:
            records = portrecord.parse_records(document or [])
        except UsageError as error:
            self._state.move_aside(_DOCUMENT, str(error))
            return
        for record in records:
            if record.netns is None:
                self._strays.append(record)
            else:
                self.entries[record.id] = Entry(record)

    async def started(self) -> None:
        """All networks that can be up are: remove the host's own TAPs of networks that are not joined any more."""
        for record in self._strays:
            if record.network not in self._networks.by_name:
                await asyncio.to_thread(self._taps.delete_host, record.ifname)
        self._strays.clear()
        await self.save()

    def undo(self) -> None:
        """The start has failed: TAPs that it made go with their descriptors."""
        for entry in self.entries.values():
            if entry.made:
                self._taps.forget(entry.fd)

    # -- networks come and go --------------------------------------------------------------------------------------

    async def network_up(self, network: Network) -> None:
        """Open the host's own port, and re-attach those that wait for this network."""
        if self._networks.defaults.host_port:
            await self._open_host(network)
        for entry in [e for e in self.of(network.name) if e.port is None]:
            await self._reattach(network, entry)

    async def network_settled(self, network: Network) -> None:
        """Reserve the addresses that were taken without asking the store, and give back what is owed to it."""
        await self._addresses.flush()
        for entry in [e for e in self.of(network.name) if e.record.ips]:
            try:
                await self._addresses.reserve(network, entry.record.id, entry.record.ips)
            except StoreUnavailableError as error:
                log.warning("addresses of network %s are not reserved yet: %s", network.name, error)
                return
            except UsageError as error:
                log.error("port %s: %s", entry.record.id, error)

    async def network_changed(self, network: Network, was: int) -> None:
        """The network's MTU was ``was`` bytes, and is another one now: the interfaces follow."""
        for entry in self.of(network.name):
            if entry.port is not None:
                await self._follow_mtu(network, entry, was)

    async def _follow_mtu(self, network: Network, entry: Entry, was: int | None) -> None:
        """An interface larger than its network would be a black hole for large frames."""
        assert network.table is not None
        record, mtu = entry.record, network.table.mtu
        try:
            await asyncio.to_thread(self._taps.follow_mtu, record.place, record.ifname, was, mtu)
        except VxswitchError as error:
            log.warning("port %s keeps its MTU, not %d: %s", record.id, mtu, error)

    async def network_down(self, network: Network) -> None:
        """Remove every port of the network, its TAP too."""
        entries = self.of(network.name)
        for entry in entries:
            await self.remove(entry)
        await self._addresses.give_back(network.vni or 0, [e.record.id for e in entries if e.record.ips])
        await self.keep()

    async def _open_host(self, network: Network) -> None:
        table = network.table
        assert table is not None
        ifname = self._taps.host_name(network.name)
        ident = host_port_id(network.name, ifname)
        if ident in self.entries:
            return
        if any(e.host and e.record.ifname == ifname for e in self.entries.values()):
            raise ConflictError(f"network {network.name!r}: its TAP would be {ifname}, which another network has")
        mac = derive_mac(*self._identity, "host", ifname)
        opened = await asyncio.to_thread(self._taps.open_host, network.name, mac, table.mtu)
        record = PortRecord(id=ident, network=network.name, ifname=ifname, mac=format_mac(mac))
        self.start(Entry(record), opened, table)

    async def _reattach(self, network: Network, entry: Entry) -> None:
        place, table = entry.record.place, network.table
        assert place is not None and table is not None
        try:
            if not self._taps.same(place):
                raise NotFoundError("its namespace is no more")
            opened = await asyncio.to_thread(self._taps.reopen, place, entry.record.ifname)
        except NotFoundError as error:
            self.gone(entry, str(error))
        except VxswitchError as error:
            log.warning("port %s waits: %s", entry.record.id, error)
        else:
            entry.pinned = True
            self.start(entry, opened, table)
            await self._follow_mtu(network, entry, None)

    def start(self, entry: Entry, opened: Opened, table: Table) -> None:
        """Hand the descriptor to the data plane; its MAC is given to the port, and thereby announced."""
        entry.fd, entry.offloads, entry.made, entry.told = opened.fd, opened.offloads, opened.made, "down"
        self.entries[entry.record.id] = entry
        try:
            entry.port = self._plane.add_port(self._spec(entry, table), opened.fd)
        except BaseException:
            del self.entries[entry.record.id]
            os.close(opened.fd)
            raise
        table.install(entry.record.mac_bytes, entry.port, "learned", self._clock(), given=True)
        log.info("port %s is added, MAC %s", entry.record.id, entry.record.mac)
        self._tell("port.added", port=entry.record.id, network=entry.record.network, mac=entry.record.mac)

    def _spec(self, entry: Entry, table: Table) -> PortSpec:
        record = entry.record
        return PortSpec(
            id=record.id,
            vni=table.vni,
            mac=record.mac_bytes,
            antispoof=not entry.host and table.antispoof != "off",
            max_macs=self._max_macs if entry.host else self.limits.port_macs,
            bum_pps=self.limits.bum_pps,
            bum_burst=self.limits.bum_burst,
            rate_bits=record.rate,
            pps=record.pps,
            offloads=entry.offloads,
            mcast_copies=self.limits.mcast_copies,
            addresses=None if entry.host or table.antispoof != "full" else self._addresses_of(record),
        )

    def _addresses_of(self, record: PortRecord) -> tuple[bytes, ...]:
        """What the port may send from with full anti-spoofing: what it was given, and the link-local one of its MAC."""
        return (*pack(ip.partition("/")[0] for ip in record.ips), link_local(record.mac_bytes))

    async def remove(self, entry: Entry) -> None:
        """Take a port out, and its TAP with it."""
        if entry.port is None and entry.record.place is not None:
            await self._remove_waiting(entry)
        elif entry.fd >= 0:
            self._taps.forget(entry.fd)
        self._drop(entry)
        log.info("port %s is removed", entry.record.id)
        self._tell("port.removed", port=entry.record.id, network=entry.record.network, mac=entry.record.mac)

    async def _remove_waiting(self, entry: Entry) -> None:
        """A TAP that nobody holds goes when somebody takes it and lets go of it."""
        assert entry.record.place is not None
        try:
            opened = await asyncio.to_thread(self._taps.reopen, entry.record.place, entry.record.ifname)
        except NotFoundError:
            return
        except VxswitchError as error:
            log.warning("port %s: its TAP stays: %s", entry.record.id, error)
            return
        self._taps.forget(opened.fd)
        os.close(opened.fd)

    # -- gone ------------------------------------------------------------------------------------------------------

    def on_gone(self, port: LocalPort) -> None:
        """The data plane found that the TAP has vanished."""
        entry = self.entries.get(port.id)
        if entry is not None and entry.port is port:
            self.gone(entry, "its TAP or namespace has vanished")

    def watch(self) -> None:
        """Once a second: namespaces that only our own descriptor keeps alive, and those that nothing tells us about."""
        for entry in list(self.entries.values()):
            place = entry.record.place
            if place is None or (entry.port is not None and not entry.pinned) or self._taps.same(place):
                continue
            if entry.port is not None:
                self._taps.forget(entry.fd)
            self.gone(entry, "its namespace is no more")

    def gone(self, entry: Entry, why: str, *, keep_addresses: bool = False) -> None:
        """The port has vanished: forget it, and tell the store in the background."""
        log.warning("port %s is gone: %s", entry.record.id, why)
        record = entry.record
        self._tell("port.gone", port=record.id, network=record.network, mac=record.mac, reason=why)
        vni = self.vni_of(entry)
        self._drop(entry)
        if entry.record.ips and vni is not None and not keep_addresses:
            self._background(self._addresses.give_back(vni, [entry.record.id]))
        self._background(self.keep())

    def _drop(self, entry: Entry) -> None:
        """Out of the tables: the rows behind the port are withdrawn, and thereby released."""
        self.entries.pop(entry.record.id, None)
        if entry.port is not None:
            self._plane.remove_port(entry.port)
            entry.port, entry.fd = None, -1
        vni = self.vni_of(entry)
        if vni is not None:
            self._release(vni, entry.record.mac_bytes)

    # -- limits, views and files -----------------------------------------------------------------------------------

    def relimit(self, limits: config.Limits) -> None:
        """Limits and policy as configured now."""
        self.limits = limits
        for entry in self.entries.values():
            network = self._networks.by_name.get(entry.record.network)
            if entry.port is not None and network is not None and network.table is not None:
                self._plane.update_port(entry.port, self._spec(entry, network.table))

    async def finished(self, patience: float = 1.0) -> None:
        """Wait for what was begun in the background, but not longer than ``patience`` seconds."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=patience)

    async def save(self) -> None:
        """Write ``ports.json``; VxswitchError. For ports that come: they must not be forgotten."""
        await self._save(self._state.write)

    async def keep(self) -> None:
        """Write it if that is possible. For ports that went: what has vanished is found out at the next start, too."""
        await self._save(self._state.keep)

    async def _save(self, write: Callable[[str, Any], None]) -> None:
        async with self._saving:
            document = portrecord.to_document([entry.record for entry in self.entries.values()])
            await asyncio.to_thread(write, _DOCUMENT, document)

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("ports: what went on beside a command has failed", exc_info=task.exception())
