"""vxswitch itself, used like anybody would: two nodes, static peers, a container attached on each."""

from __future__ import annotations

from benchmarks.peers.base import ADDRESSES, VNI, Pair, Peer


class Vxswitch(Peer):
    name = "vxswitch"
    title = "vxswitch"

    def start(self) -> Pair:
        containers = self.containers()
        self.switches = []
        for host in self.lab.hosts:
            other = self.lab.hosts[2 - host.index]
            named = ["--network", f"bench={VNI}", "--store", "static:", "--peer", other.ip4]
            self.switches.append(host.switch(*named, *self.options()))
        for switch, container, address in zip(self.switches, containers, ADDRESSES, strict=True):
            switch.vx("attach", "bench", "--netns", container.name, "--ip", f"{address}/24")
        return Pair(containers[0], containers[1])

    def options(self) -> list[str]:
        """Further words for `vxswitch run`."""
        return []

    def pids(self) -> list[int]:
        return [switch.pid for switch in self.switches]
