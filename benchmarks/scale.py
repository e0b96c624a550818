"""What size costs: `python -m benchmarks.scale`. No root, no devices; the sockets are on the loopback.

A network of up to 10^5 MACs behind up to 500 VTEPs. To look one up must cost the same however many there are; to flood
must cost as much per copy however many copies are made. The frames go the real way (Encap, tables, paths); in memory
their sockets are sinks, on the loopback they are sent, one system call per copy, to a socket that lets them overflow.

All sizes take turns in several rounds; times are of the CPU. The best round says what the code costs, the median what
it costs here now.
"""

from __future__ import annotations

import argparse
import json
import random
import socket
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from benchmarks.facts import facts
from benchmarks.frames import HERE, THERE, Bench, Feed, small
from vxswitch.dataplane.encap import Encap
from vxswitch.dataplane.flow import MAX_FLOWS
from vxswitch.dataplane.sockets import UnderlayOptions
from vxswitch.dataplane.underlay import Underlay
from vxswitch.fdb import Peer
from vxswitch.model import Vtep
from vxswitch.wire import virtio

ROWS: Final = (100, 1_000, 10_000, 100_000)
VTEPS: Final = (1, 10, 100, 250, 500)
_BROADCAST: Final = b"\xff" * 6
_ASKED: Final = 2000  # lookups in one call
_DECIDED: Final = MAX_FLOWS * 2  # flows: more than the cache holds, so that each frame is decided anew

Call = Callable[[], int]  # does something some times and says how often
Samples = dict[str, dict[int, list[float]]]  # CPU seconds for each time, per round, by figure and size


class Sized(Bench):
    """A switch with one local port whose network has MACs spread over VTEPs; `underlay`: sinks, unless given."""

    def __init__(self, rows: int, vteps: int, underlay: Underlay | None = None, port: int = 4789) -> None:
        super().__init__()
        if underlay is not None:
            self.encap = Encap(underlay, self.stats)
        self.table.max_macs = max(ROWS) * 2
        peers = [self.fdb.peer(Vtep(f"127.1.{n >> 8}.{n & 0xFF}", port)) for n in range(1, vteps + 1)]
        self.table.set_peers(peers, 0, {peer.vtep.address: peer for peer in peers})
        chance = random.Random(1)
        self.macs = [b"\x02" + chance.randbytes(5) for _ in range(rows)]
        for n, mac in enumerate(self.macs):
            self.table.install(mac, peers[n % vteps], "claimed", 0.0)
        chance.shuffle(self.macs)
        self.port = self.feed(THERE)

    def lookups(self) -> Call:
        """Look up known MACs, in no order that a cache would like."""
        asked, lookup = (self.macs * (_ASKED // len(self.macs) + 1))[:_ASKED], self.table.lookup

        def call() -> int:
            for mac in asked:
                lookup(mac)
            return _ASKED

        return call

    def refreshes(self) -> Call:
        """Learn again what is known: what each frame's source is asked for when its flow is not cached."""
        where: dict[bytes, Peer] = {row.mac: row.hop for row in self.table.rows.values() if isinstance(row.hop, Peer)}
        known = [(mac, where[mac]) for mac in (self.macs * (_ASKED // len(self.macs) + 1))[:_ASKED]]
        learn = self.table.learn

        def call() -> int:
            for mac, hop in known:
                learn(mac, hop, 1.0)
            return _ASKED

        return call

    def decisions(self) -> Call:
        """Small frames out, each of a flow that is not in the cache."""
        flows = [small(n & 0xFFFF) for n in range(_DECIDED)]
        wanted = (self.macs * (_DECIDED // len(self.macs) + 1))[:_DECIDED]
        return self._sent([virtio.NONE + mac + frame[len(HERE) :] for mac, frame in zip(wanted, flows, strict=True)])

    def floods(self) -> Call:
        """Broadcasts out, a copy to every VTEP."""
        frame = small(1)
        return self._sent([virtio.NONE + _BROADCAST + frame[len(HERE) :]] * 4)

    def _sent(self, frames: list[bytes]) -> Call:
        port: Feed = self.port

        def call() -> int:
            begun, at = port.rx_frames, port.at
            port.frames_to_read = frames
            self.encap.burst(port, 1.0)
            if sum(port.counts.by_reason):
                raise AssertionError("frames are lost instead of sent")
            done = port.rx_frames - begun
            port.at = (at + done) % len(frames)
            return done

        return call


@contextmanager
def loopback() -> Iterator[tuple[Underlay, int]]:
    """A real underlay on the loopback, and a UDP port at which somebody stands who does not read."""
    underlay = Underlay(UnderlayOptions())
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nobody:
            nobody.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            nobody.bind(("", 0))
            underlay.set_vteps([Vtep("127.0.0.1", 0)])
            yield underlay, nobody.getsockname()[1]
    finally:
        underlay.close()


def measure(rounds: int, seconds: float) -> Samples:
    """CPU seconds for each lookup, frame or copy; one value per round. A round gives each figure and size `seconds`."""
    with loopback() as (underlay, port):
        todo: dict[tuple[str, int], tuple[Call, int]] = {}
        for rows in ROWS:
            table = Sized(rows, max(VTEPS))
            todo["lookup", rows] = table.lookups(), 1
            todo["refresh", rows] = table.refreshes(), 1
            todo["frame decided anew", rows] = table.decisions(), 1
        for vteps in VTEPS:
            todo["copy in memory", vteps] = Sized(1, vteps).floods(), vteps
            todo["copy on the loopback", vteps] = Sized(1, vteps, underlay, port).floods(), vteps
        samples: Samples = {}
        for _ in range(rounds):
            for (figure, size), (call, copies) in todo.items():
                spent = _time(call, seconds) / copies
                samples.setdefault(figure, {}).setdefault(size, []).append(spent)
    return samples


def _time(call: Call, seconds: float) -> float:
    times, begun = 0, time.process_time()
    while (spent := time.process_time() - begun) < seconds:
        times += call()
    return spent / times


def lines(samples: Samples) -> Iterator[str]:
    """A table for the terminal: microseconds, best and median, and what the largest costs against the smallest."""
    yield f"{'microseconds per':<24} {'size':>8} {'best':>9} {'median':>9} {'to the smallest':>16}"
    for figure, sizes in samples.items():
        least = min(next(iter(sizes.values())))
        for size, values in sizes.items():
            best, middle = min(values) * 1e6, statistics.median(values) * 1e6
            yield f"{figure:<24} {size:>8} {best:9.3f} {middle:9.3f} {min(values) / least:16.2f}"


def main() -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON with every sample and the machine's facts")
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="rounds over all figures (default 7)")
    parser.add_argument("--seconds", type=float, default=0.03, metavar="S", help="per figure and round (default 0.03)")
    args = parser.parse_args()
    about = facts()
    samples = measure(args.rounds, args.seconds)
    if args.json:
        json.dump({"schema": 1, "unit": "s", "facts": about, "samples": samples}, sys.stdout, indent=1)
        return
    for line in lines(samples):
        print(line)


if __name__ == "__main__":
    main()
