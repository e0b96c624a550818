"""The control socket: HTTP and JSON on a unix socket, for the command line and everything else on this host.

A request is read (bounded), given to a view or a command, and answered with JSON; an error is ``{"error": {"message",
"exit_code"}}`` with the status that says of which kind it is. The socket has its mode before it has its name, and takes
the place of a stale one only: one that still answers belongs to another switch. /metrics may stand on TCP as well.
"""

from __future__ import annotations

import asyncio
import errno
import grp
import logging
import os
import socket
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from vxswitch.config import Networks as NetworkDefaults
from vxswitch.control import commands, settings
from vxswitch.control.attaching import Attaching
from vxswitch.control.commands import Commands
from vxswitch.control.inspecting import Inspecting
from vxswitch.control.metrics import Metrics
from vxswitch.control.network import Network
from vxswitch.control.patience import deadline, patiently
from vxswitch.control.views import Rooms, Views
from vxswitch.errors import (
    ConflictError,
    NotFoundError,
    StoreUnavailableError,
    UsageError,
    VxswitchError,
)

log = logging.getLogger(__name__)

MAX_BODY = 64 * 1024  # bytes
MODE = 0o660
BACKLOG = 64

_STATUS: tuple[tuple[type[VxswitchError], int], ...] = (
    (NotFoundError, 404),
    (ConflictError, 409),
    (StoreUnavailableError, 503),
    (UsageError, 400),
    (VxswitchError, 500),
)
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"  # Prometheus' exposition format

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Api:
    """The routes and their sockets."""

    def __init__(self, rooms: Rooms, views: Views, attaching: Attaching) -> None:
        self._rooms = rooms
        self._views = views
        self._attaching = attaching
        self._commands = Commands(rooms)
        self._inspecting = Inspecting(rooms, views, self._commands)
        self._metrics = Metrics(rooms, views)
        self._runners: list[web.AppRunner] = []
        self._server: asyncio.AbstractServer | None = None
        self._socket: socket.socket | None = None
        self._path: Path | None = None

    # -- sockets ---------------------------------------------------------------------------------------------------

    def bind(self, path: Path, group: str | None) -> None:
        """Take the unix socket; who connects waits until ``start``. UsageError, ConflictError."""
        self._socket = listen(path, group)
        self._path = path

    async def start(self) -> None:
        """Begin to answer."""
        runner = await self._runner(self._routes())
        assert runner.server is not None and self._socket is not None
        self._server = await asyncio.get_running_loop().create_unix_server(runner.server, sock=self._socket)

    async def start_metrics(self, address: str, port: int) -> None:
        """Serve /metrics, and nothing else, on TCP as well. UsageError if the port cannot be had."""
        runner = await self._runner([web.get("/metrics", self._get_metrics)])
        try:
            await web.TCPSite(runner, address, port).start()
        except OSError as error:
            raise UsageError(f"cannot serve metrics on {address} port {port}: {error.strerror or error}") from None

    async def close(self) -> None:
        """Stop listening and remove the socket's file; who monitors is let go."""
        self._rooms.events.close()
        if self._server is not None:
            self._server.close()
        elif self._socket is not None:
            self._socket.close()
        for runner in self._runners:
            await runner.cleanup()
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    async def _runner(self, routes: list[web.RouteDef]) -> web.AppRunner:
        app = web.Application(client_max_size=MAX_BODY, middlewares=[_errors])
        app.add_routes(routes)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        self._runners.append(runner)
        return runner

    def _routes(self) -> list[web.RouteDef]:
        views = self._views
        return [
            web.get("/v1/status", _shows(views.status)),
            web.get("/v1/ports", _shows(views.ports)),
            web.get("/v1/peers", _shows(views.peers)),
            web.get("/v1/drops", _shows(views.drops)),
            web.get("/v1/stats", _shows(views.stats)),
            web.get("/v1/networks", self._list_networks),
            web.post("/v1/networks", self._create_network),
            web.get("/v1/networks/{name}", self._show_network),
            web.delete("/v1/networks/{name}", self._remove_network),
            web.get("/v1/mcast", self._show_groups),
            web.get("/v1/fdb", self._show_fdb),
            web.post("/v1/fdb", self._add_row),
            web.delete("/v1/fdb", self._delete_row),
            web.post("/v1/fdb/flush", self._flush),
            web.post("/v1/fdb/thaw", self._thaw),
            web.post("/v1/detach", self._detach),
            web.post("/v1/trace", self._trace),
            web.get("/metrics", self._get_metrics),
            *self._inspecting.routes(),
        ]

    # -- networks --------------------------------------------------------------------------------------------------

    async def _list_networks(self, request: web.Request) -> web.Response:
        """Those of this node, then those that only the store knows."""
        shown = self._views.networks()
        here = {network["name"] for network in shown}
        if self._rooms.networks.recorded:
            try:
                records = await patiently(self._rooms.store.networks(), deadline())
            except StoreUnavailableError:
                records = []
            own = self._rooms.networks.defaults
            others = [Network(settings.from_record(r, own), configured=False) for r in records if r.name not in here]
            shown += [network.view() | {"state": "elsewhere"} for network in others]
        return _json(shown)

    async def _show_network(self, request: web.Request) -> web.Response:
        network = self._rooms.networks.find(request.match_info["name"])
        members = self._rooms.peers.members(network.vni) if network.vni is not None else set()
        ports = [entry.record.id for entry in self._rooms.ports.of(network.name)]
        return _json(network.view() | {"members": sorted(members), "ports": ports})

    async def _create_network(self, request: web.Request) -> web.Response:
        body = _object(await request.read())
        may_exist = body.pop("may_exist", False) is True
        wanted = settings.from_plain(body, "request", _defaults(self._rooms.networks.defaults))
        if wanted.learning != "flood" and not self._rooms.networks.recorded:
            raise UsageError(f"network {wanted.name!r}: learning {wanted.learning} needs a store, static: is none")
        network = await self._rooms.joining.create(wanted, may_exist=may_exist)
        return _json(network.view())

    async def _remove_network(self, request: web.Request) -> web.Response:
        removed = await self._rooms.joining.remove(request.match_info["name"])
        return _json({"record_removed": removed})

    # -- rows, ports, traces ---------------------------------------------------------------------------------------

    async def _show_fdb(self, request: web.Request) -> web.Response:
        name = request.query.get("network")
        tables = list(self._rooms.fdb.tables.values())
        if name is not None:
            table = self._rooms.networks.find(name).table
            tables = [table] if table is not None else []
        return _json(await self._views.fdb(tables))

    async def _show_groups(self, request: web.Request) -> web.Response:
        name = request.query.get("network")
        if name is not None:
            self._rooms.networks.find(name)
        return _json(self._rooms.groups.view(name))

    async def _add_row(self, request: web.Request) -> web.Response:
        return _json(self._commands.add_row(commands.parse(commands.AddRow, await request.read())))

    async def _delete_row(self, request: web.Request) -> web.Response:
        network, mac = request.query.get("network"), request.query.get("mac")
        if network is None or mac is None:
            raise UsageError("fdb del: want a network and a MAC")
        return _json(self._commands.delete_row(network, mac))

    async def _flush(self, request: web.Request) -> web.Response:
        return _json(self._commands.flush(commands.parse(commands.Flush, await request.read())))

    async def _thaw(self, request: web.Request) -> web.Response:
        return _json(await self._commands.thaw(commands.parse(commands.OneRow, await request.read())))

    async def _detach(self, request: web.Request) -> web.Response:
        body = commands.parse(commands.Detach, await request.read())
        await self._attaching.detach(body.network, body.netns, body.ifname)
        return _json({})

    async def _trace(self, request: web.Request) -> web.Response:
        return _json(self._commands.trace(commands.parse(commands.Trace, await request.read())))

    async def _get_metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=self._metrics.text(), headers={"Content-Type": _METRICS_TYPE})


def listen(path: Path, group: str | None) -> socket.socket:
    """A listening unix socket, mode 0660. ConflictError if another switch answers there, UsageError otherwise."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        remove_stale(path)
        os.fchmod(sock.fileno(), MODE)
        sock.bind(str(path))
        path.chmod(MODE)  # what the umask took away
        give_to_group(path, group)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise UsageError(f"cannot listen on {path}: {error.strerror or error}: give another --socket") from None
    except BaseException:
        sock.close()
        raise
    return sock


def give_to_group(path: Path, group: str | None) -> None:
    """Let the members of a group use the socket; UsageError if there is no such group."""
    if group is None:
        return
    try:
        os.chown(path, -1, grp.getgrnam(group).gr_gid)
    except KeyError:
        raise UsageError(f"node.socket_group = {group!r}: there is no such group") from None


def remove_stale(path: Path) -> None:
    """Remove what a killed switch left; ConflictError if it is in use, or no socket at all."""
    try:
        kind = path.stat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        raise ConflictError(f"cannot listen on {path}: a file of that name exists: remove it or give another --socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        if probe.connect_ex(str(path)) != errno.ECONNREFUSED:
            raise ConflictError(f"cannot listen on {path}: another switch answers there: give another --socket")
    path.unlink()


def _shows(view: Callable[[], Any]) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        return _json(view())

    return handler


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Whatever goes wrong is an answer, and nothing that goes wrong here ends the switch."""
    try:
        return await handler(request)
    except VxswitchError as error:
        status = next(code for kind, code in _STATUS if isinstance(error, kind))
        return _error(status, str(error), error.exit_code)
    except web.HTTPException as error:
        return _error(error.status, f"{request.method} {request.path}: {error.reason}", 2)
    except Exception as error:
        log.exception("request %s %s failed", request.method, request.path)
        return _error(500, f"the switch failed on this request: {error!r}: see its log", 1)


def _error(status: int, message: str, exit_code: int) -> web.Response:
    return _json({"error": {"message": message, "exit_code": exit_code}}, status)


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")


def _object(content: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise UsageError(f"request refused: {error}") from None


def _defaults(networks: NetworkDefaults) -> dict[str, Any]:
    plain = {key: getattr(networks, key) for key in ("learning", "unknown", "antispoof", "vlan", "suppress")}
    return {**plain, "mtu": networks.mtu or "auto"}
