"""A worker process: a loop, a data plane and a replica of the tables, all told by the main process over one socket.

``Begin`` comes first, then VTEPs with their sockets, networks, ports with their descriptors, rows. What it tells:
questions about sources, four times a second its counts, and which MACs have sent something. It ends when the main
process closes the socket, or dies; and it ends itself if what it is told makes no sense to it, because its tables would
not be the main process's any more.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import os
import signal
import socket
import sys
import time

import uvloop

from vxswitch.control import logs
from vxswitch.dataplane.plane import Plane
from vxswitch.dataplane.port import TapPort
from vxswitch.dataplane.sockets import UnderlayOptions
from vxswitch.fdb import Fdb, LocalPort
from vxswitch.model import Vtep
from vxswitch.wire.probe import Probe
from vxswitch.workers import counting
from vxswitch.workers.link import Link
from vxswitch.workers.messages import (
    AddPort,
    Answered,
    Begin,
    Groups,
    NetworkGone,
    NetworkState,
    OpenDoor,
    PortGone,
    Question,
    RemovePort,
    Rows,
    SetVteps,
    ToWorker,
    Unreachable,
    Up,
    UpdatePort,
    UseDoor,
    decode_to_worker,
)
from vxswitch.workers.replica import Replica

log = logging.getLogger(__name__)

HOUSEKEEPING = 0.25  # seconds
PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Worker:
    """The process, from ``Begin`` to the end of its socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[int] = self._loop.create_future()
        self._ports: dict[int, TapPort] = {}
        self._sockets: dict[Vtep, socket.socket] = {}  # passed, and not yet taken by the plane
        self._bugs: set[str] = set()
        self._seen_every = 1.0
        self._plane: Plane | None = None
        self._replica: Replica | None = None
        self._link: Link[ToWorker] = Link(sock, decode_to_worker, self._on_message, self._on_end)

    async def run(self) -> int:
        """Serve until the end; the exit code."""
        return await self._ended

    # -- what it is told ---------------------------------------------------------------------------------------------

    def _on_message(self, message: ToWorker, fds: list[int]) -> None:
        try:
            if isinstance(message, Begin):
                self._begin(message)
            else:
                assert self._plane is not None and self._replica is not None
                self._hear(message, fds, self._plane, self._replica)
        except Exception:
            log.exception("worker: cannot follow %.200r", message)
            self._end(1)

    def _begin(self, message: Begin) -> None:
        logs.setup(message.log_level, message.log_format)
        fdb = Fdb()
        self._seen_every = message.seen_every
        self._replica = Replica(fdb, self._ports, self._ask)
        self._plane = Plane(
            fdb,
            message.options,
            clock=time.monotonic,
            call_soon=self._loop.call_soon,
            call_later=self._loop.call_later,
            add_reader=self._loop.add_reader,
            remove_reader=self._loop.remove_reader,
            on_port_gone=self._on_port_gone,
            on_bug=self._on_bug,
            open_receiver=self._take_socket,
            leads=False,
            identity=message.identity,
        )
        self._plane.follow_probes(self._tell_answer, self._tell_unreachable)
        self._loop.call_later(HOUSEKEEPING, self._housekeeping)
        self._loop.call_later(self._seen_every, self._tell_seen)
        gc.collect()
        gc.freeze()
        self._link.send(Up())

    def _hear(self, message: ToWorker, fds: list[int], plane: Plane, replica: Replica) -> None:
        match message:
            case Rows():
                replica.rows(message, time.monotonic())
            case NetworkState():
                replica.network(message)
            case Groups():
                replica.groups(message)
            case NetworkGone(vni):
                plane.fdb.remove(vni)
            case AddPort(number, spec, reads):
                plane.add_port(spec, fds[0], reads=reads)
                self._ports[number] = plane.ports[spec.id]
            case UpdatePort(number, spec):
                plane.update_port(self._ports[number], spec)
            case RemovePort(number):
                plane.remove_port(self._ports.pop(number))
            case SetVteps(vteps):
                self._set_vteps(plane, [Vtep(*vtep) for vtep in vteps], fds)
            case OpenDoor(mac):
                plane.open_door(fds[0], mac)
            case UseDoor(use):
                plane.use_door(use)

    def _set_vteps(self, plane: Plane, vteps: list[Vtep], fds: list[int]) -> None:
        self._sockets = {vtep: socket.socket(fileno=fd) for vtep, fd in zip(vteps, fds, strict=True)}
        try:
            plane.set_vteps(vteps)
        finally:
            for sock in self._sockets.values():  # of VTEPs that it has already
                sock.close()
            self._sockets.clear()

    def _take_socket(self, vtep: Vtep, options: UnderlayOptions) -> socket.socket:
        return self._sockets.pop(vtep)

    # -- what it tells -----------------------------------------------------------------------------------------------

    def _ask(self, question: Question) -> bool:
        if self._link.busy:
            return False
        self._link.send(question)
        return True

    def _tell_answer(self, whom: str, answer: Probe, now: float) -> None:
        """Which process an answer comes to, its source port says; only the main process asks, and judges."""
        if not self._link.busy:
            self._link.send(Answered(whom, answer, now))

    def _tell_unreachable(self, whom: str) -> None:
        if not self._link.busy:
            self._link.send(Unreachable(whom))

    def _on_port_gone(self, port: LocalPort) -> None:
        for number, known in self._ports.items():
            if known is port:
                self._link.send(PortGone(number))

    def _housekeeping(self) -> None:
        assert self._plane is not None and self._replica is not None
        self._plane.poll(time.monotonic())
        self._replica.new_period()
        if not self._link.busy:
            counted = counting.take(self._plane, self._ports)
            if counted is not None:
                self._link.send(counted)
        self._loop.call_later(HOUSEKEEPING, self._housekeeping)

    def _tell_seen(self) -> None:
        assert self._replica is not None
        if not self._link.busy:
            for message in self._replica.seen(time.monotonic()):
                self._link.send(message)
        self._loop.call_later(self._seen_every, self._tell_seen)

    def _on_bug(self, error: Exception) -> None:
        """A callback of the data plane has raised: told once per kind, with the way it took."""
        kind = repr(error)
        if kind not in self._bugs and len(self._bugs) < 100:
            self._bugs.add(kind)
            log.error("bug in the data plane: %s", kind, exc_info=error)

    # -- the end -----------------------------------------------------------------------------------------------------

    def _on_end(self, why: str) -> None:
        self._end(0)

    def _end(self, code: int) -> None:
        if not self._ended.done():
            self._ended.set_result(code)


async def _serve(sock: socket.socket) -> int:
    return await Worker(sock).run()


def main() -> int:
    """``python -m vxswitch.workers.worker FD``: started by the main process only."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    return uvloop.run(_serve(socket.socket(fileno=int(sys.argv[1]))))


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # every descriptor goes with the process; nothing else is left to do
