"""Two switches at full load for a long time: `python -m benchmarks.soak`, `make soak` (SOAK_SECONDS, 600 by default).

TCP in both directions, small UDP datagrams over many flows, and pings, all at once, between two hosts. Then the books
(`books.py`) must balance: no frame was lost without a name, and no name tells of anything but a full queue.

Resident memory is looked at all the time. What counts as growth is the difference between the median of the last
tenth and that of the first tenth after a warm-up, during which buffers and caches take their size.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Self

from benchmarks.books import Account, Books
from benchmarks.cpu import resident_bytes
from benchmarks.load import Load, udp
from benchmarks.peers import KernelCut, Pair, Vxswitch
from vxswitch.lab import Lab, LossMeter, PingResult, SwitchProcess, iperf
from vxswitch.lab.iperf import Throughput
from vxswitch.lab.verbs import ending_by_signals

SECONDS: Final = 600
GROWTH: Final = 1 << 20  # bytes of resident memory that a switch may grow by
WARM_UP: Final = 0.2  # of the time
QUIET: Final = 10.0  # seconds in which the last frames must have arrived
UDP_PPS: Final = 20_000
UDP_SIZES: Final = (64,)
UDP_FLOWS: Final = 64
CONGESTION: Final = frozenset(("underlay_busy", "underlay_overflow", "port_busy"))
"""Drops that a full load may bring: a queue of the kernel's was full. Any other reason is a fault."""


@dataclass(slots=True)
class Outcome:
    """What happened. `accounts` and `growth` (bytes) of each switch; `faults`: what must not be, in words."""

    tcp: Throughput
    load: Load
    pings: PingResult
    accounts: list[Account]
    growth: list[int]
    faults: list[str]


class Memory:
    """Resident memory of some processes, looked at in the background; a context manager."""

    def __init__(self, pids: list[int], interval: float) -> None:
        self.pids, self.interval = pids, interval
        self.samples: list[list[int]] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._end.wait(self.interval):
            self.samples.append([resident_bytes([pid]) for pid in self.pids])

    def growth(self) -> list[int]:
        """Bytes by which each process grew after its warm-up."""
        return [growth(list(one)) for one in zip(*self.samples, strict=True)]


def growth(samples: list[int]) -> int:
    """Median of the last tenth less that of the first tenth after the warm-up."""
    after = samples[int(len(samples) * WARM_UP) :]
    tenth = max(1, len(after) // 10)
    return round(statistics.median(after[-tenth:]) - statistics.median(after[:tenth]))


def soak(seconds: int, kind: type[Vxswitch] = Vxswitch) -> Outcome:
    """Load two switches for this long and balance the books.

    Where the kernel cuts, it must: on a plain veth it would not, and the two ends would count differently.
    """
    with Lab(hosts=2, direct=True, wire_like=kind is KernelCut) as lab:
        peer = kind(lab)
        pair = peer.start()
        assert pair.beside is not None
        peer.wait(pair)
        peer.wait(pair.beside)
        books = Books(peer.switches, lab.hosts, [pair.source, pair.destination])
        with Memory(peer.pids(), max(0.1, seconds / 1000)) as memory:
            tcp, load, pings = _traffic(pair, pair.beside, seconds)
        accounts, faults = books.balanced(QUIET)
        faults += books.unexplained(load, accounts)
        outcome = Outcome(tcp, load, pings, accounts, memory.growth(), faults)
        outcome.faults += _faults(outcome, peer.switches)
        return outcome


def _traffic(pair: Pair, beside: Pair, seconds: int) -> tuple[Throughput, Load, PingResult]:
    """TCP both ways and datagrams between one pair of containers, pings between the other."""
    ends = (pair.source, pair.destination, pair.address)
    with LossMeter(beside.source, beside.address) as meter, ThreadPoolExecutor() as at_once:
        tcp = at_once.submit(iperf.tcp, *ends, seconds=seconds, both=True)
        load = at_once.submit(udp, *ends, sizes=UDP_SIZES, pps=UDP_PPS, seconds=seconds, flows=UDP_FLOWS)
        moved, sent = tcp.result(), load.result()
    return moved, sent, meter.result


def _faults(outcome: Outcome, switches: list[SwitchProcess]) -> list[str]:
    found = [f"a switch grew by {grown / 2**20:.2f} MiB" for grown in outcome.growth if grown > GROWTH]
    for account in outcome.accounts:
        found += [f"drop: {reason} {n}" for reason, n in account.drops.items() if reason not in CONGESTION]
    if outcome.load.reordered or outcome.load.duplicates:
        found.append(f"UDP: {outcome.load.reordered} out of order, {outcome.load.duplicates} twice")
    if not (outcome.load.received and outcome.tcp.received_bytes and outcome.pings.received):
        found.append("something never arrived at all")
    return found + [f"logged: {line}" for switch in switches for line in errors(switch.stderr_tail(10_000))]


def errors(log: str) -> list[str]:
    """The lines of a log (JSON, one object a line) that tell of an error, and those that are no log lines at all."""
    found = []
    for line in log.splitlines():
        try:
            level = json.loads(line)["level"]
        except (ValueError, TypeError, KeyError):
            level = "unreadable"
        if level not in ("debug", "info", "warning"):
            found.append(line)
    return found


def lines(outcome: Outcome) -> Iterator[str]:
    """What is told at the end."""
    tcp, load, pings = outcome.tcp, outcome.load, outcome.pings
    yield f"TCP   {tcp.gbit_per_s:.2f} Gbit/s in both directions together, {tcp.retransmits} retransmissions one way"
    yield f"UDP   {load.sent} sent, {load.received} received ({load.delivered_pps:,.0f}/s), {load.lost} lost"
    yield f"ping  {pings.sent} sent, {pings.received} received, p99 {pings.quantile(0.99) * 1e3:.1f} ms"
    for number, (account, grown) in enumerate(zip(outcome.accounts, outcome.growth, strict=True), start=1):
        drops = ", ".join(f"{reason} {n}" for reason, n in account.drops.items()) or "none"
        yield f"switch {number}: {account.frames_in:,} frames, dropped {drops}; memory {grown / 2**20:+.2f} MiB"
    yield from (f"FAULT {fault}" for fault in outcome.faults)
    if not outcome.faults:
        yield "every frame is accounted for, nothing grew, nothing went wrong"


def main() -> int:
    """Soak, tell, 0 if there was no fault."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=int(os.environ.get("SOAK_SECONDS", SECONDS)), metavar="S")
    parser.add_argument("--kernel-cut", action="store_true", help="with underlay.kernel_cut=on, wire-like")
    args = parser.parse_args()
    ending_by_signals()
    print(f"two switches at full load for {args.seconds} s", flush=True)
    outcome = soak(args.seconds, KernelCut if args.kernel_cut else Vxswitch)
    for line in lines(outcome):
        print(line)
    return 1 if outcome.faults else 0


if __name__ == "__main__":
    sys.exit(main())
