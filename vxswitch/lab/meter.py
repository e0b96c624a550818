"""What becomes of a steady stream between two containers, both ways, seen through any window of its time.

Both ends run `pacer.py`. One meter runs for as long as a lab stands; what a fault did is asked afterwards, for the time
from its beginning to its end: `between` waits until everything sent in that window has had its chance to arrive.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Self

from vxswitch.lab.netns import Namespace, clean_environment, until
from vxswitch.lab.pacer import RECORD

INTERVAL = 0.005  # seconds: 200 frames a second each way
PORT = 7000
_STRAGGLERS = 0.15  # seconds that the last frames of a window have to arrive, once later ones have


@dataclass(frozen=True, slots=True)
class Passage:
    """A window of a stream: frames, and one-way times in seconds. ``gap``: the longest time between two arrivals."""

    sent: int
    lost: int
    duplicates: int
    p50: float
    p99: float
    longest: float
    gap: float


class Meter:
    """The stream between ``ends``: (namespace, address) of two containers. A context manager."""

    def __init__(self, *ends: tuple[Namespace, str], interval: float = INTERVAL, port: int = PORT) -> None:
        self._ends = ends
        self._interval = interval
        self._port = port
        self._running: list[tuple[Namespace, subprocess.Popen[bytes]]] = []

    def __enter__(self) -> Self:
        self._directory = tempfile.TemporaryDirectory(prefix="vxswitch-meter-")
        for at, (namespace, address) in enumerate(self._ends):
            words = [address, self._ends[1 - at][1], str(self._port), str(self._interval), str(self._file(at))]
            argv = [sys.executable, str(Path(__file__).with_name("pacer.py")), *words]
            self._running.append((namespace, namespace.popen(argv, env=clean_environment())))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for namespace, process in self._running:
            namespace.end(process)
        self._directory.cleanup()

    def wait_flowing(self, timeout: float = 10.0) -> None:
        """Return when frames arrive both ways; LabError when they do not."""
        self._wait_arrivals(time.time_ns(), timeout)

    def between(self, since: int, end: int, timeout: float = 10.0) -> list[Passage]:
        """What became of the frames sent from ``since`` to ``end`` (``time.time_ns``), one Passage for each way."""
        return self.windows((since, end), timeout=timeout)[0]

    def windows(self, *windows: tuple[int, int], timeout: float = 10.0) -> list[list[Passage]]:
        """The same of several windows."""
        self._wait_arrivals(max(end for _, end in windows), timeout)
        time.sleep(_STRAGGLERS)
        return [[self._passage(at, *window) for at in range(len(self._ends))] for window in windows]

    def _wait_arrivals(self, since: int, timeout: float) -> None:
        """Return when a frame sent after that time has arrived at each end."""

        def later() -> bool:
            return all(any(sent > since for _, sent, at in self._records(end, tail=200) if at) for end in (0, 1))

        until(later, timeout, "frames of the meter at both ends", interval=0.02)

    def _passage(self, at: int, since: int, end: int) -> Passage:
        """From this end to the other one."""
        numbers = {number for number, sent, came in self._records(at) if not came and since <= sent < end}
        here = [one for one in self._records(1 - at) if one[2] and one[0] in numbers]
        times = Counter(number for number, _, _ in here)
        delays = sorted((came - sent) / 1e9 for _, sent, came in here) or [float("nan")]
        arrivals = sorted(came for _, _, came in here)
        return Passage(
            sent=len(numbers),
            lost=len(numbers) - len(times),
            duplicates=len(here) - len(times),
            p50=_quantile(delays, 0.5),
            p99=_quantile(delays, 0.99),
            longest=delays[-1],
            gap=max((b - a for a, b in pairwise(arrivals)), default=0) / 1e9,
        )

    def _records(self, at: int, tail: int | None = None) -> Iterator[tuple[int, int, int]]:
        """What the pacer at this end has noted; ``tail``: only about the last so many."""
        path = self._file(at)
        if not path.exists():
            return
        with path.open("rb") as file:
            size = path.stat().st_size // RECORD.size
            file.seek(max(0, size - tail) * RECORD.size if tail else 0)
            data = file.read()
        yield from RECORD.iter_unpack(data[: len(data) // RECORD.size * RECORD.size])

    def _file(self, at: int) -> Path:
        return Path(self._directory.name) / f"{at}"


def _quantile(ordered: Sequence[float], q: float) -> float:
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]
