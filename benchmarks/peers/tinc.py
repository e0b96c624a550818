"""tinc 1.0 in switch mode, without cipher, digest and compression: the nearest to a plain L2 tunnel it has.

Its TAP lives in the container, as vxswitch's does. Path MTU discovery is off so that every packet goes by UDP
from the start (with it on, large packets go over TCP until the path has been probed).
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from benchmarks.peers.base import ADDRESSES, Pair, Peer, adopt, appears
from vxswitch.lab import Host

_SETTINGS = "Cipher = none\nDigest = none\nCompression = 0\nPMTUDiscovery = no\n"


class Tinc(Peer):
    name = "tinc"
    title = "tinc"
    tools: ClassVar[dict[str, str]] = {"tincd": "tinc"}

    def start(self) -> Pair:
        containers = self.containers()
        directories = [self._configure(host) for host in self.lab.hosts]
        for directory in directories:
            for host, other in zip(self.lab.hosts, directories, strict=True):
                public = (other / "hosts" / host.label).read_text()
                (directory / "hosts" / host.label).write_text(public)
        for host, directory in zip(self.lab.hosts, directories, strict=True):
            argv = ["tincd", "-c", str(directory), "-D", f"--pidfile={directory}/pid"]
            self.processes.append(host.popen(argv))
        for host, container, address in zip(self.lab.hosts, containers, ADDRESSES, strict=True):
            appears(host, "tinc0")
            adopt(host, "tinc0", container, address)
        return Pair(containers[0], containers[1])

    def _configure(self, host: Host) -> Path:
        """A configuration directory with a new key pair."""
        directory = self.lab.directory / f"tinc-{host.label}"
        (directory / "hosts").mkdir(parents=True)
        other = self.lab.hosts[2 - host.index]
        (directory / "tinc.conf").write_text(
            f"Name = {host.label}\nMode = switch\nDeviceType = tap\nInterface = tinc0\nConnectTo = {other.label}\n"
        )
        (directory / "hosts" / host.label).write_text(f"Address = {host.ip4}\n{_SETTINGS}")
        host.run(["tincd", "-c", str(directory), "-K", "2048"], timeout=60)
        return directory
