"""TCP between two namespaces: a transfer compared by its SHA-256, and a listener that says who it is.

Both ends run `endpoint.py` as a program where the traffic is; times are the receiver's, from the first to the
last byte.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vxswitch.lab.netns import Namespace, clean_environment
from vxswitch.lab.owner import LabError


@dataclass(frozen=True, slots=True)
class Transfer:
    """One TCP transfer; `seconds` from the receiver's first to its last byte."""

    size: int
    seconds: float
    sent_sha256: str
    received_sha256: str

    @property
    def intact(self) -> bool:
        return self.sent_sha256 == self.received_sha256

    @property
    def gbit_per_s(self) -> float:
        return self.size * 8 / max(self.seconds, 1e-9) / 1e9


def tcp_transfer(source: Namespace, destination: Namespace, address: str, size: int, timeout: float = 60.0) -> Transfer:
    """Send `size` random bytes from `source` to `address`, where `destination` listens."""
    with _endpoint(destination, ["receive", _family(address)]) as receiver:
        port = _line(receiver, 10.0)
        sent = json.loads(source.run(_argv(["send", address, port, str(size)]), timeout=timeout).stdout)
        got = json.loads(_line(receiver, timeout))
    return Transfer(got["size"], got["seconds"], sent["sha256"], got["sha256"])


@contextmanager
def saying(destination: Namespace, text: str, family: str = "4") -> Iterator[str]:
    """While the block runs, whoever connects to the port that this yields hears `text`."""
    with _endpoint(destination, ["say", family, text]) as process:
        yield _line(process, 10.0)


def hear(source: Namespace, address: str, port: str, timeout: float = 10.0) -> str:
    """Connect to a listener made by `saying` and return what it says."""
    return source.run(_argv(["hear", address, port]), timeout=timeout).stdout.strip()


def _family(address: str) -> str:
    return "6" if ":" in address else "4"


@contextmanager
def _endpoint(where: Namespace, args: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    process = where.popen(_argv(args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_environment())
    try:
        yield process
    finally:
        where.end(process)


def _argv(args: Sequence[str]) -> list[str]:
    return [sys.executable, str(Path(__file__).with_name("endpoint.py")), *args]


def _line(process: subprocess.Popen[bytes], timeout: float) -> str:
    """The next line a process prints; LabError with its words on stderr when it ends or is late."""
    assert process.stdout is not None
    if select.select([process.stdout], [], [], timeout)[0] and (line := process.stdout.readline()):
        return line.decode().strip()
    process.kill()
    words = process.communicate()[1].decode(errors="replace")
    raise LabError(f"{process.args!r}: no answer within {timeout:g} s: {words.strip()}")
