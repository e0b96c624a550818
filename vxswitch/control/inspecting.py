"""The requests of an operator who looks into the control plane: verify, why, monitor, wait.

    GET  /v1/verify[?network=]           compare table, copy, store and peers
    POST /v1/verify {network?}           the same, and put right what differs
    GET  /v1/fdb/why?mac=[&network=]     where a row comes from
    GET  /v1/monitor                     events as they happen, one JSON object a line, until either side ends
    GET  /v1/networks/NAME/wait          until it forwards, and all live members have what stands now

A monitor's connection that is silent gets an empty line from time to time: so one whose other end has gone is found.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from aiohttp import web

from vxswitch.control import commands
from vxswitch.control.barrier import propagated
from vxswitch.control.commands import Commands
from vxswitch.control.events import LISTENERS
from vxswitch.control.network import Network
from vxswitch.control.patience import deadline
from vxswitch.control.verify import Verify
from vxswitch.control.views import Rooms, Views
from vxswitch.control.why import Why
from vxswitch.errors import ConflictError, StoreUnavailableError, UsageError, VxswitchError

KEEP_ALIVE = 5.0  # seconds between two signs of life on a monitor's connection


class Repair(commands.Body, frozen=True, kw_only=True):
    """POST /v1/verify: of one network, or of all."""

    network: str | None = None


class Inspecting:
    """The handlers."""

    def __init__(self, rooms: Rooms, views: Views, commands: Commands) -> None:
        self._rooms = rooms
        self._verify = Verify(rooms)
        self._why = Why(rooms, views, commands)

    def routes(self) -> list[web.RouteDef]:
        """What the API serves of them."""
        return [
            web.get("/v1/verify", self._check),
            web.post("/v1/verify", self._repair),
            web.get("/v1/fdb/why", self._tell_why),
            web.get("/v1/monitor", self._monitor),
            web.get("/v1/networks/{name}/wait", self._wait),
        ]

    async def _check(self, request: web.Request) -> web.Response:
        return _json(await self._verify.check(request.query.get("network")))

    async def _repair(self, request: web.Request) -> web.Response:
        body = commands.parse(Repair, await request.read())
        return _json(await self._verify.repair(body.network))

    async def _tell_why(self, request: web.Request) -> web.Response:
        mac = request.query.get("mac")
        if mac is None:
            raise UsageError("fdb --why: want a MAC")
        return _json(await self._why.tell(mac, request.query.get("network")))

    async def _monitor(self, request: web.Request) -> web.StreamResponse:
        events = self._rooms.events
        if events.full:
            raise ConflictError(f"{LISTENERS} monitors listen already: end one of them")
        response = web.StreamResponse(headers={"Content-Type": "application/jsonl"})
        with events.listening() as listener:
            await response.prepare(request)
            try:
                while True:
                    taken = await listener.take(KEEP_ALIVE)
                    if not taken and listener.closed:
                        break
                    await response.write(b"".join(msgspec.json.encode(event) + b"\n" for event in taken) or b"\n")
                await response.write_eof()
            except ConnectionError:  # whoever listened has gone
                pass
        return response

    async def _wait(self, request: web.Request) -> web.Response:
        """Until it forwards, our MACs are announced, and all live members have read what stood then."""
        network = self._rooms.networks.find(request.match_info["name"])
        until = deadline(_seconds(request.query.get("timeout", "30")))
        try:
            async with asyncio.timeout_at(until):
                await network.settled.wait()
                await self._rooms.announcer.drained()
        except TimeoutError:
            why = network.reason or self._rooms.store.status().reason or "its MACs are not announced yet"
            raise VxswitchError(f"network {network.name!r} is {network.state}: {why}") from None
        return _json(network.view() | await self._propagate(network, until))

    async def _propagate(self, network: Network, until: float) -> dict[str, Any]:
        if network.vni is None or not self._rooms.networks.recorded:
            return {"rev": None}
        try:
            done = await propagated(self._rooms, network.vni, until)
        except StoreUnavailableError as error:
            raise VxswitchError(f"network {network.name!r}: who has read it cannot be asked: {error}") from None
        if done.laggards:
            told = ", ".join(f"{node} (rev {rev})" for node, rev in sorted(done.laggards.items()))
            raise VxswitchError(f"network {network.name!r}: rev {done.rev} has not reached {told}")
        return {"rev": done.rev}


def _json(value: Any) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 86400:
        raise UsageError(f"timeout {text!r}: want seconds from 0 to 86400")
    return seconds
