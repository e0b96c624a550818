"""One node with everything that control has on the way from the store into the tables: for start-up and bursts.

Real store, reconciler, peers, announcer and tables; no sockets and no TAPs. It runs in a process of its own, so that
its memory is its own, too; a ticker in its loop tells for how long a frame would have had to wait.
"""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import uvloop

from benchmarks.control.shape import CLUSTER
from benchmarks.control.waiting import until
from benchmarks.cpu import resident_bytes
from vxswitch.control.announcer import Announcer
from vxswitch.control.peers import Peers
from vxswitch.control.reconciler import Reconciler
from vxswitch.fdb import Fdb, LocalPort, Table
from vxswitch.model import NodeRecord, Vtep
from vxswitch.store.base import LocalMac
from vxswitch.store.redis import RedisStore
from vxswitch.store.redis_connect import Endpoint
from vxswitch.store.rules import Rules
from vxswitch.switch.freezing import Freezer

PORT_MACS = 64  # limits.port_macs
PATIENCE = 120.0  # seconds
_TICK = 0.001  # seconds


@dataclass(frozen=True, slots=True)
class Work:
    """What a member took for something. ``held``: CPU seconds for which its loop did nothing else at worst.

    ``memory`` is what it grew by, in bytes.
    """

    seconds: float
    rows: int
    held: float
    cpu: float
    memory: int


class _NoPorts:
    """What announcer and reconciler ask about ports: here nothing was given to any."""

    def ips(self, port_id: str) -> tuple[str, ...]:
        return ()

    def expected(self, vni: int) -> Iterable[LocalMac]:
        return ()

    def given(self, vni: int, mac: bytes) -> LocalPort | None:
        return None

    def expects(self, vni: int, mac: bytes) -> bool:
        return False


class Member:
    """See the head of this file."""

    def __init__(self, endpoint: Endpoint, rules: Rules, name: str, vnis: Iterable[int]) -> None:
        self.record = NodeRecord(name, f"uid-{name}", 1, (Vtep("10.255.0.1"),))
        self.fdb, self.store = Fdb(), RedisStore(endpoint, CLUSTER, rules)
        self.peers = Peers(self.fdb, uid=self.record.uid, own=self.record.vteps, grace=60.0, clock=time.monotonic)
        self.announcer = Announcer(self.fdb, self.store, clock=time.monotonic)
        self.reconciler = Reconciler(
            self.fdb, self.peers, self.announcer, node=name, uid=self.record.uid, epoch=1, clock=time.monotonic
        )
        self.announcer.ports = self.reconciler.ports = _NoPorts()
        self.announcer.put_back = self.reconciler.put_back
        self.vnis = list(vnis)
        self._held = 0.0

    async def start(self) -> None:
        """As a switch does it."""
        for vni in self.vnis:
            self.reconciler.join(vni)
            self.announcer.watch(self.fdb.add(Table(f"net{vni}", vni, mtu=1450, max_macs=1 << 20)))
        await self.store.start(self.record, self.announcer.reassert)
        for vni in self.vnis:
            await self.store.join(vni)
        self._tasks = [asyncio.create_task(work()) for work in (self._follow, self.announcer.run, self._tick)]

    async def stop(self) -> None:
        """Leave all networks and stop."""
        for vni in self.vnis:
            await self.store.leave(vni)
        await self.store.close(leave=True)
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    def rows(self) -> int:
        """Rows in all tables."""
        return sum(len(table.rows) for table in self.fdb.tables.values())

    def held(self) -> float:
        """How long the loop was held in one go at worst since this was asked last, CPU seconds."""
        held, self._held = self._held, 0.0
        return held

    async def _follow(self) -> None:
        freezer = Freezer()
        async for event in self.store.events():
            for _ in self.reconciler.steps(event):
                await asyncio.sleep(0)
            freezer.note(event)

    async def _tick(self) -> None:
        while True:
            before = time.process_time()
            await asyncio.sleep(_TICK)
            self._held = max(self._held, time.process_time() - before)


async def _started(endpoint: Endpoint, rules: Rules, vnis: list[int], rows: int) -> Work:
    """Start as a node that has no MAC and is in all these networks; until its tables are full."""
    gc.collect()
    memory, cpu, began = resident_bytes([os.getpid()]), time.process_time(), time.monotonic()
    member = Member(endpoint, rules, "newcomer", vnis)
    await member.start()
    await until(lambda: member.rows() >= rows, PATIENCE)
    seconds, cpu = time.monotonic() - began, time.process_time() - cpu
    work = Work(seconds, member.rows(), member.held(), cpu, resident_bytes([os.getpid()]) - memory)
    await member.stop()
    return work


async def _burst(endpoint: Endpoint, rules: Rules, vni: int, macs: int) -> Work:
    """So many MACs appear at once behind as many ports as they need; until the store has confirmed all of them."""
    member = Member(endpoint, rules, "burst", [vni])
    await member.start()
    await until(lambda: member.store.status().state == "up", PATIENCE)
    await asyncio.sleep(rules.beat)
    table, ports = member.fdb.tables[vni], []
    member.held()
    memory, cpu, began = resident_bytes([os.getpid()]), time.process_time(), time.monotonic()
    for number in range(macs):
        if number % PORT_MACS == 0:
            ports.append(LocalPort(f"p{number}", None, PORT_MACS))
            await asyncio.sleep(0)
        table.learn(b"\x02\xbb" + number.to_bytes(4, "big"), ports[-1], began)
    await until(lambda: not member.announcer.backlog, PATIENCE)
    seconds = time.monotonic() - began
    confirmed = sum(row.rev is not None for row in table.rows.values() if row.hop is not None and row.hop.local)
    memory = resident_bytes([os.getpid()]) - memory
    work = Work(seconds, confirmed, member.held(), time.process_time() - cpu, memory)
    await member.stop()
    return work


def started(endpoint: Endpoint, rules: Rules, vnis: list[int], rows: int) -> Work:
    """`_started` in a process of its own."""
    return _apart(_started, endpoint, rules, vnis, rows)


def burst(endpoint: Endpoint, rules: Rules, vni: int, macs: int) -> Work:
    """`_burst` in a process of its own."""
    return _apart(_burst, endpoint, rules, vni, macs)


def _apart(work: Callable[..., Coroutine[Any, Any, Work]], *arguments: object) -> Work:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_run, work, *arguments).result()


def _run(work: Callable[..., Coroutine[Any, Any, Work]], *arguments: object) -> Work:
    return uvloop.run(work(*arguments))
