"""What the harness asks of every data plane that it measures.

A peer gets a lab of its own: two hosts on one veth. It joins two namespaces over that underlay and says
between which of them to send. Its processes are those whose CPU time and memory count as "the switch".
Whatever it starts inside the lab's namespaces ends with the lab; `stop` is for what lies outside.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from vxswitch.lab import Lab, Namespace, ping, until
from vxswitch.lab.netns import clean_environment

VNI = 42
OVERLAY_MTU = 1450  # an underlay of 1500 less 50: outer IPv4 20, UDP 8, VXLAN 8, inner Ethernet 14
ADDRESSES = ("10.9.0.1", "10.9.0.2")
BESIDE = ("10.9.0.3", "10.9.0.4")


@dataclass(frozen=True, slots=True)
class Pair:
    """Traffic goes from `source` to `address`, which `destination` has.

    `beside`: two more containers, each on another port of the same data planes, where these have ports at all.
    """

    source: Namespace
    destination: Namespace
    address: str = ADDRESSES[1]
    beside: Pair | None = None


def two_pairs(first: Sequence[Namespace], second: Sequence[Namespace]) -> Pair:
    """The pair of the first containers, the second ones beside it."""
    return Pair(first[0], first[1], beside=Pair(second[0], second[1], BESIDE[1]))


class Peer:
    """One data plane; a subclass says how to set it up between two hosts."""

    name: ClassVar[str]
    title: ClassVar[str]
    tools: ClassVar[dict[str, str]] = {}
    """Commands it needs and the Debian packages that have them."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.processes: list[subprocess.Popen[bytes]] = []

    @classmethod
    def missing(cls) -> str | None:
        """Why it cannot be measured on this machine, or None."""
        path = clean_environment()["PATH"]
        absent = [
            f"{tool} (Debian: {package})" for tool, package in cls.tools.items() if not shutil.which(tool, path=path)
        ]
        return f"not installed: {', '.join(absent)}" if absent else None

    def start(self) -> Pair:
        """Set it up; the pair must be able to talk at the latest when `wait` returns."""
        raise NotImplementedError

    def stop(self) -> None:
        """Remove what ending the lab does not remove."""

    def pids(self) -> list[int]:
        """Processes of the data plane (none for the kernel's own)."""
        return [process.pid for process in self.processes]

    def wait(self, pair: Pair) -> None:
        """Until a ping comes back."""
        until(lambda: ping(pair.source, pair.address, count=1).received, 30.0, f"first ping over {self.name}")

    def containers(self, letter: str = "c") -> list[Namespace]:
        """Two empty namespaces, one for each host."""
        return [self.lab.container(f"{letter}{host.index}") for host in self.lab.hosts]


def appears(namespace: Namespace, device: str) -> None:
    """Wait until a program has made its device."""
    until(lambda: device in namespace.run(["ip", "-br", "link"]).stdout.split(), 10.0, f"{device} in {namespace.label}")


def adopt(namespace: Namespace, device: str, container: Namespace, address: str, mtu: int = OVERLAY_MTU) -> None:
    """Move `device` into `container` as eth0, give it the address and bring it up."""
    namespace.ip(f"link set {device} netns {container.name} name eth0")
    container.ip(f"link set eth0 mtu {mtu} up", f"address add {address}/24 dev eth0")
