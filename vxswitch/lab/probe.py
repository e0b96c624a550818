"""Ping with a verdict, once or in the background while something else happens.

`ping` runs in the namespace of the source; only its output comes back. Times are those that it takes itself:
round trips, and with `-D` the wall clock at each reply, so no polling of ours blurs a gap or a recovery.
"""

from __future__ import annotations

import math
import os
import re
import signal
import subprocess
import tempfile
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from vxswitch.lab.netns import Namespace, until
from vxswitch.lab.owner import LabError

_REPLY = re.compile(
    r"^\[(?P<at>\d+\.\d+)\] .*icmp_seq=(?P<seq>\d+) .*ttl=\d+(?: time=(?P<ms>[\d.]+) ms)?(?P<dup> \(DUP!\))?", re.M
)
_UNDER_WAY = 0.2  # seconds before the end in which a probe may have been sent and not answered yet
_SUMMARY = re.compile(r"(\d+) packets transmitted, (\d+) received")


@dataclass(frozen=True, slots=True)
class PingResult:
    """What came back: times in seconds; the tuples have one value per reply, in order of arrival.

    `rtts` are nan where the probe has no room for a time: payloads under 16 bytes.
    """

    sent: int
    received: int
    duplicates: int
    sequence: tuple[int, ...]
    at: tuple[float, ...]
    rtts: tuple[float, ...]

    @property
    def lost(self) -> int:
        return self.sent - self.received

    def quantile(self, q: float) -> float:
        """The q-quantile (0..1) of the round-trip times in seconds; LabError when nothing came back."""
        if not self.rtts:
            raise LabError(f"no reply to {self.sent} pings")
        ordered = sorted(self.rtts)
        return ordered[min(len(ordered) - 1, int(q * len(ordered)))]

    def longest_gap(self) -> float:
        """The longest time in seconds between two replies."""
        return max((b - a for a, b in zip(self.at, self.at[1:], strict=False)), default=0.0)


def ping(
    source: Namespace,
    address: str,
    *,
    count: int = 3,
    interval: float = 0.01,
    size: int = 56,
    df: bool = False,
    wait: float = 1.0,
) -> PingResult:
    """Ping `address` with `size` bytes of ICMP payload; `df` forbids fragmentation.

    `interval` between probes and `wait` for the last reply are in seconds.

    Once it has had a reply, ping waits for the last one two round trips only, whatever `-W` says (iputils,
    schedule_exit): on a busy machine a late reply would be a lost one. Given a deadline it goes on sending until
    `count` replies are there; what it sent beyond `count` is left out here.
    """
    argv = ["ping", "-n", "-D", "-c", str(count), "-i", f"{interval:g}", "-s", str(size)]
    argv += ["-W", f"{wait:g}"] if count == 1 else ["-w", str(math.ceil(count * interval + wait))]
    argv += ["-M", "do"] if df else []
    timeout = count * (interval + wait) + 5.0
    done = source.run([*argv, address], check=False, timeout=timeout)
    if not _SUMMARY.search(done.stdout):
        raise LabError(f"ping {address} from {source.label}: {done.stderr.strip() or done.stdout.strip()}")
    return _first(count, parse_ping(done.stdout))


def _first(count: int, result: PingResult) -> PingResult:
    """What became of the first `count` probes."""
    kept = [i for i, sequence in enumerate(result.sequence) if sequence <= count]
    return replace(
        result,
        sent=min(result.sent, count),
        received=len(kept),
        sequence=tuple(result.sequence[i] for i in kept),
        at=tuple(result.at[i] for i in kept),
        rtts=tuple(result.rtts[i] for i in kept),
    )


def parse_ping(output: str) -> PingResult:
    """Read the output of iputils `ping -D`."""
    summary = _SUMMARY.search(output)
    if summary is None:
        raise LabError(f"ping printed no summary: {output[-500:]!r}")
    replies = list(_REPLY.finditer(output))
    first = [reply for reply in replies if not reply["dup"]]
    return PingResult(
        sent=int(summary[1]),
        received=int(summary[2]),
        duplicates=len(replies) - len(first),
        sequence=tuple(int(reply["seq"]) for reply in first),
        at=tuple(float(reply["at"]) for reply in first),
        rtts=tuple(float(reply["ms"] or "nan") / 1e3 for reply in first),
    )


class LossMeter:
    """Pings in the background while something else happens; `stop` tells what was lost.

    Use as a context manager; `result` is there after the block. The replies go to a file, not to a pipe: however
    long nobody looks, ping never has to wait.
    """

    def __init__(self, source: Namespace, address: str, interval: float = 0.02) -> None:
        self.source = source
        self.address = address
        self.interval = interval
        self._process: subprocess.Popen[bytes] | None = None
        self._result: PingResult | None = None

    @property
    def result(self) -> PingResult:
        if self._result is None:
            raise LabError("the loss meter has not been stopped")
        return self._result

    def __enter__(self) -> Self:
        argv = ["ping", "-n", "-D", "-W", "1", "-i", f"{self.interval:g}", self.address]
        self._output = tempfile.TemporaryFile()
        self._process = self.source.popen(argv, stdout=self._output, stderr=self._output)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.stop()
        finally:
            if self._process is not None:
                self.source.end(self._process)
            self._output.close()

    def first_reply(self, timeout: float) -> float:
        """Wall-clock time of the first reply; waits for it at most `timeout` seconds."""
        return self._reply(0, timeout)

    def next_reply(self, timeout: float) -> float:
        """Wall-clock time of the first reply that comes after this call."""
        return self._reply(len(_REPLY.findall(self._text())), timeout)

    def _reply(self, number: int, timeout: float) -> float:
        def replies() -> list[tuple[str, ...]]:
            return _REPLY.findall(self._text())[number:]

        return float(until(replies, timeout, f"reply from {self.address} to {self.source.label}")[0][0])

    def _text(self) -> str:
        size = os.fstat(self._output.fileno()).st_size
        return os.pread(self._output.fileno(), size, 0).decode(errors="replace")

    def stop(self) -> PingResult:
        """SIGINT, as Ctrl-C: ping prints its summary. The last probes, if still on their way, are not counted."""
        if self._process is None:
            raise LabError("the loss meter is not running")
        process, self._process = self._process, None
        process.send_signal(signal.SIGINT)
        try:
            process.wait(5.0)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self.source.end(process)
        output = self._text()
        if not _SUMMARY.search(output):
            raise LabError(f"ping {self.address} from {self.source.label}: {output[-500:]}")
        result = parse_ping(output)
        tail = result.sent - result.sequence[-1] if result.sequence else 0
        if tail * self.interval <= _UNDER_WAY:
            result = replace(result, sent=result.sent - tail)
        self._result = result
        return result
