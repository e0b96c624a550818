"""vxswitch itself, used like anybody would: two nodes, static peers, two containers attached on each.

Its variants change one setting each, so that a table shows what that setting is worth.
"""

from __future__ import annotations

import contextlib
import platform
from pathlib import Path
from typing import ClassVar

from benchmarks.peers.base import ADDRESSES, BESIDE, VNI, Pair, Peer, two_pairs


class Vxswitch(Peer):
    name = "vxswitch"
    title = "vxswitch"
    options: ClassVar[tuple[str, ...]] = ()
    """Further words for `vxswitch run`."""

    def start(self) -> Pair:
        first, second = self.containers(), self.containers("d")
        self.switches = []
        for host in self.lab.hosts:
            other = self.lab.hosts[2 - host.index]
            named = ["--network", f"bench={VNI}", "--store", "static:", "--peer", other.ip4]
            self.switches.append(host.switch(*named, *self.options, wait=False))
        for switch in self.switches:
            switch.wait_ready()
        for containers, addresses in ((first, ADDRESSES), (second, BESIDE)):
            for switch, container, address in zip(self.switches, containers, addresses, strict=True):
                switch.vx("attach", "bench", "--netns", container.name, "--ip", f"{address}/24")
        return two_pairs(first, second)

    def pids(self) -> list[int]:
        """The switches and their workers."""
        return [pid for switch in self.switches for pid in (switch.pid, *_children(switch.pid))]


class KernelCut(Vxswitch):
    name = "kernel-cut"
    title = "vxswitch, kernel cuts"
    options = ("--set", "underlay.kernel_cut=on")

    @classmethod
    def missing(cls) -> str | None:
        """TAPs have UDP tunnel offload from Linux 6.17 on."""
        version = tuple(int(number) for number in platform.release().split(".")[:2])
        return None if version >= (6, 17) else f"needs linux 6.17, this is {platform.release()}"


class BusyPoll(Vxswitch):
    name = "busy-poll"
    title = "vxswitch, busy poll 50 us"
    options = ("--set", "underlay.busy_poll=50")


class Workers(Vxswitch):
    name = "workers-2"
    title = "vxswitch, 2 workers"
    options = ("--set", "node.workers=2")


def _children(pid: int) -> list[int]:
    """Processes that a process has started and that still run (field 4 of /proc/PID/stat, proc_pid_stat(5))."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            if int(stat.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(stat.parent.name))
    return found
