"""What happens, told as it happens: rows, peers, ports, the store. ``vxswitch monitor`` listens.

Whoever finds that something changed calls ``tell`` with a word and what belongs to it; that is one look at an empty
list while nobody listens, and one entry in a queue for each who does. Nothing is kept for those who come later: what
*is* stands in the views, what *was* in the log and in the store's stream.

Each listener has a queue of its own, bounded. Who reads slower than things happen loses the newest events, and learns
from one ``monitor.missed`` event in their place how many they were; nobody else waits for that.

    row.claimed row.moved row.withdrawn row.frozen row.thawed    what the store says of a MAC, by the reconciler
    table.resync table.repaired                                  a table was read anew; with the reason
    peer.joined peer.left peer.live peer.suspended peer.gone     the other nodes
    port.added port.up port.down port.gone port.removed          the local ports; up and down: their links
    store.up store.degraded store.down                           the store; with the reason
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Protocol

QUEUE = 4096  # events that wait for one listener
LISTENERS = 16  # at once

Event = dict[str, Any]


class Tell(Protocol):
    """How a room says that something happened: a word from the list above, and fields that JSON can carry."""

    def __call__(self, event: str, **fields: Any) -> None: ...


def nobody(event: str, **fields: Any) -> None:
    """A ``Tell`` without listeners."""


class Listener:
    """One reader of events, with its bounded queue."""

    def __init__(self, wall: Callable[[], float], length: int) -> None:
        self._wall = wall
        self._length = length
        self._queue: deque[Event] = deque()
        self._missed = 0
        self._wake = asyncio.Event()
        self.closed = False

    def put(self, event: Event) -> None:
        """Queue an event, or count it as missed."""
        if self._missed or len(self._queue) >= self._length:
            self._missed += 1
        else:
            self._queue.append(event)
        self._wake.set()

    def close(self) -> None:
        """No event follows; what waits can still be taken."""
        self.closed = True
        self._wake.set()

    async def take(self, patience: float) -> list[Event]:
        """The events that wait, after ``patience`` seconds at most: none by then, or closed, and the list is empty."""
        if not self._queue and not self.closed:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self._wake.wait()
        self._wake.clear()
        taken = list(self._queue)
        self._queue.clear()
        if self._missed:
            taken.append({"time": self._wall(), "event": "monitor.missed", "count": self._missed})
            self._missed = 0
        return taken


class Events:
    """All listeners. ``wall``: seconds since 1970, what an event's ``time`` is."""

    def __init__(self, wall: Callable[[], float], *, length: int = QUEUE) -> None:
        self._wall = wall
        self._length = length
        self._listeners: list[Listener] = []
        self.closed = False

    def tell(self, event: str, **fields: Any) -> None:
        """Something happened: whoever listens hears of it."""
        if not self._listeners:
            return
        told = {"time": round(self._wall(), 6), "event": event, **fields}
        for listener in self._listeners:
            listener.put(told)

    @property
    def listeners(self) -> int:
        """How many listen."""
        return len(self._listeners)

    @property
    def full(self) -> bool:
        """One more listener would be too many."""
        return self.listeners >= LISTENERS

    @contextlib.contextmanager
    def listening(self) -> Iterator[Listener]:
        """A listener for the time of the block."""
        listener = Listener(self._wall, self._length)
        listener.closed = self.closed
        self._listeners.append(listener)
        try:
            yield listener
        finally:
            self._listeners.remove(listener)

    def close(self) -> None:
        """The switch ends: every listener is let go."""
        self.closed = True
        for listener in self._listeners:
            listener.close()
