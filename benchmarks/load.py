"""UDP between namespaces at an offered load, to one or to a group: what was sent, what arrived, and in which order.

iperf3 sends one datagram per system call and cannot offer what a kernel data plane moves; `datagrams.py` can.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vxswitch.lab import LabError, Namespace

_PROGRAM = [sys.executable, str(Path(__file__).with_name("datagrams.py"))]
_MARGIN = 20.0  # seconds beyond the test's own that a program may take


@dataclass(frozen=True, slots=True)
class Load:
    """One test. `overflowed`: arrived, but found the receiver's own socket full; counted as lost, too."""

    sent: int
    seconds: float
    received: int
    duplicates: int
    reordered: int
    overflowed: int

    @property
    def offered_pps(self) -> float:
        """Datagrams per second that the sender managed."""
        return self.sent / self.seconds

    @property
    def delivered_pps(self) -> float:
        """Datagrams per second, each counted once, that reached the receiving program."""
        return self.received / self.seconds

    @property
    def lost(self) -> int:
        return self.sent - self.received


def udp(
    source: Namespace,
    destination: Namespace,
    address: str,
    *,
    sizes: tuple[int, ...],
    pps: float,
    seconds: float,
    flows: int = 1,
) -> Load:
    """Datagrams of these payload sizes in bytes (8 to 2048) to `address`, which `destination` has."""
    return multicast(source, [destination], address, sizes=sizes, pps=pps, seconds=seconds, flows=flows, port=0)[0]


def multicast(
    source: Namespace,
    destinations: Sequence[Namespace],
    group: str,
    *,
    sizes: tuple[int, ...],
    pps: float,
    seconds: float,
    flows: int = 1,
    port: int = 7777,
    joined: Callable[[], None] = lambda: None,
) -> list[Load]:
    """The same to a group that all `destinations` join and have a route to; `joined` waits until the network knows."""
    asked = [*_PROGRAM, "receive", group, str(int(pps * seconds)), str(port)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    receivers = [destination.popen(asked, **pipes) for destination in destinations]
    try:
        ports = [_line(receiver).strip() for receiver in receivers]
        joined()
        numbers = (",".join(map(str, sizes)), str(pps), str(seconds), str(flows))
        sent = json.loads(source.run([*_PROGRAM, "send", group, ports[0], *numbers], timeout=seconds + _MARGIN).stdout)
        for receiver in receivers:
            receiver.send_signal(signal.SIGTERM)
        got: list[dict[str, Any]] = [json.loads(_line(receiver)) for receiver in receivers]
    finally:
        for destination, receiver in zip(destinations, receivers, strict=True):
            destination.end(receiver)
    return [Load(**sent, **one) for one in got]


def _line(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    if line := process.stdout.readline():
        return line.decode()
    words = process.communicate()[1].decode(errors="replace")
    raise LabError(f"the receiver of datagrams ended: {words.strip()[-500:]}")
