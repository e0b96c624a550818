"""Many hops at once: where the copies of one frame go, decided once.

A frame that is flooded has a Fan for itself. One of a multicast group leaves it in the flow cache, and the next frames
of its flow go there as those of a unicast flow go to their one hop: they wait on each path for equal ones, and a
super-frame is cut once for all paths.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vxswitch.counters import ALIVE, Drop
from vxswitch.dataplane.port import Port
from vxswitch.dataplane.slot import Slot
from vxswitch.dataplane.underlay import Path, Underlay
from vxswitch.fdb import Hop
from vxswitch.groups import Audience
from vxswitch.wire.flow import entropy

KEPT_COPIES: Final = 256  # a larger one is made anew for each frame: 4096 flows of a port keep 8 MiB at most


class Fan(Hop):
    """Local ports, and VTEPs each by a path.

    ``missing``: VTEPs that have none, because we have no address of their family. ``copies``: hops in all.
    ``flooded``: nobody in particular has asked for it, so the budget for floods pays, not that for copies.
    """

    __slots__ = ("copies", "flooded", "joins_udp", "missing", "paths", "ports")

    def __init__(
        self, ports: Iterable[Hop], paths: tuple[Path, ...] = (), missing: int = 0, *, flooded: bool = False
    ) -> None:
        super().__init__(0)
        self.ports = tuple(port for port in ports if isinstance(port, Port))
        self.paths = paths
        self.missing = missing
        self.copies = len(self.ports) + len(paths) + missing
        self.flooded = flooded
        self.joins_udp = all(port.joins_udp for port in self.ports)

    def verdict(self, port: Port, count: int, now: float) -> int:
        """ALIVE if ``port`` may send ``count`` frames to them now (monotonic seconds), else the reason."""
        if not self.copies:
            return Drop.NO_LISTENERS
        if self.flooded:
            return ALIVE if port.bum.take(count, now) else Drop.STORM
        within = port.copies is None or port.copies.take(self.copies * count, now)
        return ALIVE if within else Drop.COPY_LIMIT


def fan_of(underlay: Underlay, slot: Slot, port: Port, audience: Audience, *, flooded: bool) -> Fan:
    """Where the frame in the slot goes that ``port`` has sent: not back to it."""
    way = entropy(slot.view, slot.start, slot.end - slot.start)
    found = [underlay.path(peer, way) for peer in audience.peers]
    paths = tuple(path for path in found if path is not None)
    others = (hop for hop in audience.ports if hop is not port)
    return Fan(others, paths, len(found) - len(paths), flooded=flooded)
