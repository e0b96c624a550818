"""Simulated nodes that share a process: each a real RedisStore with its connections and mirrors, but no data plane.

The process is told what to do over a pipe, one word at a time, and answers when that is done. ``Crew`` is the other
end.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import resource
import statistics
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import uvloop

from benchmarks.control.server import allow_descriptors
from benchmarks.control.shape import CLUSTER, Shape
from benchmarks.control.waiting import until
from vxswitch.model import Claimed, Snapshot, Withdrawn
from vxswitch.store.redis import RedisStore
from vxswitch.store.redis_connect import Endpoint
from vxswitch.store.rules import Rules
from vxswitch.switch.freezing import Freezer

STARTS = 50  # nodes started a second in one process
PATIENCE = 300.0  # seconds

_freezer = Freezer()  # of the process, as every switch has one


class SimulatedNode:
    """One node: its store and which MACs it has been told of."""

    def __init__(self, shape: Shape, number: int, endpoint: Endpoint, rules: Rules) -> None:
        self.number = number
        self._shape = shape
        self.store = RedisStore(endpoint, CLUSTER, rules)
        self.rows: dict[int, set[bytes]] = {vni: set() for vni in shape.vnis(number)}
        self._ours = {vni: shape.local_macs(number, vni) for vni in self.rows}

    async def start(self) -> None:
        """Connect, join, and follow what happens."""
        await self.store.start(self._shape.record(self.number), lambda vni: self._ours.get(vni, ()))
        for vni in self.rows:
            await self.store.join(vni)
        self._task = asyncio.create_task(self._follow())

    async def stop(self) -> None:
        """Leave."""
        await self.store.close(leave=False)
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    def count(self) -> int:
        """Rows that it knows."""
        return sum(map(len, self.rows.values()))

    async def _follow(self) -> None:
        async for event in self.store.events():
            _freezer.note(event)
            match event:
                case Snapshot():
                    self.rows[event.vni] = {row.mac for row in event.rows}
                case Claimed(claim):
                    self.rows[claim.vni].add(claim.mac)
                case Withdrawn(vni, mac, _):
                    self.rows[vni].discard(mac)


class Team:
    """The nodes of this process, and the words they obey."""

    def __init__(self, shape: Shape, endpoint: Endpoint, rules: Rules) -> None:
        self._shape, self._endpoint, self._rules = shape, endpoint, rules
        self.nodes: list[SimulatedNode] = []

    async def start(self, numbers: list[int]) -> None:
        """Start these nodes, evenly over time, so that they beat evenly over time, too."""
        for number in numbers:
            node = SimulatedNode(self._shape, number, self._endpoint, self._rules)
            self.nodes.append(node)
            await node.start()
            await asyncio.sleep(1 / STARTS)

    async def whole(self, up_to: int) -> None:
        """Return when every node knows every row of its networks; TimeoutError."""
        wanted = {node: self._shape.expected(node.number, up_to) for node in self.nodes}

        def whole() -> bool:
            return all(node.count() == rows and node.store.status().state == "up" for node, rows in wanted.items())

        await until(whole, PATIENCE, interval=0.05)

    async def behind(self, digests: dict[int, tuple[int, str]]) -> int:
        """How many copies of tables are not what the store has; ``digests``: its rev and digest of each VNI."""
        copies = [(vni, node.store.mirror_digest(vni)) for node in self.nodes for vni in node.rows]
        return sum(copy is None or (copy.rev, copy.digest) != digests[vni] for vni, copy in copies)

    async def told(self) -> dict[str, float]:
        """CPU seconds of this process so far, and the time that heartbeats took last (seconds)."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        rtts = [rtt / 1000 for node in self.nodes if (rtt := node.store.status().rtt_ms) is not None]
        return {
            "cpu": used.ru_utime + used.ru_stime,
            "rtt_p50": statistics.median(rtts or [0.0]),
            "rtt_max": max(rtts, default=0.0),
            "beats": sum(node.store.counts.beats for node in self.nodes),
            "resyncs": sum(sum(node.store.counts.resyncs.values()) for node in self.nodes),
            "errors": sum(sum(node.store.counts.errors.values()) for node in self.nodes),
        }

    async def stop(self) -> None:
        """Stop all nodes."""
        for node in self.nodes:
            await node.stop()


async def _obey(pipe: Connection, team: Team) -> None:
    words: dict[str, Callable[..., Any]] = {
        "start": team.start,
        "whole": team.whole,
        "behind": team.behind,
        "told": team.told,
        "stop": team.stop,
    }
    while True:
        word, *arguments = await asyncio.to_thread(pipe.recv)
        try:
            answer = await words[word](*arguments)
        except TimeoutError:
            answer = TimeoutError(f"{word}: not within {PATIENCE:g} s")
        pipe.send(answer)
        if word == "stop":
            return


def _work(pipe: Connection, shape: Shape, endpoint: Endpoint, rules: Rules) -> None:
    allow_descriptors()
    uvloop.run(_obey(pipe, Team(shape, endpoint, rules)))


class Crew:
    """A process with nodes, seen from outside. ``tell`` and ``answer`` are apart, so that several work at once."""

    def __init__(self, shape: Shape, endpoint: Endpoint, rules: Rules) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, shape, endpoint, rules), daemon=True)
        self._process.start()
        theirs.close()
        self.nodes = 0

    def start(self, numbers: Sequence[int]) -> None:
        """Have these nodes started, too; ``answer`` follows."""
        self.nodes += len(numbers)
        self.tell("start", list(numbers))

    def tell(self, *words: Any) -> None:
        """Say what to do."""
        self._pipe.send(words)

    def answer(self) -> Any:
        """Wait until it is done; raises what went wrong."""
        answer = self._pipe.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def ask(self, *words: Any) -> Any:
        """Say and wait."""
        self.tell(*words)
        return self.answer()

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()
