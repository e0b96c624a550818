"""The floor: a Python program of one read and one sendto per frame, its TAP in the container."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.peers.base import ADDRESSES, VNI, Pair, Peer, adopt, appears


class Naive(Peer):
    name = "naive"
    title = "naive Python"

    def start(self) -> Pair:
        containers = self.containers()
        program = str(Path(__file__).with_name("naive_switch.py"))
        for host, container, address in zip(self.lab.hosts, containers, ADDRESSES, strict=True):
            other = self.lab.hosts[2 - host.index]
            self.processes.append(host.popen([sys.executable, program, "tap0", str(VNI), other.ip4]))
            appears(host, "tap0")
            adopt(host, "tap0", container, address)
        return Pair(containers[0], containers[1])
