"""CPU time: of the whole machine, and of chosen processes.

Work that the kernel does for a packet (softirq) belongs to no process, and for the kernel's own VXLAN that is
all the work there is. So the figure that compares data planes is that of the whole machine while a test runs,
the traffic generator included and the same for everyone; nothing else may run then. The time of the switch's
own processes stands beside it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

TICK = 1.0 / os.sysconf("SC_CLK_TCK")
_IDLE = (3, 4)  # idle and iowait among the fields of "cpu" in /proc/stat (proc(5)); guest time is in user time
_FIELDS = 8


@dataclass(frozen=True, slots=True)
class CpuTime:
    """Seconds of CPU; subtract two to get what lies between."""

    machine: float
    processes: float

    @classmethod
    def now(cls, pids: Iterable[int]) -> Self:
        fields = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1 : 1 + _FIELDS]]
        busy = sum(value for i, value in enumerate(fields) if i not in _IDLE)
        return cls(busy * TICK, sum(_of(pid) for pid in pids))

    def __sub__(self, before: CpuTime) -> CpuTime:
        return CpuTime(self.machine - before.machine, self.processes - before.processes)


def _of(pid: int) -> float:
    """User and system time of a process, all threads (fields 14 and 15 of /proc/PID/stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK


def resident_bytes(pids: Iterable[int]) -> int:
    """Resident memory of these processes together."""
    page = os.sysconf("SC_PAGE_SIZE")
    return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * page for pid in pids)
