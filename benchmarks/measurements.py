"""What is measured over a pair, each for a fixed time; the names of the values are those of `figures.FIGURES`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks import load
from benchmarks.cpu import CpuTime, resident_bytes
from benchmarks.figures import UDP_STEPS
from benchmarks.peers import Pair, Peer
from vxswitch.lab import iperf, ping

Values = dict[str, float]


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
    """Ping while one TCP flow takes what it can get: from the port of that flow, and from another if there is one."""

    def run(peer: Peer, pair: Pair) -> Values:
        ways = {"ping_loaded": pair} | ({"ping_beside": pair.beside} if pair.beside else {})
        count = int((seconds - 0.5) / interval)
        with ThreadPoolExecutor() as at_once:
            bulk = at_once.submit(iperf.tcp, pair.source, pair.destination, pair.address, seconds=seconds)
            pings = {
                name: at_once.submit(ping, way.source, way.address, count=count, interval=interval)
                for name, way in ways.items()
            }
        bulk.result()
        return {
            f"{name}_{quantile}": one.result().quantile(q)
            for name, one in pings.items()
            for quantile, q in (("p50", 0.5), ("p99", 0.99))
        }

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


def udp(size: int, pps: int, seconds: float) -> Measurement:
    """UDP at an offered load; of the highest load of the smallest size also order, and what a million frames cost.

    The generator may itself be too slow for the load that is asked for: "offered" is what it sent.
    """

    def run(peer: Peer, pair: Pair) -> Values:
        name = f"udp_{size}_{pps}"
        before = CpuTime.now(peer.pids())
        got = load.udp(pair.source, pair.destination, pair.address, sizes=(size,), pps=pps, seconds=seconds)
        spent = CpuTime.now(peer.pids()) - before
        values = {
            f"{name}_offered": got.offered_pps,
            f"{name}_delivered": got.delivered_pps,
            f"{name}_loss": got.lost / max(1, got.sent),
        }
        if (size, pps) == (64, max(UDP_STEPS[64])):
            millions = max(1, got.received) / 1e6
            values["cpu_per_mframe"] = spent.machine / millions
            values["switch_cpu_per_mframe"] = spent.processes / millions
            values["reordered"] = float(got.reordered)
        return values

    return Measurement(f"UDP {size} B {pps // 1000}k", run)


def memory() -> Measurement:
    """Resident memory of the processes of both hosts, at this point of the run."""

    def run(peer: Peer, pair: Pair) -> Values:
        return {"rss": float(resident_bytes(peer.pids()))}

    return Measurement("memory", run)


QUICK: tuple[Measurement, ...] = (tcp(1, 2), tcp(8, 2), round_trips(500, 0.002), udp(64, max(UDP_STEPS[64]), 1))
FULL: tuple[Measurement, ...] = (
    tcp(1, 3),
    tcp(8, 3),
    tcp_both(3),
    round_trips(1000, 0.002),
    round_trips_loaded(3, 0.005),
    transactions(2),
    *(udp(size, pps, 1.5) for size, steps in UDP_STEPS.items() for pps in steps),
    memory(),
)
