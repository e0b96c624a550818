"""One fault, from before its beginning to after its end, with what was measured.

The stream runs all the time. The store's own counters (INFO commandstats) say what recovery cost it; attempts to
connect are counted where they arrive, so that those to a dead or black-holed server count, too.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, NamedTuple

from benchmarks.faults.fault import Fault
from benchmarks.faults.world import Network
from vxswitch.lab import Passage, until
from vxswitch.lab.store import PORT

HEALING = 10.0  # seconds
ATTEMPTS = 10.0  # a second and node: five attempts at most, and one that comes through opens two connections
OPERATIONS = 20.0  # a MAC
P99_RATIO = 10.0  # what p99 may rise by: the machine has other work, and reading a table anew is some
P99_NOISE = 0.25  # seconds: below that, p99 says more about the machine than about the switch


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a fault did. Times in seconds; ``before``: the stream in the window just before, for comparison.

    ``noticed``: from the strike until every node showed it; ``healing``: from the end of the fault until every node and
    the store have the same, whole table again.

    ``attempts``: TCP connections asked for, a second and node, from the strike until all was whole; ``operations``:
    what the server executed in that time beyond what it always does, per MAC, commands inside scripts included.
    """

    name: str
    title: str
    shown: str
    before: list[Passage]
    during: list[Passage]
    noticed: float | None
    healing: float
    attempts: float
    operations: float
    blows: int

    @property
    def sent(self) -> int:
        return sum(one.sent for one in self.during)

    @property
    def lost(self) -> int:
        return sum(one.lost for one in self.during)

    @property
    def duplicates(self) -> int:
        return sum(one.duplicates for one in self.during)

    @property
    def p99(self) -> float:
        """Of the worse direction."""
        return max(one.p99 for one in self.during)

    @property
    def p99_before(self) -> float:
        return max(one.p99 for one in self.before)

    @property
    def longest(self) -> float:
        """The longest that any frame was under way."""
        return max(one.longest for one in self.during)

    def complaints(self) -> list[str]:
        """What is not as it must be, in words."""
        limit = max(P99_RATIO * self.p99_before, P99_NOISE)
        judged = (
            (self.lost == 0, f"{self.lost} of {self.sent} frames lost"),
            (self.duplicates == 0, f"{self.duplicates} frames came twice"),
            (self.p99 <= limit, f"p99 {self.p99 * 1e3:.1f} ms, {self.p99_before * 1e3:.1f} ms before"),
            (self.healing <= HEALING, f"whole again after {self.healing:.1f} s"),
            (self.attempts <= ATTEMPTS, f"{self.attempts:.1f} connections a second and node"),
            (self.operations <= OPERATIONS * self.blows, f"{self.operations:.1f} operations for each MAC"),
        )
        return [f"{self.name}: {words}" for good, words in judged if not good]


class Executed(NamedTuple):
    """Commands that a server has executed, and whether it is a primary now."""

    commands: int
    primary: bool


class Counters:
    """Counted at the store's side: connections asked for, as TCP SYN packets, and commands executed.

    ``idle``: commands a second when nothing happens, measured when this is made, which takes a second.
    """

    def __init__(self, world: Network) -> None:
        self._world = world
        self._iptables("-A", "PREROUTING", "!", "-i", "lo", "-p", "tcp", "--dport", str(PORT), "--syn")
        before = self.executed()
        time.sleep(1.0)
        self.idle = since(before, self.executed())

    def asked(self) -> int:
        """Connections asked for so far."""
        listed = self._iptables("-L", "PREROUTING", "-v", "-x", "-n").splitlines()
        return sum(int(line.split()[0]) for line in listed if f"dpt:{PORT}" in line)

    def executed(self) -> dict[str, Executed]:
        """What each run of a server has executed, commands inside scripts included."""
        return {admin.info("server")["run_id"]: _executed(admin) for admin in self._world.admins()}

    def _iptables(self, *words: str) -> str:
        return self._world.lab.net.run(["iptables", "-w", "-t", "mangle", *words]).stdout


def _executed(admin: Any) -> Executed:
    commands = sum(int(one["calls"]) for one in admin.info("commandstats").values())
    return Executed(commands, admin.info("replication")["role"] == "master")


def since(before: dict[str, Executed], now: dict[str, Executed]) -> int:
    """Commands executed meanwhile; a replica carries out what its primary does, which is not counted twice."""
    return sum(
        done.commands - before.get(run, Executed(0, False)).commands for run, done in now.items() if done.primary
    )


def attempt(world: Network, fault: Fault, counters: Counters, *, quiet: float, hold: float) -> Outcome:
    """Strike, wait until every node says so, hold for that many seconds, heal, wait until all is whole again.

    ``quiet``: seconds of undisturbed stream before, to compare with. LabError: something did not happen in time.
    """
    calm = time.time_ns()
    time.sleep(quiet)
    executed = counters.executed()
    struck, asked = time.time_ns(), counters.asked()
    fault.strike(world)
    seen = fault.seen or (lambda _: "up")
    shown = until(lambda: seen(world), fault.within, f"{fault.name}: shown by every node")
    noticed = time.time_ns()
    time.sleep(hold)
    fault.heal(world)
    healed = time.time_ns()
    world.wait_whole()
    whole = time.time_ns()
    made = counters.asked() - asked
    work = since(executed, counters.executed()) - counters.idle * (whole - struck) / 1e9
    before, during = world.meter.windows((calm, struck), (struck, whole))
    return Outcome(
        name=fault.name,
        title=fault.title,
        shown=shown,
        before=before,
        during=during,
        noticed=(noticed - struck) / 1e9 if fault.seen else None,
        healing=(whole - healed) / 1e9,
        attempts=made / len(world.switches) / max(1.0, (whole - struck) / 1e9),
        operations=max(0.0, work) / len(world.macs),
        blows=fault.blows,
    )
