"""The store's server and the wires to it: a MemoryHub that can be away, hung, emptied, rolled back or out of time.

A request travels, is executed at one instant, and its answer travels back; each connection keeps its order, as TCP
does. A hung server executes what has reached it when it goes on, also what nobody waits for any more. A node that is
cut off reaches nothing; what it had sent arrives when the cut ends before the connection was given up. ``failover`` is
what a promoted replica does: the state of a while ago, all connections broken.

``digests`` is what the log's entries carry in Redis: the digest after each rev, by which a reader knows whether the
history it has read is the server's.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from vxswitch.errors import StoreUnavailableError
from vxswitch.store.memory_hub import MemoryHub, Table
from vxswitch.store.mirror import Mirror
from vxswitch.store.rules import LOG_LENGTH, Clock, Rules

RETRANSMIT = 0.2  # seconds until what was lost in a cut is sent again
FAR = 0.002  # seconds one way, twice that at most


@dataclass(eq=False)
class Connection:
    """One client's link to the server. ``at``: when the last thing that was sent arrives, each way."""

    node: str
    alive: bool = True
    waiting: set[asyncio.Future[Any]] = field(default_factory=set)
    at: dict[str, float] = field(default_factory=lambda: {"there": 0.0, "back": 0.0})

    def breaks(self) -> None:
        """Nothing comes any more; whoever waits is told."""
        self.alive = False
        for future in self.waiting:
            if not future.done():
                future.set_exception(StoreUnavailableError("store sim: the connection broke"))
        self.waiting.clear()


@dataclass
class Saved:
    """What a replica has: the whole state of a hub at one time."""

    nodes: dict[str, Any]
    leases: dict[str, float]
    heard: dict[str, float]
    tables: dict[int, Table]
    networks: dict[str, Any]
    digests: dict[int, dict[int, int]]


class Server:
    """See the head of this file."""

    def __init__(self, loop: Any, rules: Rules, seed: random.Random) -> None:
        self.loop = loop
        self.random = seed
        self.offset = 0.0  # how far the server's clock is off
        self.hub = MemoryHub(Clock(monotonic=self.clock, wall=self.clock), rules)
        self.hub.listeners.append(self._note_digest)
        self.digests: dict[int, dict[int, int]] = {}
        self.up = True
        self.hung = False
        self.cut: Counter[str] = Counter()  # nodes that cannot reach us
        self._connections: set[Connection] = set()
        self._stuck: deque[Callable[[], None]] = deque()

    def clock(self) -> float:
        """The server's idea of the time."""
        return self.loop.time() + self.offset

    def answers(self, node: str) -> bool:
        """Whether a node that asked now would be answered."""
        return self.up and not self.hung and not self.cut[node]

    # -- the wires -------------------------------------------------------------------------------------------------

    def connect(self, node: str) -> Connection:
        """A new connection; the caller has waited for a round trip."""
        if not self.answers(node):
            raise StoreUnavailableError("store sim: no connection")
        connection = Connection(node)
        self._connections.add(connection)
        return connection

    def disconnect(self, connection: Connection) -> None:
        """The client gave up."""
        connection.breaks()
        self._connections.discard(connection)

    def call(self, connection: Connection, script: Callable[[], Any]) -> asyncio.Future[Any]:
        """Send one script; the future has its answer, if that ever comes."""
        future = self.loop.create_future()
        if not connection.alive:
            future.set_exception(StoreUnavailableError("store sim: not connected"))
            return future
        connection.waiting.add(future)

        def execute() -> None:
            try:
                answer, failed = script(), None
            except Exception as error:
                answer, failed = None, error
            self._travel(connection, "back", lambda: _resolve(connection, future, answer, failed))

        self._travel(connection, "there", lambda: self._receive(connection, execute))
        return future

    def _receive(self, connection: Connection, execute: Callable[[], None]) -> None:
        if not self.up:
            return
        if self.hung:
            self._stuck.append(execute)
        else:
            execute()

    def _travel(self, connection: Connection, way: str, arrive: Callable[[], None]) -> None:
        at = max(connection.at[way], self.loop.time() + FAR * (1 + self.random.random()))
        connection.at[way] = at
        self.loop.call_at(at, self._arrived, connection, way, arrive)

    def _arrived(self, connection: Connection, way: str, arrive: Callable[[], None]) -> None:
        if not self.cut[connection.node]:
            arrive()
        elif connection.alive:
            connection.at[way] = self.loop.time() + RETRANSMIT
            self.loop.call_at(connection.at[way], self._arrived, connection, way, arrive)

    # -- faults ----------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Killed: connections are refused, its data is there when it starts again."""
        self.up = False
        self._stuck.clear()
        self._break_all()

    def start(self) -> None:
        """And back."""
        self.up = True

    def hang(self) -> None:
        """SIGSTOP: connections stand and nothing answers."""
        self.hung = True

    def go_on(self) -> None:
        """SIGCONT: what had arrived is executed now, whoever waits for it or not."""
        self.hung = False
        while self._stuck:
            self._stuck.popleft()()

    def flush(self) -> None:
        """FLUSHALL."""
        self.hub.flush()
        self.digests = {}

    def trim(self) -> None:
        """The logs lose all but their last entry."""
        for table in self.hub.tables.values():
            while len(table.log) > 1:
                table.log.popleft()

    def save(self) -> Saved:
        """The state as a replica has it now."""
        hub = self.hub
        tables = {vni: _copy(table) for vni, table in hub.tables.items()}
        digests = {vni: dict(known) for vni, known in self.digests.items()}
        return Saved(dict(hub.nodes), dict(hub.leases), dict(hub.heard), tables, dict(hub.records.networks), digests)

    def failover(self, saved: Saved) -> None:
        """The replica is promoted: what it has not heard of has never been."""
        hub = self.hub
        hub.nodes, hub.leases, hub.heard, hub.tables = saved.nodes, saved.leases, saved.heard, saved.tables
        hub.records.networks = saved.networks
        self.digests = saved.digests
        self._break_all()

    def _break_all(self) -> None:
        for connection in sorted(self._connections, key=lambda c: c.node):
            connection.breaks()
        self._connections.clear()

    def _note_digest(self, vni: int) -> None:
        truth = self.hub.tables[vni].truth
        self.digests.setdefault(vni, {})[truth.rev] = truth.digest


def _resolve(connection: Connection, future: asyncio.Future[Any], answer: Any, failed: Exception | None) -> None:
    connection.waiting.discard(future)
    if future.done() or not connection.alive:
        return
    if failed is not None:
        future.set_exception(failed)
    else:
        future.set_result(answer)


def _copy(table: Table) -> Table:
    truth = Mirror(table.truth.vni, Counter())
    truth.gen, truth.rev, truth.digest = table.truth.gen, table.truth.rev, table.truth.digest
    truth.rows, truth.members = dict(table.truth.rows), dict(table.truth.members)
    truth.groups, truth.frozen = dict(table.truth.groups), set(table.truth.frozen)
    moves = {mac: list(known) for mac, known in table.moves.items()}
    return Table(truth, moves, dict(table.frozen), deque(table.log, maxlen=LOG_LENGTH), dict(table.acks))
