"""What the way of a frame costs in memory: `python -m benchmarks.frames`. No root, devices or network.

The real Encap, Decap, tables and run-gathering between a port and sockets that cost a copy and no system call. So a
figure is what Python adds to the kernel's share, per second of CPU time. As in `benchmarks.micro`, all figures take
turns in several rounds: the best says what the code costs, the median what it costs on this machine now.

Small frames are 64 bytes of UDP over IPv4, read 64 at a time and received in runs of 64; a super-frame is 43 segments.
"""

from __future__ import annotations

import argparse
import json
import statistics
import struct
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from benchmarks.facts import facts
from benchmarks.micro import PAYLOAD, super_frame
from vxswitch.counters import ALIVE, Stats
from vxswitch.dataplane.decap import BURST_RUNS, Decap
from vxswitch.dataplane.encap import BURST_FRAMES, Encap
from vxswitch.dataplane.flow import FlowCache
from vxswitch.dataplane.port import Port
from vxswitch.dataplane.sockets import UnderlayOptions
from vxswitch.dataplane.underlay import Path, Receiver, Underlay
from vxswitch.fdb import Fdb, Peer, Table
from vxswitch.groups import GroupTable, Members
from vxswitch.model import PortSpec, Vtep
from vxswitch.offload.arena import ROW_ARENA, Run
from vxswitch.offload.segment import Cutter
from vxswitch.wire import cmsg, ethernet, ip, transport, virtio, vxlan
from vxswitch.wire.multicast import mac_of

VNI: Final = 42
HERE, THERE = bytes(range(6)), bytes(range(6, 12))  # as benchmarks.micro addresses its frames: to HERE, from THERE
FAR: Final = "127.0.0.2"
GROUP: Final = bytes((239, 1, 2, 3))
SMALL: Final = 64  # bytes, Ethernet header included
FLOWS: Final = 64

Burst = Callable[[], int]  # handles some frames and says how many


class Feed(Port):
    """A port that reads what it is given, round and round, and takes all that is written."""

    def __init__(self, name: str, table: Table, mac: bytes) -> None:
        spec = PortSpec(name, VNI, mac, antispoof=False, max_macs=64, bum_pps=1 << 40, bum_burst=1 << 40)
        super().__init__(spec, table, FlowCache(), 0.0)
        self.frames_to_read: list[bytes] = []
        self.at = 0

    def read(self, slot: memoryview) -> int:
        if self.at == len(self.frames_to_read):
            self.at = 0
            return 0
        data = self.frames_to_read[self.at]
        self.at += 1
        slot[: len(data)] = data
        return len(data)

    def write(self, view: memoryview) -> int:
        return ALIVE


class Sink:
    """A send socket that takes everything."""

    def sendmsg(self, views: Iterable[memoryview], ancillary: object, flags: int, target: object) -> int:
        return 0


class Source:
    """A receive socket that has the same runs for every burst."""

    def __init__(self, runs: list[bytes], size: int) -> None:
        told = [(cmsg.SOL_UDP, cmsg.UDP_GRO, struct.pack("=i", size))]
        self.runs = [(run, (len(run), told if len(run) > size else [], 0, (FAR, 50000))) for run in runs]
        self.at = 0

    def recvmsg_into(self, room: list[memoryview], ancillary: int) -> Any:
        if self.at == len(self.runs):
            self.at = 0
            raise BlockingIOError
        run, told = self.runs[self.at]
        self.at += 1
        room[0][: len(run)] = run
        return told


class Wires(Underlay):
    """An underlay whose send sockets are sinks."""

    def __init__(self) -> None:
        super().__init__(UnderlayOptions())
        self.paths: dict[tuple[Peer, int], Path] = {}

    def path(self, peer: Peer, entropy: int) -> Path | None:
        index = entropy % self.options.send_sockets
        path = self.paths.get((peer, index))
        if path is None:
            sink: Any = Sink()
            path = self.paths[peer, index] = Path(peer, sink, index)
        return path


class Bench:
    """One switch with one network, one local port and one VTEP."""

    def __init__(self) -> None:
        self.fdb, self.stats, self.underlay = Fdb(), Stats(), Wires()
        self.table = self.fdb.add(Table("bench", VNI, mtu=1450, learning="flood"))
        self.peer = self.fdb.peer(Vtep(FAR))
        self.table.set_peers([self.peer], 0, {FAR: self.peer})
        self.encap = Encap(self.underlay, self.stats)
        self.decap = Decap(self.fdb, self.underlay.counts, self.stats)

    def feed(self, mac: bytes) -> Feed:
        port = Feed(f"p{mac.hex()}", self.table, mac)
        self.table.add_port(port)
        self.table.install(mac, port, "learned", 0.0, given=True)
        return port

    def out(self, frames: list[bytes], *, local: bool = False) -> Burst:
        """Frames from THERE to HERE, which is behind the VTEP or behind a neighbouring port."""
        port = self.feed(THERE)
        port.frames_to_read = frames
        if local:
            self.feed(HERE)
        else:
            self.table.install(HERE, self.peer, "static", 0.0)

        return _seen(self.sent_by(port), lambda: sum(port.counts.by_reason) or len(self.table.rows) != 2)

    def sent_by(self, port: Feed) -> Burst:
        """All that the port has to be read."""

        def burst() -> int:
            before = port.rx_frames
            while self.encap.burst(port, 1.0) and port.at:
                pass
            return port.rx_frames - before

        return burst

    def group(self, vteps: int) -> Burst:
        """Frames of one flow from THERE to GROUP, which stations behind so many VTEPs have joined."""
        peers = [self.fdb.peer(Vtep(f"127.0.1.{n}"), f"n{n}") for n in range(1, vteps + 1)]
        self.table.set_peers(peers, 0, {peer.vtep.address: peer for peer in peers})
        known = GroupTable(self.table, lambda hop, message: None)
        known.put(GROUP, Members(nodes=frozenset(f"n{n}" for n in range(1, vteps + 1))))
        self.table.set_groups(known)
        frame = small(0)
        frame = mac_of(GROUP) + frame[ethernet.SRC : 30] + GROUP + frame[34:]
        port = self.feed(THERE)
        port.frames_to_read = [virtio.NONE + frame] * BURST_FRAMES

        wanted = vteps * BURST_FRAMES
        return _seen(self.sent_by(port), lambda: sum(port.counts.by_reason) or self.stats.mcast_copies != wanted)

    def into(self, runs: list[bytes], size: int) -> Burst:
        """Runs of datagrams from the VTEP for HERE, which is a local port."""
        port = self.feed(HERE)
        source: Any = Source(runs, size)
        receiver = Receiver(Vtep("127.0.0.1", 0), self.underlay.options, self.underlay.counts, source)

        def burst() -> int:
            before = port.tx_frames
            self.decap.burst(receiver, 1.0)
            source.at = 0
            return port.tx_frames - before

        return _seen(burst, lambda: sum(self.underlay.counts.by_reason))


def _seen(burst: Burst, wrong: Callable[[], int]) -> Burst:
    """The burst, after it was seen to do what it is measured for."""
    if burst() == 0 or wrong():
        raise AssertionError("frames are lost instead of handled")
    return burst


def small(port: int) -> bytes:
    """A frame of 64 bytes from THERE to HERE, UDP from ``port``."""
    data = bytes(SMALL - ethernet.HEADER_LEN - ip.V4_HEADER_LEN - transport.UDP_HEADER_LEN)
    datagram = struct.pack("!HHHH", port, 9, transport.UDP_HEADER_LEN + len(data), 0) + data
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(datagram), 1, 0, 64, ip.PROTO_UDP, 0) + bytes(range(8))
    return HERE + THERE + struct.pack("!H", ethernet.ETH_P_IP) + head + datagram


def rows_of(frame: bytes) -> tuple[bytes, int]:
    """The datagrams of a super-frame in one piece, and the size of each."""
    bench = Bench()
    _, kind, _, size, start, offset = virtio.HEADER.unpack_from(frame)
    slot = bench.encap.slot
    slot.view[: len(frame)] = frame
    rows = Run(slot.arena)
    length = len(frame) - virtio.HEADER_LEN
    Cutter().cut(slot.arena, virtio.HEADER_LEN, length, kind, size, start, offset, vxlan.header(VNI), rows)
    if not 0 < rows.total < ROW_ARENA:
        raise AssertionError("not cut")
    return bytes(rows.view[rows.start : rows.start + rows.total]), rows.size


def bursts() -> dict[str, Burst]:
    """Everything that is measured, by name."""
    unfinished = virtio.HEADER.pack(virtio.F_NEEDS_CSUM, virtio.GSO_NONE, 0, 0, 34, transport.UDP_CHECKSUM)
    plain = [unfinished + small(n) for n in range(FLOWS)]
    rows = [vxlan.header(VNI) + small(n) for n in range(FLOWS)]
    bulk = super_frame(virtio.GSO_TCPV4, 1398, PAYLOAD)
    segments, size = rows_of(bulk)
    row = vxlan.HEADER_LEN + SMALL
    return {
        "small out, one flow": Bench().out(plain[:1] * BURST_FRAMES),
        "small out, 64 flows": Bench().out(plain),
        "small to a neighbour": Bench().out(plain[:1] * BURST_FRAMES, local=True),
        "small to 2 of a group": Bench().group(2),
        "small to 64 of a group": Bench().group(64),
        "small in, one flow": Bench().into([rows[0] * 64] * BURST_RUNS, row),
        "small in, 64 flows": Bench().into([b"".join(rows)] * BURST_RUNS, row),
        "small in, one by one": Bench().into(rows[:BURST_RUNS], row),
        "super-frame out": Bench().out([bulk] * 4),
        "super-frame in": Bench().into([segments] * BURST_RUNS, size),
    }


def measure(rounds: int, seconds: float) -> dict[str, list[float]]:
    """Wire frames per second of CPU time, one value per round; a round gives each figure about `seconds`."""
    todo = bursts()
    samples: dict[str, list[float]] = {name: [] for name in todo}
    for _ in range(rounds):
        for name, burst in todo.items():
            frames, begun = 0, time.process_time()
            while (spent := time.process_time() - begun) < seconds:
                frames += burst()
            samples[name].append(frames / spent)
    return samples


def main() -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.frames", description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON with every sample and the machine's facts")
    parser.add_argument("--rounds", type=int, default=9, metavar="N", help="rounds over all figures (default 9)")
    parser.add_argument("--seconds", type=float, default=0.05, metavar="S", help="per figure and round (default 0.05)")
    args = parser.parse_args()
    about = facts()
    samples = measure(args.rounds, args.seconds)
    if args.json:
        json.dump({"schema": 1, "unit": "frames/s", "facts": about, "samples": samples}, sys.stdout, indent=1)
        return
    print(f"{'wire frames':<24} {'best/s':>12} {'median/s':>12} {'us each':>8}")
    for name, values in samples.items():
        best = max(values)
        print(f"{name:<24} {best:12,.0f} {statistics.median(values):12,.0f} {1e6 / best:8.3f}")


if __name__ == "__main__":
    main()
