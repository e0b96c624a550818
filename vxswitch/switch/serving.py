"""The life of the process: configuration in, ``ready`` on stdout, frames until a signal, and nothing half-started.

    start   state directory locked -> workers, VTEPs and control sockets -> store begins -> networks and ports -> ready
    run     tasks: the store's events, claims, networks to settle; timers: ageing, housekeeping
    SIGHUP  the configuration is read again; what may change while frames flow does, the rest is named
    end     SIGTERM, SIGINT: the lease is given up, rows and TAPs stay (--purge: they go); 1 if a task cannot live

Whatever fails on the way to ``ready`` undoes what was opened, newest first.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import uvloop

from vxswitch import config as configuration
from vxswitch.attach import underlay
from vxswitch.attach.server import AttachServer
from vxswitch.config import Config
from vxswitch.control import logs
from vxswitch.control.api import Api, give_to_group
from vxswitch.control.background import Supervisor
from vxswitch.control.neighbours import pause
from vxswitch.control.notify import notify, watchdog_seconds
from vxswitch.control.state import StateDir, keep_epoch
from vxswitch.control.views import Rooms, Views
from vxswitch.dataplane.plane import Plane
from vxswitch.errors import VxswitchError
from vxswitch.fdb import LocalPort
from vxswitch.model import Vtep
from vxswitch.store.base import Store
from vxswitch.switch.compose import Built, build, clock, make_plane, make_store, new_identity, start_crew
from vxswitch.switch.cutting import CHECK_EVERY, Cutting
from vxswitch.switch.door import own_vteps
from vxswitch.switch.following import follow
from vxswitch.switch.freezing import Freezer

log = logging.getLogger(__name__)

STORE_PATIENCE = 1.0  # seconds that the start waits for a store that has not said yet how it is
HOUSEKEEPING = 0.25
_WATCH_EVERY = 4  # housekeepings: once a second
_AGE_SLICES = 64  # fdb.Table.age: every age / 64 s
_AGE_PAUSE = 0.005


def serve(config: Config) -> int:
    """Run the switch until it is told to end; its exit code. VxswitchError: it did not come up."""
    logs.setup(config.log.level, config.log.format)
    return uvloop.run(Switch(config).run())


class Switch:
    """One running switch."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.tasks = Supervisor()
        self._stop = asyncio.Event()
        self._hangup = asyncio.Event()
        self._up = asyncio.Event()
        self._listening = AsyncExitStack()  # closed before all else: nobody asks for more while we end
        self._bugs: set[str] = set()
        self._built: Built | None = None
        self._ticks = 0

    @property
    def rooms(self) -> Rooms:
        """The rooms, once they are built."""
        return self.built.rooms

    @property
    def built(self) -> Built:
        """All that was built, once it is."""
        assert self._built is not None
        return self._built

    async def run(self) -> int:
        """Start, serve, end."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._hangup.set)
        async with AsyncExitStack() as stack:
            await self._open(stack)
            self._say_ready()
            await self._until_told()
            notify("STOPPING=1")
            await self._listening.aclose()
            if self.config.purge:
                await self.rooms.joining.purge()
        for number in (signal.SIGTERM, signal.SIGINT):  # all is done: one more of them must not change the exit code
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)
        return 1 if self.tasks.fatal.is_set() else 0

    # -- the start -----------------------------------------------------------------------------------------------------

    async def _open(self, stack: AsyncExitStack) -> None:
        """Everything up to ``ready``; what is opened goes onto the stack that closes it."""
        config = self.config
        state = StateDir(config.node.state_dir)
        stack.callback(state.close)
        own = await asyncio.to_thread(own_vteps, config.underlay)
        identity = new_identity(state)
        crew = start_crew(config, identity, self.tasks.fatal.set)
        if crew is not None:
            stack.callback(crew.end)
        plane = make_plane(config, self._on_port_gone, self._on_bug, identity, crew)
        stack.callback(plane.close)
        await self._bind(plane, own.vteps)
        cutting = Cutting(plane)
        await cutting.open(config.underlay.kernel_cut)
        store = make_store(config)
        self._built = build(config, state, own, plane, store)
        stack.push_async_callback(self._listening.aclose)
        api = await self._take_sockets(self._built)
        await self._join(stack, store)
        self.tasks.start("epoch", partial(keep_epoch, state, store))
        self.tasks.every(lambda: CHECK_EVERY, "kernel_cut", cutting.check)
        if crew is not None:
            await crew.up()
        await api.start()
        self._up.set()

    async def _bind(self, plane: Plane, vteps: tuple[Vtep, ...]) -> None:
        for count in range(1, len(vteps) + 1):  # one by one, so that an error names its VTEP
            try:
                plane.set_vteps(vteps[:count])
            except OSError as error:
                raise await asyncio.to_thread(underlay.bind_error, vteps[count - 1], error) from None

    async def _take_sockets(self, built: Built) -> Api:
        """Every socket that others find us by is taken before anything begins; who comes early waits."""
        node, metrics = self.config.node, self.config.metrics
        api = Api(built.rooms, Views(built.rooms), built.attaching)
        self._listening.push_async_callback(api.close)
        api.bind(node.socket, node.socket_group)

        async def attach(message: dict[str, Any], fds: list[int]) -> dict[str, Any]:
            await self._up.wait()
            return await built.attaching.handle(message, fds)

        server = AttachServer(str(node.attach_socket), attach, built.attaching.abandoned)
        self._listening.push_async_callback(server.close)
        await server.start()
        give_to_group(node.attach_socket, node.socket_group)
        if metrics.listen is not None:
            await api.start_metrics(metrics.listen.address, metrics.listen.port)
        return api

    async def _join(self, stack: AsyncExitStack, store: Store) -> None:
        """The store begins, networks and ports come up."""
        rooms, config, tables = self.rooms, self.config, self.built.tables
        stack.push_async_callback(self._close_store, store)
        await store.start(rooms.node, rooms.announcer.reassert, rooms.peers.heard)
        stack.push_async_callback(self.tasks.stop)
        self.tasks.start("store events", self._follow)
        self.tasks.start("claims", rooms.announcer.run)
        stack.callback(self._undo_unless_up)
        rooms.ports.load()
        tables.load()
        own_store, vni_of = config.store.scheme == "embedded", tables.vni_of
        await rooms.networks.start(
            config.joined, config.underlay.peers, STORE_PATIENCE, insist=own_store, remembered=vni_of
        )
        if store.status().state in ("down", "degraded"):
            await tables.restore()
        await rooms.ports.started()
        self.tasks.start("networks", rooms.networks.run)
        self.tasks.start("underlay", partial(follow, rooms))
        self.tasks.every(rooms.prober.pause, "probes", rooms.prober.tick)
        if rooms.networks.recorded:
            self.tasks.start("tables", self._save_tables)
        self.tasks.start("groups", rooms.groups.run)
        self.tasks.start("reload", self._reload_on_hangup)
        self.tasks.every(lambda: HOUSEKEEPING, "housekeeping", self._housekeeping)
        self.tasks.every(lambda: pause(self.config.fdb.age), "neighbours", self._tend)
        self.tasks.every(lambda: max(_AGE_PAUSE, self.config.fdb.age / _AGE_SLICES), "ageing", self._age)

    def _undo_unless_up(self) -> None:
        """A start that failed: TAPs that it made go again with their descriptors."""
        if not self._up.is_set():
            self.rooms.ports.undo()

    def _say_ready(self) -> None:
        node = self.rooms.node
        gc.collect()
        gc.freeze()
        print(
            f"ready node={node.name} vtep={','.join(map(str, node.vteps))} socket={self.config.node.socket}", flush=True
        )
        notify("READY=1", f"STATUS=node {node.name}")
        if (seconds := watchdog_seconds()) is not None:
            self.tasks.every(lambda: seconds, "watchdog", lambda: notify("WATCHDOG=1"))

    # -- while it runs -------------------------------------------------------------------------------------------------

    async def _until_told(self) -> None:
        told = [asyncio.ensure_future(event.wait()) for event in (self._stop, self.tasks.fatal)]
        await asyncio.wait(told, return_when=asyncio.FIRST_COMPLETED)
        for waiting in told:
            waiting.cancel()

    async def _follow(self) -> None:
        """The store's events, one by one; one that cannot be understood must not hold up the others."""
        freezer = Freezer()
        async for event in self.rooms.store.events():
            try:
                for _ in self.rooms.reconciler.steps(self.built.tables.vouching.through(event)):
                    await asyncio.sleep(0)  # frames first
            except Exception:
                log.exception("event of the store ignored: %.200r", event)
            freezer.note(event)

    async def _save_tables(self) -> None:
        """Write what the others have to disk, now and then, for a start without the store."""
        while True:
            await asyncio.sleep(self.config.timers.save)
            await self.built.tables.save()

    def _housekeeping(self) -> None:
        rooms = self.rooms
        rooms.plane.poll(clock())
        self.built.state_watch.look()
        for event in self.built.tables.vouching.give_up():
            rooms.reconciler.apply(event)
        rooms.groups.tick()
        self._ticks += 1
        if self._ticks % _WATCH_EVERY == 0:
            rooms.vteps.check()
            rooms.ports.watch()

    def _age(self) -> None:
        now = clock()
        for table in self.rooms.fdb.tables.values():
            table.age(now, self.config.fdb.age)

    def _tend(self) -> None:
        self.rooms.announcer.tick(self.config.fdb.age)

    def _on_port_gone(self, port: LocalPort) -> None:
        self.rooms.ports.on_gone(port)

    def _on_bug(self, error: Exception) -> None:
        """A callback of the data plane has raised: told once per kind, with the way it took."""
        kind = repr(error)
        if kind not in self._bugs and len(self._bugs) < 100:
            self._bugs.add(kind)
            log.error("bug in the data plane: %s", kind, exc_info=error)

    # -- SIGHUP --------------------------------------------------------------------------------------------------------

    async def _reload_on_hangup(self) -> None:
        while True:
            await self._hangup.wait()
            self._hangup.clear()
            await self._reload()

    async def _reload(self) -> None:
        try:
            fresh, refused = configuration.reload(self.config, os.environ)
        except VxswitchError as error:
            log.error("SIGHUP: nothing has changed: %s", error)
            return
        self.config = fresh
        rooms = self.rooms
        logs.set_level(fresh.log.level)
        rooms.peers.grace = rooms.prober.grace = fresh.timers.grace
        rooms.prober.wanted = fresh.timers.probe
        refused += await rooms.joining.reload(fresh.joined, fresh.networks, fresh.underlay.peers)
        rooms.ports.relimit(fresh.limits)
        rooms.groups.reconfigure(fresh.mcast)
        rooms.store.retime(fresh.timers.lease, fresh.timers.beat, fresh.timers.grace)
        for key in refused:
            log.error("SIGHUP: %s cannot change while the switch runs: left as it was", key)
        log.info("SIGHUP: configuration read again")

    # -- the end -------------------------------------------------------------------------------------------------------

    async def _close_store(self, store: Store) -> None:
        for table in self.rooms.fdb.tables.values():
            table.on_local = table.on_heard = None  # our rows stay in the store: what the ports do now is not announced
        if self._up.is_set() and self.rooms.networks.recorded:
            await self.built.tables.save()
        await self.rooms.ports.finished()
        await store.close(leave=True)
