"""iperf3 between two namespaces: TCP bulk and paced UDP, read from its JSON.

One server for one test (`-1`), started and ended here. What counts is what the receiver got: bytes over the
time the test ran. CPU shares are those of the two iperf3 processes only; a benchmark adds the rest itself.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import Any

from vxswitch.lab.netns import Namespace, until
from vxswitch.lab.owner import LabError

PORT = 5201


@dataclass(frozen=True, slots=True)
class Throughput:
    """One test as the receiver saw it. `packets` and `lost` are for UDP, `retransmits` for TCP (else 0)."""

    seconds: float
    received_bytes: int
    retransmits: int = 0
    packets: int = 0
    lost: int = 0
    out_of_order: int = 0

    @property
    def gbit_per_s(self) -> float:
        return self.received_bytes * 8 / self.seconds / 1e9

    @property
    def delivered_pps(self) -> float:
        return (self.packets - self.lost) / self.seconds


def tcp(
    source: Namespace, destination: Namespace, address: str, *, seconds: int = 3, flows: int = 1, both: bool = False
) -> Throughput:
    """TCP bulk from `source` to `address` over `flows` connections; `both` adds the same number backwards."""
    args = ["-P", str(flows), *(["--bidir"] if both else [])]
    end = _test(source, destination, address, seconds, args)["end"]
    ways = ["sum_received", "sum_received_bidir_reverse"] if both else ["sum_received"]
    return Throughput(
        seconds=float(end["sum_received"]["seconds"]),
        received_bytes=sum(int(end[way]["bytes"]) for way in ways),
        retransmits=int(end["sum_sent"].get("retransmits", 0)),
    )


def udp(
    source: Namespace, destination: Namespace, address: str, *, size: int, pps: float, seconds: int = 2
) -> Throughput:
    """UDP datagrams of `size` bytes of payload, `pps` offered per second."""
    args = ["-u", "-l", str(size), "-b", str(int(pps * size * 8))]
    end = _test(source, destination, address, seconds, args)["end"]
    stream = end["streams"][0]["udp"]
    return Throughput(
        seconds=float(end["sum"]["seconds"]),
        received_bytes=(int(end["sum"]["packets"]) - int(end["sum"]["lost_packets"])) * size,
        packets=int(end["sum"]["packets"]),
        lost=int(end["sum"]["lost_packets"]),
        out_of_order=int(stream.get("out_of_order", 0)),
    )


def _test(source: Namespace, destination: Namespace, address: str, seconds: int, args: list[str]) -> dict[str, Any]:
    server = destination.popen(["iperf3", "-s", "-1", "-p", str(PORT)])
    try:
        until(lambda: _listens(destination, server), 5.0, f"iperf3 in {destination.label}")
        argv = ["iperf3", "-J", "-c", address, "-p", str(PORT), "-t", str(seconds), "--connect-timeout", "3000"]
        done = source.run([*argv, *args], check=False, timeout=seconds + 15)
    finally:
        destination.end(server)
    try:
        report: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        raise LabError(f"iperf3 to {address}: {done.stderr.strip() or done.stdout[-300:]}") from None
    if error := report.get("error"):
        raise LabError(f"iperf3 from {source.label} to {address}: {error}")
    return report


def _listens(where: Namespace, server: subprocess.Popen[bytes]) -> bool:
    if server.poll() is not None:
        raise LabError(f"iperf3 in {where.label} ended with {server.returncode}")
    return bool(where.run(["ss", "-Hltn", f"sport = :{PORT}"]).stdout)
