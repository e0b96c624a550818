"""``unknown = "ask"``: frames to a MAC that nobody is known to have wait a moment while it is asked for.

What is asked is the address in the frame, in its sender's name (``wire.neighbour.ask_all``): a station that was silent
answers, its switch claims it, and the row arrives here. Most rows were on their way anyway. As soon as there is a row
the frames go there, in their order; after ``HOLD`` seconds without one they are flooded, so that asking is never worse
than flooding.

Bounded against the port that sends to made-up addresses: frames of a destination, destinations and bytes of a port.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from vxswitch.counters import Stats
from vxswitch.dataplane.port import Port
from vxswitch.fdb import Table

HOLD = 0.05  # seconds
TICK = 0.005  # seconds between two looks for rows
MAX_FRAMES = 32  # TAP reads of one destination
MAX_DESTINATIONS = 32  # of one port
MAX_BYTES = 1 << 20  # of one port


@dataclass(slots=True, eq=False)
class Held:
    """The frames of one port to one destination, as they were read; ``count`` in wire frames, ``until`` monotonic."""

    port: Port
    dst: bytes
    until: float
    frames: list[bytes] = field(default_factory=list)
    size: int = 0
    count: int = 0


class Asking:
    """All frames that wait. ``resume(held, now)`` sends them on their way.

    ``wake`` is called when the first begins to wait: from then on ``tick`` is to be called every ``TICK`` seconds.
    """

    def __init__(self, stats: Stats, resume: Callable[[Held, float], None]) -> None:
        self.wake: Callable[[], object] = bool
        self.waiting: dict[Port, dict[bytes, Held]] = {}
        self._stats = stats
        self._resume = resume

    def keep(self, port: Port, dst: bytes, data: bytes, count: int, now: float) -> Held | None:
        """Let a frame wait; None: there is no more room."""
        mine = self.waiting.get(port, {})
        held = mine.get(dst)
        if held is None and len(mine) >= MAX_DESTINATIONS:
            return None
        if held is not None and len(held.frames) >= MAX_FRAMES:
            return None
        if sum(other.size for other in mine.values()) + len(data) > MAX_BYTES:
            return None
        if held is None:
            if not self.waiting:
                self.wake()
            held = Held(port, dst, now + HOLD)
            self.waiting.setdefault(port, {})[dst] = held
        self.add(held, data, count)
        return held

    def add(self, held: Held, data: bytes, count: int) -> None:
        """One more frame behind those that wait."""
        held.frames.append(data)
        held.size += len(data)
        held.count += count
        self._stats.held += count

    def take(self, port: Port, dst: bytes) -> Held | None:
        """What waits for this destination, which is known now."""
        mine = self.waiting.get(port)
        held = mine.pop(dst, None) if mine is not None else None
        if held is not None:
            self._stats.held -= held.count
            if not mine:
                del self.waiting[port]
        return held

    def forget(self, port: Port) -> int:
        """The port is gone, and with it what it sent: how many wire frames."""
        count = sum(held.count for held in self.waiting.pop(port, {}).values())
        self._stats.held -= count
        return count

    def tick(self, now: float) -> None:
        """Send on what has a row by now, or has waited long enough."""
        for port, mine in list(self.waiting.items()):
            for held in list(mine.values()):
                if now >= held.until or _known(port.table, held.dst):
                    self.take(port, held.dst)
                    self._resume(held, now)


def _known(table: Table, mac: bytes) -> bool:
    row = table.lookup(mac)
    return row is not None and row.hop is not None
