"""What is measured over a pair, and how each value is to be read.

A measurement runs for a fixed time and yields one or more values by name, in base units; `FIGURES` says what
each name means, its unit, and whether more is better. Ratios are always "vxswitch to the peer" in one run.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cpu import CpuTime, resident_bytes
from benchmarks.peers import Pair, Peer
from vxswitch.lab import iperf, ping

Values = dict[str, float]

UDP_STEPS: dict[int, tuple[int, ...]] = {64: (50_000, 150_000, 310_000), 512: (50_000, 150_000), 1400: (20_000, 80_000)}
"""Offered loads in datagrams per second for each payload size in bytes."""


@dataclass(frozen=True, slots=True)
class Figure:
    """`scale` turns the stored base unit into the printed one; without a better direction there is no ratio."""

    title: str
    unit: str
    scale: float
    more_is_better: bool | None

    def number(self, value: float) -> str:
        """A value in the printed unit, without it: three significant digits."""
        scaled = value * self.scale
        return f"{scaled:.0f}" if abs(scaled) >= 100 else f"{scaled:.3g}"

    def show(self, value: float) -> str:
        """A value with its unit."""
        return f"{self.number(value)} {self.unit}"


def _udp_figures() -> dict[str, Figure]:
    figures = {}
    for size, steps in UDP_STEPS.items():
        for pps in steps:
            name, title = f"udp_{size}_{pps}", f"UDP {size} B, {pps // 1000} kpps"
            figures[f"{name}_offered"] = Figure(f"{title}: offered", "kpps", 1e-3, None)
            figures[f"{name}_delivered"] = Figure(f"{title}: delivered", "kpps", 1e-3, True)
            figures[f"{name}_loss"] = Figure(f"{title}: lost", "%", 100.0, None)
    return figures


FIGURES: dict[str, Figure] = {
    "tcp_1": Figure("TCP, 1 flow", "Gbit/s", 1e-9, True),
    "tcp_8": Figure("TCP, 8 flows", "Gbit/s", 1e-9, True),
    "tcp_both": Figure("TCP, both directions", "Gbit/s", 1e-9, True),
    "ping_p50": Figure("ping p50", "us", 1e6, False),
    "ping_p99": Figure("ping p99", "us", 1e6, False),
    "ping_loaded_p50": Figure("ping p50 under TCP bulk", "us", 1e6, False),
    "ping_loaded_p99": Figure("ping p99 under TCP bulk", "us", 1e6, False),
    "tcp_rr": Figure("TCP 1-byte transactions", "k/s", 1e-3, True),
    **_udp_figures(),
    "cpu_per_gb": Figure("CPU per GB, machine", "s", 1.0, False),
    "switch_cpu_per_gb": Figure("CPU per GB, switches", "s", 1.0, False),
    "cpu_per_mframe": Figure("CPU per 10^6 frames, machine", "s", 1.0, False),
    "rss": Figure("memory of both switches", "MiB", 1 / 2**20, False),
    "start": Figure("set-up to first ping", "s", 1.0, False),
}


@dataclass(frozen=True, slots=True)
class Measurement:
    """One test of a pair."""

    title: str
    run: Callable[[Peer, Pair], Values]


def tcp(flows: int, seconds: int) -> Measurement:
    """TCP bulk in one direction; of one flow also what a gigabyte costs."""

    def run(peer: Peer, pair: Pair) -> Values:
        before = CpuTime.now(peer.pids())
        moved = iperf.tcp(pair.source, pair.destination, pair.address, seconds=seconds, flows=flows)
        spent = CpuTime.now(peer.pids()) - before
        values = {f"tcp_{flows}": moved.gbit_per_s * 1e9}
        if flows == 1:
            gigabytes = moved.received_bytes / 1e9
            values["cpu_per_gb"] = spent.machine / gigabytes
            values["switch_cpu_per_gb"] = spent.processes / gigabytes
        return values

    return Measurement(f"TCP x{flows}", run)


def tcp_both(seconds: int) -> Measurement:
    """One flow each way at once; the value is the sum."""

    def run(peer: Peer, pair: Pair) -> Values:
        moved = iperf.tcp(pair.source, pair.destination, pair.address, seconds=seconds, both=True)
        return {"tcp_both": moved.gbit_per_s * 1e9}

    return Measurement("TCP both ways", run)


def round_trips(count: int, interval: float) -> Measurement:
    """Ping on an idle path; `interval` in seconds."""

    def run(peer: Peer, pair: Pair) -> Values:
        result = ping(pair.source, pair.address, count=count, interval=interval)
        return {"ping_p50": result.quantile(0.5), "ping_p99": result.quantile(0.99)}

    return Measurement("ping", run)


def round_trips_loaded(seconds: int, interval: float) -> Measurement:
    """Ping while one TCP flow takes what it can get."""

    def run(peer: Peer, pair: Pair) -> Values:
        def load() -> None:
            iperf.tcp(pair.source, pair.destination, pair.address, seconds=seconds)

        bulk = threading.Thread(target=load)
        bulk.start()
        try:
            result = ping(pair.source, pair.address, count=int((seconds - 0.5) / interval), interval=interval)
        finally:
            bulk.join()
        return {"ping_loaded_p50": result.quantile(0.5), "ping_loaded_p99": result.quantile(0.99)}

    return Measurement("ping loaded", run)


def transactions(seconds: float) -> Measurement:
    """One-byte requests and answers over one TCP connection, per second."""
    program = [sys.executable, str(Path(__file__).with_name("transactions.py"))]

    def run(peer: Peer, pair: Pair) -> Values:
        server = pair.destination.popen([*program, "serve"], stdout=subprocess.PIPE)
        try:
            assert server.stdout is not None
            port = server.stdout.readline().decode().strip()
            words = pair.source.run([*program, "ask", pair.address, port, str(seconds)], timeout=seconds + 15)
        finally:
            pair.destination.end(server)
        count, took = words.stdout.split()
        return {"tcp_rr": int(count) / float(took)}

    return Measurement("TCP RR", run)


def udp(size: int, pps: int, seconds: int) -> Measurement:
    """UDP at an offered load; of the highest load of the smallest size also what a million frames cost.

    The generator may itself be too slow for the load that is asked for: "offered" is what it sent.
    """

    def run(peer: Peer, pair: Pair) -> Values:
        name = f"udp_{size}_{pps}"
        before = CpuTime.now(peer.pids())
        got = iperf.udp(pair.source, pair.destination, pair.address, size=size, pps=pps, seconds=seconds)
        spent = CpuTime.now(peer.pids()) - before
        values = {
            f"{name}_offered": got.packets / got.seconds,
            f"{name}_delivered": got.delivered_pps,
            f"{name}_loss": got.lost / max(1, got.packets),
        }
        if (size, pps) == (64, max(UDP_STEPS[64])):
            values["cpu_per_mframe"] = spent.machine / max(1, got.packets - got.lost) * 1e6
        return values

    return Measurement(f"UDP {size} B {pps // 1000}k", run)


def memory() -> Measurement:
    """Resident memory of the processes of both hosts, at this point of the run."""

    def run(peer: Peer, pair: Pair) -> Values:
        return {"rss": float(resident_bytes(peer.pids()))}

    return Measurement("memory", run)


QUICK: tuple[Measurement, ...] = (tcp(1, 2), tcp(8, 2), round_trips(500, 0.002))
FULL: tuple[Measurement, ...] = (
    tcp(1, 3),
    tcp(8, 3),
    tcp_both(3),
    round_trips(1000, 0.002),
    round_trips_loaded(3, 0.005),
    transactions(2),
    *(udp(size, pps, 2) for size, steps in UDP_STEPS.items() for pps in steps),
    memory(),
)
