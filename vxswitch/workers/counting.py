"""A worker's counts: taken from its data plane, which begins again at zero, and added to the main process's own.

So every count of the switch stands in one place, the main process, a quarter of a second late at most, and whoever
shows or adds up counts knows nothing of workers.
"""

from __future__ import annotations

from collections.abc import Mapping

from vxswitch.counters import N_REASONS, Counts, Stats
from vxswitch.dataplane.plane import Plane
from vxswitch.dataplane.port import TapPort
from vxswitch.workers.messages import Counted, PortCounts, Sparse


def take(plane: Plane, ports: Mapping[int, TapPort]) -> Counted | None:
    """What ``plane`` has counted since the last call, None if that is nothing. ``ports`` by number."""
    underlay, stats = plane.underlay, plane.stats
    received = plane.received
    for receiver in underlay.receivers.values():
        received += receiver.frames
        receiver.frames = 0
    counted = Counted(
        received,
        underlay.sent,
        underlay.errors,
        _take_stats(stats),
        _take_drops(underlay.counts),
        plane.retired_rx,
        plane.retired_tx,
        _take_drops(plane.retired),
        [told for number, port in ports.items() if (told := _take_port(number, port)) is not None],
    )
    plane.received = plane.retired_rx = plane.retired_tx = underlay.sent = underlay.errors = 0
    return counted if counted != _NOTHING else None


_NOTHING = Counted(0, 0, 0, {}, {}, 0, 0, {}, [])


def _take_stats(stats: Stats) -> Sparse:
    """What goes up and down (``held``) is told by its differences, too: the sum is right."""
    taken = {place: n for place, name in enumerate(Stats.__slots__) if (n := getattr(stats, name))}
    for place in taken:
        setattr(stats, Stats.__slots__[place], 0)
    return taken


def _take_drops(counts: Counts) -> Sparse:
    if not any(counts.by_reason):
        return {}
    taken = {reason: n for reason, n in enumerate(counts.by_reason) if n}
    counts.by_reason[:] = [0] * N_REASONS
    return taken


def _take_port(number: int, port: TapPort) -> PortCounts | None:
    drops = _take_drops(port.counts)
    if not (drops or port.rx_frames or port.tx_frames):
        return None
    taken = PortCounts(number, port.rx_frames, port.rx_bytes, port.tx_frames, port.tx_bytes, drops)
    port.rx_frames = port.rx_bytes = port.tx_frames = port.tx_bytes = 0
    return taken


def add(plane: Plane, ports: Mapping[int, TapPort], counted: Counted) -> None:
    """Add what a worker has taken. Counts of a port that is gone by now stay with the switch."""
    plane.received += counted.received
    plane.underlay.sent += counted.sent
    plane.underlay.errors += counted.errors
    for place, n in counted.stats.items():
        name = Stats.__slots__[place]
        setattr(plane.stats, name, getattr(plane.stats, name) + n)
    _add_drops(plane.underlay.counts, counted.drops)
    plane.retired_rx += counted.retired_rx
    plane.retired_tx += counted.retired_tx
    _add_drops(plane.retired, counted.retired_drops)
    for told in counted.ports:
        port = ports.get(told.number)
        if port is None:
            plane.retired_rx += told.rx_frames
            plane.retired_tx += told.tx_frames
            _add_drops(plane.retired, told.drops)
        else:
            _add_port(port, told)


def _add_port(port: TapPort, told: PortCounts) -> None:
    port.rx_frames += told.rx_frames
    port.rx_bytes += told.rx_bytes
    port.tx_frames += told.tx_frames
    port.tx_bytes += told.tx_bytes
    _add_drops(port.counts, told.drops)


def _add_drops(counts: Counts, drops: Sparse) -> None:
    for reason, n in drops.items():
        counts.by_reason[reason] += n
