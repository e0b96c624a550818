"""Attach and detach: what comes in over attach.sock, and what takes it back.

    request -> network (joined now, if only the store knows it) -> the port's lock -> addresses -> MAC
            -> data plane -> ports.json -> the answer, by which the client configures the interface

The same attach again is a success that changes nothing (``existing``); the same with other wishes is a conflict. A port
that waits takes the descriptor that a repeated attach brings. Nothing here waits for the store longer than a command
may; a claim that could not be made yet follows.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Any
from weakref import WeakValueDictionary

from vxswitch.control import portrecord
from vxswitch.control.addresses import Addresses
from vxswitch.control.doors import Taps
from vxswitch.control.joining import Joining
from vxswitch.control.networks import Networks
from vxswitch.control.portbook import Entry
from vxswitch.control.portrecord import AttachRequest, PortRecord, derive_mac, port_id
from vxswitch.control.ports import Ports
from vxswitch.errors import ConflictError, NotFoundError, UsageError, VxswitchError
from vxswitch.fdb import Table
from vxswitch.model import format_mac, parse_mac

log = logging.getLogger(__name__)


class Attaching:
    """The requests that make and remove containers' ports. ``identity``: cluster and node, for derived MACs."""

    def __init__(
        self,
        ports: Ports,
        networks: Networks,
        joining: Joining,
        addresses: Addresses,
        taps: Taps,
        *,
        identity: tuple[str, str],
    ) -> None:
        self._ports = ports
        self._networks = networks
        self._joining = joining
        self._addresses = addresses
        self._taps = taps
        self._identity = identity
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def handle(self, message: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        """A message on attach.sock. The descriptors are borrowed."""
        match message.get("op"):
            case "attach":
                return await self.attach(portrecord.parse_request(message), fds)
            case "abort":
                await self.abort(str(message.get("port")))
                return {}
        raise UsageError(f"attach socket: unknown request {message.get('op')!r}")

    async def attach(self, request: AttachRequest, fds: list[int]) -> dict[str, Any]:
        """A port for a TAP; the same again is a success (``existing``)."""
        if len(fds) != 1:
            raise UsageError(f"attach: want the descriptor of one queue, got {len(fds)}")
        await self._joining.ensure(request.network)
        _, table = self._networks.forwarding(request.network)
        ident = port_id(request.network, request.netns, request.ifname)
        async with self._lock(ident):
            entry = self._ports.entries.get(ident)
            if entry is not None and entry.record.inode != request.inode:
                self._ports.gone(entry, "its namespace was replaced", keep_addresses=True)
                entry = None
            if entry is not None:
                _check_same(entry.record, request)
            if entry is not None and entry.port is not None:
                return _answer(entry, table, existing=True)
            self._check_place(request, ident)
            entry = await self._open(request, ident, fds[0], entry.record if entry is not None else None)
        try:
            await self._ports.save()
        except VxswitchError:
            await self._detach(entry)
            raise
        return _answer(entry, table, existing=False)

    async def _open(self, request: AttachRequest, ident: str, fd: int, known: PortRecord | None) -> Entry:
        opened = self._taps.accept(fd, request.tap)
        try:
            record = known or await self._record(request, ident)
            _, table = self._networks.forwarding(request.network)  # it may have gone while we waited
        except BaseException:
            os.close(opened.fd)
            raise
        entry = Entry(record, pinned=request.pinned)
        self._ports.start(entry, opened, table)
        return entry

    async def _record(self, request: AttachRequest, ident: str) -> PortRecord:
        """A new port: its addresses, and the MAC that follows from them unless one was asked for."""
        ips = await self._addresses.take(self._networks.find(request.network), ident, request.ips)
        _, table = self._networks.forwarding(request.network)
        return PortRecord(
            id=ident,
            network=request.network,
            ifname=request.ifname,
            mac=format_mac(self._mac(table, ident, request, ips)),
            netns=request.netns,
            inode=request.inode,
            pid=request.pid,
            ips=ips,
            gateway=request.gateway,
            rate=request.rate,
            pps=request.pps,
        )

    def _mac(self, table: Table, ident: str, request: AttachRequest, ips: tuple[str, ...]) -> bytes:
        if request.mac is not None:
            mac = parse_mac(request.mac)
        elif ips:
            mac = derive_mac(table.vni, ips[0].partition("/")[0])
        else:
            mac = derive_mac(*self._identity, request.netns, request.ifname)
        other = self._ports.with_mac(table.vni, mac)
        if other is not None and other.record.id != ident:
            raise ConflictError(f"MAC {format_mac(mac)} is that of port {other.record.id}: give another --mac or --ip")
        return mac

    def _check_place(self, request: AttachRequest, ident: str) -> None:
        for entry in self._ports.entries.values():
            record = entry.record
            there = record.netns == request.netns and record.inode == request.inode
            if there and record.ifname == request.ifname and record.id != ident:
                raise ConflictError(f"{request.ifname} in {request.netns} is port {record.id}: detach it first")

    async def abort(self, ident: str) -> None:
        """Whoever asked for this port could not put its TAP in place."""
        entry = self._ports.entries.get(ident)
        if entry is None or entry.host:
            raise NotFoundError(f"there is no port {ident!r}")
        log.warning("port %s: given up by who attached it", ident)
        await self._detach(entry)

    async def abandoned(self, answer: dict[str, Any]) -> None:
        """Whoever asked did not wait for this answer, so nobody puts a new port's TAP in place."""
        entry = self._ports.entries.get(str(answer.get("port")))
        if entry is not None and not answer.get("existing", True):
            log.warning("port %s: nobody waited for it", entry.record.id)
            await self._detach(entry)

    async def detach(self, network: str, netns: str, ifname: str) -> None:
        """Remove a container's port and its TAP; NotFoundError if there is none."""
        entry = self._ports.entries.get(port_id(network, netns, ifname))
        if entry is None:
            raise NotFoundError(f"network {network!r} has no port {ifname} in {netns}: see `vxswitch ports`")
        await self._detach(entry)

    async def _detach(self, entry: Entry) -> None:
        async with self._lock(entry.record.id):
            if self._ports.entries.get(entry.record.id) is not entry:
                return
            vni = self._ports.vni_of(entry)
            await self._ports.remove(entry)
            await self._ports.keep()
        if entry.record.ips and vni is not None:
            await self._addresses.give_back(vni, [entry.record.id])

    def _lock(self, ident: str) -> asyncio.Lock:
        return self._locks.setdefault(ident, asyncio.Lock())


def _answer(entry: Entry, table: Table, *, existing: bool) -> dict[str, Any]:
    record = entry.record
    return {
        "port": record.id,
        "network": record.network,
        "netns": record.netns,
        "ifname": record.ifname,
        "mac": record.mac,
        "ips": list(record.ips),
        "mtu": table.mtu,
        "existing": existing,
    }


def _check_same(record: PortRecord, request: AttachRequest) -> None:
    """An attach that is repeated may leave things out, but not ask for other ones."""
    named = {ip for ip in request.ips if ip not in ("auto", "none")}
    for what, asked, has in (
        ("MAC", request.mac, record.mac),
        ("gateway", request.gateway, record.gateway),
        ("rate", request.rate, record.rate),
        ("pps", request.pps, record.pps),
        ("addresses", ", ".join(sorted(named)), ", ".join(sorted(record.ips))),
    ):
        if asked and str(asked).lower() != str(has):
            present = f"with {what} {has}" if has else f"without {what}"
            raise ConflictError(f"port {record.id} is attached {present}, not {asked}: detach it first")
