"""What the pure parts cost, without root, devices or sockets: `python -m benchmarks.micro`, `make micro`.

Microseconds per 60 KB super-frame for cutting, joining and checksums, per frame for what is asked of every frame. Each
figure is taken in several rounds, one after the other over all figures, so that a busy moment meets them alike; the
best round says what the code costs, the median what it costs on this machine now.
"""

from __future__ import annotations

import argparse
import json
import statistics
import struct
import time
from collections.abc import Callable
from typing import Final

import numpy as np

from benchmarks.facts import facts
from vxswitch.offload.arena import FRAME_ARENA, ROW_ARENA, Arena, Run
from vxswitch.offload.checksum import complete, row_sums
from vxswitch.offload.coalesce import Joiner
from vxswitch.offload.partial import is_partial
from vxswitch.offload.segment import OK, Cutter
from vxswitch.wire import checksum, ethernet, flow, ip, transport, virtio, vxlan

PAYLOAD: Final = 60_114  # bytes of payload in a super-frame, 43 segments of 1398: what gso_max_size 61000 gives
OPTIONS: Final = bytes.fromhex("0101080a0000000100000002")  # timestamps, as Linux sends them
START: Final = virtio.HEADER_LEN
VXLAN: Final = vxlan.header(42)

Call = Callable[[], object]


def super_frame(gso_type: int, mss: int, payload: int) -> bytes:
    """A super-frame as a TAP gives it: [virtio_net_hdr][Ethernet][IP][TCP or UDP][payload]."""
    tcp = gso_type != virtio.GSO_UDP_L4
    data = np.random.default_rng(1).bytes(payload)
    segment = struct.pack("!HHIIBBHHH", 40000, 5201, 1, 1, 0x80, transport.TCP_ACK, 501, 0, 0) + OPTIONS + data
    if not tcp:
        segment = struct.pack("!HHHH", 40000, 5201, 8 + payload, 0) + data
    protocol = ip.PROTO_TCP if tcp else ip.PROTO_UDP
    addresses = bytes(range(8)) if gso_type != virtio.GSO_TCPV6 else bytes(range(32))
    if gso_type == virtio.GSO_TCPV6:
        ethertype = ethernet.ETH_P_IPV6
        network = bytearray(struct.pack("!IHBB", 6 << 28, len(segment), protocol, 64) + addresses)
    else:
        ethertype = ethernet.ETH_P_IP
        network = bytearray(struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(segment), 1, ip.V4_DF, 64, protocol, 0))
        network += addresses
        struct.pack_into("!H", network, ip.V4_CHECKSUM, 0xFFFF - checksum.ones_complement(network))
    csum_start = ethernet.HEADER_LEN + len(network)
    field = transport.TCP_CHECKSUM if tcp else transport.UDP_CHECKSUM
    vnet = virtio.HEADER.pack(virtio.F_NEEDS_CSUM, gso_type, 0, mss, csum_start, field)
    frame = bytearray(vnet + bytes(range(12)) + struct.pack("!H", ethertype) + network + segment)
    struct.pack_into("!H", frame, START + csum_start + field, checksum.pseudo_header(addresses, protocol, len(segment)))
    return bytes(frame)


def cut_and_join(gso_type: int, mss: int, payload: int) -> tuple[Call, Call]:
    """Calls that cut such a super-frame, and that join its rows. Each has been seen to do so."""
    frame = super_frame(gso_type, mss, payload)
    _, _, _, size, csum_start, csum_offset = virtio.HEADER.unpack_from(frame)
    slot, out, datagrams = Arena(FRAME_ARENA), Arena(FRAME_ARENA), Arena(ROW_ARENA)
    slot.view[: len(frame)] = frame
    rows, received, cutter, joiner = Run(slot), Run(slot), Cutter(), Joiner()
    length = len(frame) - START

    def cut() -> int:
        return cutter.cut(slot, START, length, gso_type, size, csum_start, csum_offset, VXLAN, rows)

    def join() -> tuple[int, int]:
        return joiner.join(received, 0, out, True)

    if cut() != OK:
        raise AssertionError("not cut")
    datagrams.view[: rows.total] = rows.view[rows.start : rows.start + rows.total]
    received.fill(datagrams, 0, rows.size, rows.total)
    if join() != (rows.count, len(frame)) or bytes(out.view[START : len(frame)]) != frame[START:]:
        raise AssertionError("not joined")
    return cut, join


def sums(width: int) -> Call:
    """A call that sums and completes the checksums of as many rows of `width` bytes as a super-frame has."""
    rows = Arena(ROW_ARENA)
    found = np.zeros(PAYLOAD // width, np.uint32)

    def run() -> None:
        row_sums(rows.array, 42, width + 42, width, found)
        complete(found, 0, False)

    return run


def copy() -> Call:
    """A call that copies a super-frame's payload in one piece: the floor of cutting and joining."""
    here, there = Arena(PAYLOAD), Arena(PAYLOAD)

    def run() -> None:
        there.view[:] = here.view

    return run


def per_frame() -> dict[str, Call]:
    """What is asked of every frame."""
    frame = memoryview(bytearray(super_frame(virtio.GSO_TCPV4, 1398, 1398)))
    length = len(frame) - START
    table = {flow.KEY_V4.unpack_from(frame, START): 1}
    return {
        "flow key and lookup": lambda: table.get(flow.KEY_V4.unpack_from(frame, START)),
        "flow entropy": lambda: flow.entropy(frame, START, length),
        "is the checksum partial": lambda: is_partial(frame, START, length),
        "complete one checksum": lambda: checksum.complete(frame, START, length, 34, 16),
    }


def calls() -> dict[str, Call]:
    """Everything that is measured, by name."""
    shapes = {
        "TCPv4, MSS 1398": (virtio.GSO_TCPV4, 1398, 0),
        "TCPv4, MSS 1398, short last": (virtio.GSO_TCPV4, 1398, -700),
        "TCPv4, MSS 1399": (virtio.GSO_TCPV4, 1399, 0),
        "TCPv4, MSS 536": (virtio.GSO_TCPV4, 536, 0),
        "TCPv4, MSS 8898": (virtio.GSO_TCPV4, 8898, 0),
        "TCPv6, MSS 1378": (virtio.GSO_TCPV6, 1378, 0),
        "UDPv4, 1400 bytes": (virtio.GSO_UDP_L4, 1400, 0),
    }
    cuts: dict[str, Call] = {}
    joins: dict[str, Call] = {}
    for name, (gso_type, mss, more) in shapes.items():
        count = PAYLOAD // mss
        cuts[f"cut   {name}, {count} rows"], joins[f"join  {name}, {count} rows"] = cut_and_join(
            gso_type, mss, count * mss + more
        )
    width = 1398 + 32
    others = {
        "copy  in one piece": copy(),
        f"sum   rows of {width}": sums(width),
        f"sum   rows of {width + 1}": sums(width + 1),
    }
    return cuts | joins | others | {f"frame {name}": call for name, call in per_frame().items()}


def measure(rounds: int, seconds: float) -> dict[str, list[float]]:
    """Microseconds per call of each figure, one value per round; a round gives each `seconds`."""
    samples: dict[str, list[float]] = {}
    todo = {name: (call, _repetitions(call, seconds)) for name, call in calls().items()}
    for _ in range(rounds):
        for name, (call, repetitions) in todo.items():
            samples.setdefault(name, []).append(_time(call, repetitions) / repetitions * 1e6)
    return samples


def _repetitions(call: Call, seconds: float) -> int:
    return max(1, int(seconds / (_time(call, 200) / 200)))


def _time(call: Call, repetitions: int) -> float:
    begun = time.perf_counter()
    for _ in range(repetitions):
        call()
    return time.perf_counter() - begun


def main() -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.micro", description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON with every sample and the machine's facts")
    parser.add_argument("--rounds", type=int, default=9, metavar="N", help="rounds over all figures (default 9)")
    parser.add_argument("--seconds", type=float, default=0.03, metavar="S", help="per figure and round (default 0.03)")
    args = parser.parse_args()
    about = facts()
    samples = measure(args.rounds, args.seconds)
    if args.json:
        print(json.dumps({"schema": 1, "unit": "us", "facts": about, "samples": samples}, indent=1))
        return
    print(f"{'us per call':<48} {'best':>8} {'median':>8}")
    for name, values in samples.items():
        print(f"{name:<48} {min(values):8.2f} {statistics.median(values):8.2f}")


if __name__ == "__main__":
    main()
