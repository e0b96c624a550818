"""The underlay of the simulation: the fabric of the data plane's tests with time in it, and pings that know their fate.

A datagram takes its time, may be lost, may overtake another, and does not cross a cut. A ping is a UDP packet of one
inner flow per pair of containers (so that cached decisions are in the way, too) with a number in its last eight bytes;
what the underlay itself has lost of it is noted, and held against nobody.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from tests.dataplane.fabric import CablePort, Datagram, Fabric
from tests.sim.frames import NUMBER
from vxswitch.counters import ALIVE, Drop
from vxswitch.fdb import Table
from vxswitch.model import PortSpec

DELAY = 0.0005  # seconds, twice that at most
LATE = 0.05  # seconds that a datagram is late at most while the network reorders
VNET_LEN = 10  # bytes of virtio_net_hdr before each frame of a TAP


class Underlay(Fabric):
    """See the head of this file. ``arrived``: called with the address whose socket has something to read."""

    def __init__(self, loop: Any, seed: random.Random, arrived: Callable[[str], None]) -> None:
        super().__init__(0, joined=False)
        self.random = seed
        self.loop = loop
        self.late = 0.0
        self.lost_pings: set[int] = set()
        self.cuts: dict[frozenset[str], int] = {}  # pairs of addresses, or one address from all others
        self._arrived_at = arrived

    def is_cut(self, one: str, other: str) -> bool:
        """Whether nothing crosses between two addresses."""
        cuts = self.cuts
        return bool(cuts) and any(cuts.get(frozenset(ends)) for ends in ({one, other}, {one}, {other}))

    def cut(self, *ends: str) -> None:
        """Cut two addresses apart, or one from all."""
        self.cuts[frozenset(ends)] = self.cuts.get(frozenset(ends), 0) + 1

    def mend(self, *ends: str) -> None:
        """Take one such cut back."""
        self.cuts[frozenset(ends)] -= 1

    def bring(self, datagram: Datagram) -> None:
        if self.is_cut(datagram.source[0], datagram.target[0]) or self.random.random() < self.loss:
            self.lose(datagram)
            return
        delay = DELAY * (1 + self.random.random()) + self.late * self.random.random()
        self.loop.call_later(delay, self._arrive, datagram)

    def lose(self, datagram: Datagram) -> None:
        """The wire, or a host that is not there, has eaten it."""
        if len(datagram.payload) >= NUMBER.size:
            self.lost_pings.add(NUMBER.unpack(datagram.payload[-NUMBER.size :])[0])

    def _arrive(self, datagram: Datagram) -> None:
        wire = self.wires.get(datagram.target)
        if wire is None:
            self.lose(datagram)
            return
        wire.queue.append(datagram)
        self._arrived_at(datagram.target[0])


class SimPort(CablePort):
    """A port whose container takes what comes out: ``out(frame)``, as long as ``is_there()``."""

    def __init__(
        self, spec: PortSpec, table: Table, now: float, is_there: Callable[[], bool], out: Callable[[bytes], None]
    ) -> None:
        super().__init__(spec, table, now)
        self.is_there = is_there
        self._out = out

    def __repr__(self) -> str:
        return f"port {self.id}"

    def write(self, view: memoryview) -> int:
        if self.is_there():
            self._out(bytes(view[VNET_LEN:]))
            return ALIVE
        self.state = "gone"
        return Drop.PORT_GONE
