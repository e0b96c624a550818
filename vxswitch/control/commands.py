"""What the control API may be asked to change in the tables, and what it may be asked to trace.

The bodies of requests are Structs: unknown keys and wrong types are refused with the key's name. Networks and ports
have commands of their own (``networks``, ``attaching``); here is the rest: static rows, flushing, thawing, tracing.
"""

from __future__ import annotations

import ipaddress
from typing import Any, Literal, NamedTuple, TypeVar

import msgspec

from vxswitch.control import traceframe
from vxswitch.control.patience import deadline, patiently
from vxswitch.control.views import Rooms
from vxswitch.errors import ConflictError, NotFoundError, UsageError
from vxswitch.fdb import Hop, LocalPort, Row, Table
from vxswitch.model import Vtep, format_mac, parse_mac
from vxswitch.wire.multicast import mac_of

B = TypeVar("B", bound=msgspec.Struct)


class Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The JSON object of a request."""


class AddRow(Body, frozen=True, kw_only=True):
    """POST /v1/fdb: a static row, behind one of our ports or behind a VTEP."""

    network: str
    mac: str
    port: str | None = None
    vtep: str | None = None
    sticky: bool = False


class OneRow(Body, frozen=True, kw_only=True):
    """A row by network and MAC."""

    network: str
    mac: str


class Flush(Body, frozen=True, kw_only=True):
    """POST /v1/fdb/flush: of one network, or of all."""

    network: str | None = None


class Detach(Body, frozen=True, kw_only=True):
    """POST /v1/detach."""

    network: str
    netns: str
    ifname: str = "eth0"
    inode: int | None = None


class Trace(Body, frozen=True, kw_only=True):
    """POST /v1/trace: ends are MACs or IP addresses."""

    network: str
    src: str
    dst: str
    port: str | None = None
    proto: Literal["tcp", "udp"] | None = None
    dport: int | None = None


def parse(kind: type[B], content: bytes) -> B:
    """The body as what the request wants; UsageError names the key that is wrong."""
    try:
        return msgspec.json.decode(content or b"{}", type=kind)
    except msgspec.DecodeError as error:  # a ValidationError is one too
        raise UsageError(f"request refused: {error}") from None


class End(NamedTuple):
    """One end of a trace."""

    mac: bytes
    ip: str | None


class Commands:
    """Changes to the tables that a user asks for."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms

    # -- rows ------------------------------------------------------------------------------------------------------

    def add_row(self, body: AddRow) -> dict[str, Any]:
        """Install a static row, over whatever stood there."""
        table, mac = self._table(body.network), _station(body.mac)
        row = table.rows.get(mac)
        if row is not None and row.given and row.hop is not None:
            raise ConflictError(f"MAC {body.mac} was given to a port of this node: it cannot be elsewhere")
        flags = ("sticky",) if body.sticky else ()
        table.install(mac, self._hop(table, body), "static", self._rooms.clock(), flags=flags)
        return {}

    def _hop(self, table: Table, body: AddRow) -> Hop:
        if (body.port is None) == (body.vtep is None):
            raise UsageError("fdb add: want either a port or a VTEP")
        if body.port is not None:
            return self._rooms.ports.find(table.name, body.port)
        vtep = Vtep.parse(body.vtep or "")
        own = self._rooms.node.vteps
        if any(vtep.address == mine.address for mine in own):
            raise UsageError(f"fdb add: {vtep} is this node itself: give --port")
        if all(vtep.family != mine.family for mine in own):
            raise UsageError(f"fdb add: this node has no VTEP of the family of {vtep}")
        return self._rooms.fdb.peer(vtep)

    def delete_row(self, network: str, mac: str) -> dict[str, Any]:
        """Remove a static or learned row. What is claimed or given is its owner's to release."""
        table, key = self._table(network), _station(mac)
        row = table.rows.get(key)
        if row is None:
            raise NotFoundError(f"network {network!r} has no row for {mac}")
        _check_ours_to_remove(row, mac)
        static = row.source == "static"
        table.withdraw(key)
        if static:
            self._rooms.reconciler.reinstate(table, key)
        return {}

    def flush(self, body: Flush) -> dict[str, Any]:
        """Forget what was learned."""
        tables = list(self._rooms.fdb.tables.values()) if body.network is None else [self._table(body.network)]
        return {"flushed": sum(table.flush() for table in tables)}

    async def thaw(self, body: OneRow) -> dict[str, Any]:
        """Let a frozen MAC move again."""
        table, mac = self._table(body.network), _station(body.mac)
        await patiently(self._rooms.store.thaw(table.vni, mac), deadline())
        return {}

    def _table(self, network: str) -> Table:
        return self._rooms.networks.forwarding(network)[1]

    # -- trace -----------------------------------------------------------------------------------------------------

    def trace(self, body: Trace) -> list[dict[str, Any]]:
        """A frame through the real stages, dry."""
        table = self._table(body.network)
        src, dst = self._end(table, body.src), self._end(table, body.dst)
        if src.mac[0] & 1:
            raise UsageError(f"trace: source {format_mac(src.mac)} is a group address")
        src_ip, dst_ip = self._addresses(table, src, dst)
        frame = traceframe.build(src.mac, dst.mac, src_ip, dst_ip, body.proto, body.dport)
        port = self._rooms.ports.find(table.name, body.port) if body.port is not None else _behind(table, src.mac)
        return self._rooms.plane.trace(table.vni, src.mac, dst.mac, frame, port)

    def _end(self, table: Table, text: str) -> End:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return End(parse_mac(text), None)
        ip = str(address)
        if address.is_multicast:
            return End(mac_of(address.packed), ip)
        mac = self._rooms.ports.owner_of(table.name, ip) or self._rooms.reconciler.owner_of(table.vni, ip)
        if mac is None:
            raise NotFoundError(f"network {table.name!r}: nobody is known to have {ip}: give its MAC")
        return End(mac, ip)

    def _addresses(self, table: Table, src: End, dst: End) -> tuple[str | None, str | None]:
        """The ends' addresses, of one family where there is a choice."""
        theirs, others = self._known(table, src), self._known(table, dst)
        for a in theirs:
            for b in others:
                if (":" in a) == (":" in b):
                    return a, b
        return (src.ip, dst.ip) if src.ip and dst.ip else (None, None)

    def _known(self, table: Table, end: End) -> tuple[str, ...]:
        if end.ip is not None:
            return (end.ip,)
        return self._rooms.ports.ips_with(table.vni, end.mac) or self._rooms.reconciler.ips_of(table.vni, end.mac)


def _station(text: str) -> bytes:
    mac = parse_mac(text)
    if mac[0] & 1 or not any(mac):
        raise UsageError(f"MAC {text}: not the address of a station")
    return mac


def _check_ours_to_remove(row: Row, mac: str) -> None:
    if row.given:
        raise ConflictError(f"MAC {mac} was given to port {getattr(row.hop, 'id', None)}: detach that instead")
    if row.source == "claimed":
        raise ConflictError(f"MAC {mac} is claimed by node {row.node}: it goes when that node releases it")


def _behind(table: Table, mac: bytes) -> LocalPort | None:
    row = table.rows.get(mac)
    return row.hop if row is not None and isinstance(row.hop, LocalPort) else None
