"""UDP between two namespaces at an offered load: what was sent, what arrived, and in which order.

iperf3 sends one datagram per system call and cannot offer what a kernel data plane moves; `datagrams.py` can.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
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
    receiver = destination.popen(
        [*_PROGRAM, "receive", address, str(int(pps * seconds))], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        port = _line(receiver).strip()
        numbers = (",".join(map(str, sizes)), str(pps), str(seconds), str(flows))
        sent = json.loads(source.run([*_PROGRAM, "send", address, port, *numbers], timeout=seconds + _MARGIN).stdout)
        receiver.send_signal(signal.SIGTERM)
        got: dict[str, Any] = json.loads(_line(receiver))
    finally:
        destination.end(receiver)
    return Load(**sent, **got)


def _line(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    if line := process.stdout.readline():
        return line.decode()
    words = process.communicate()[1].decode(errors="replace")
    raise LabError(f"the receiver of datagrams ended: {words.strip()[-500:]}")
