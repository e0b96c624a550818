"""What a lone frame costs, and what of it is Python: `python -m benchmarks.sparse`. No root and no devices.

A ping on an idle network is one frame at a time, each long after the last one. So two figures stand side by side:

    warm   the same frame again and again: code, tables and objects are in the processor's caches
    cold   before each frame a large array is written all over, which leaves nothing in them

and two ways: the system calls that a frame needs, called from a loop that does nothing else, and the switch. Their
difference is Python's share; what is cold is cold for every program, and only who does less is faster. The frame is an
echo request of 98 bytes; a pipe stands for the TAP, a UDP socket on the loopback for the underlay.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

import numpy as np

from benchmarks.frames import HERE, THERE, VNI
from vxswitch.counters import ALIVE, Stats
from vxswitch.dataplane.decap import Decap
from vxswitch.dataplane.encap import READ_MAX, Encap
from vxswitch.dataplane.flow import FlowCache
from vxswitch.dataplane.port import Port
from vxswitch.dataplane.sockets import UnderlayOptions, receive_socket
from vxswitch.dataplane.underlay import Underlay
from vxswitch.fdb import Fdb, Table
from vxswitch.model import PortSpec, Vtep
from vxswitch.wire import cmsg, ethernet, ip, virtio, vxlan

HOST: Final = "127.0.0.1"
LARGER_THAN_CACHES: Final = 64 << 20  # bytes
PAYLOAD: Final = 56  # ping(8)

Call = Callable[[], object]
Take = Callable[[], bytes]


class PipePort(Port):
    """A port whose TAP is a pipe."""

    def __init__(self, table: Table, ends: tuple[int, int]) -> None:
        spec = PortSpec("p", VNI, HERE, antispoof=False, max_macs=9, bum_pps=1 << 40, bum_burst=1 << 40)
        super().__init__(spec, table, FlowCache(), 0.0)
        self.out, self.into = ends

    def read(self, slot: memoryview) -> int:
        try:
            return os.readv(self.out, (slot,))
        except BlockingIOError:
            return 0

    def write(self, view: memoryview) -> int:
        os.write(self.into, view)
        return ALIVE


class Bench:
    """A switch with one port and one VTEP, and the bare system calls, on the same pipe and sockets."""

    def __init__(self, stack: ExitStack) -> None:
        self.pipe = os.pipe()
        for end in self.pipe:
            os.set_blocking(end, False)
            stack.callback(os.close, end)
        options = UnderlayOptions(send_sockets=1)
        self.far = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self.far.bind((HOST, 0))
        self.near = stack.enter_context(receive_socket(Vtep(HOST, _free_port()), options))
        self.underlay = Underlay(options, lambda vtep, options: self.near)
        stack.callback(self.underlay.close)
        here = Vtep(*self.near.getsockname())
        self.underlay.set_vteps([here])
        fdb, stats = Fdb(), Stats()
        self.table = fdb.add(Table("bench", VNI, mtu=1450, learning="flood"))
        peer = fdb.peer(Vtep(*self.far.getsockname()))
        self.table.set_peers([peer], 0, {HOST: peer})
        self.port = PipePort(self.table, self.pipe)
        self.table.add_port(self.port)
        self.table.install(HERE, self.port, "learned", 0.0, given=True)
        self.table.install(THERE, peer, "static", 0.0)
        self.encap, self.decap = Encap(self.underlay, stats), Decap(fdb, self.underlay.counts, stats)
        (self.receiver,) = self.underlay.receivers.values()
        self.room = memoryview(bytearray(READ_MAX))

    def calls(self) -> dict[str, tuple[Call, Call, Take]]:
        """By name: what brings a frame, what is measured, what takes away what came out."""
        sock, target = self.underlay.path(next(iter(self.table.flood)), 0).sock, self.far.getsockname()  # type: ignore[union-attr]

        def bare_out() -> None:
            n = os.readv(self.pipe[0], (self.room,))
            sock.sendmsg([self.room[: n - virtio.HEADER_LEN + vxlan.HEADER_LEN]], (), 0, target)

        def bare_in() -> None:
            n, *_ = self.near.recvmsg_into([self.room], cmsg.ANCILLARY_LEN)
            os.write(self.pipe[1], self.room[:n])

        def send() -> object:
            return os.write(self.pipe[1], virtio.NONE + echo(THERE, HERE))

        def bring() -> object:
            return self.far.sendto(vxlan.header(VNI) + echo(HERE, THERE), self.near.getsockname())

        def sent() -> bytes:
            return self.far.recv(READ_MAX)

        def written() -> bytes:
            return os.read(self.pipe[0], READ_MAX)

        return {
            "out: system calls": (send, bare_out, sent),
            "out: the switch": (send, lambda: self.encap.burst(self.port, 1.0), sent),
            "in: system calls": (bring, bare_in, written),
            "in: the switch": (bring, lambda: self.decap.burst(self.receiver, 1.0), written),
        }


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((HOST, 0))
        port: int = sock.getsockname()[1]
        return port


def echo(to: bytes, source: bytes) -> bytes:
    """An ICMP echo request as ping sends it (RFC 792), its checksums left out."""
    message = bytes((8, 0, 0, 0, 0, 1, 0, 1)) + bytes(PAYLOAD)
    total = ip.V4_HEADER_LEN + len(message)
    head = struct.pack("!BBHHHBBH", 0x45, 0, total, 1, 0, 64, ip.PROTO_ICMP, 0) + bytes(range(8))
    return to + source + struct.pack("!H", ethernet.ETH_P_IP) + head + message


@contextmanager
def bench() -> Iterator[Bench]:
    """The bench, closed afterwards."""
    with ExitStack() as stack:
        yield Bench(stack)


def measure(frames: int) -> dict[str, tuple[float, float]]:
    """By name: median microseconds of a frame, warm and cold; all ways take turns."""
    junk = np.zeros(LARGER_THAN_CACHES, np.uint8)
    samples: dict[tuple[str, bool], list[float]] = {}
    with bench() as one:
        ways = one.calls()
        for cold in (False, True):
            for _ in range(frames):
                for name, (bring, handle, take) in ways.items():
                    bring()
                    if cold:
                        junk += 1
                    begun = time.perf_counter()
                    handle()
                    samples.setdefault((name, cold), []).append(1e6 * (time.perf_counter() - begun))
                    take()
        if sum(one.underlay.counts.by_reason) or sum(one.port.counts.by_reason):
            raise AssertionError("frames are lost instead of handled")
    return {name: (statistics.median(samples[name, False]), statistics.median(samples[name, True])) for name in ways}


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sparse", description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=300, metavar="N", help="per way, warm and cold (default 300)")
    args = parser.parse_args()
    print(f"{'a lone frame':<20} {'warm, us':>9} {'cold, us':>9}")
    for name, (warm, cold) in measure(args.frames).items():
        print(f"{name:<20} {warm:9.1f} {cold:9.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
