"""Kernel VXLAN as Docker's overlay sets it up: container - veth - bridge - vxlan device."""

from __future__ import annotations

from benchmarks.peers.base import ADDRESSES, BESIDE, OVERLAY_MTU, VNI, Pair, Peer, adopt, two_pairs
from vxswitch.lab import Host, Namespace


class Kernel(Peer):
    name = "kernel"
    title = "kernel VXLAN"

    def start(self) -> Pair:
        for host in self.lab.hosts:
            other = self.lab.hosts[2 - host.index]
            host.ip(
                f"link add vxlan0 type vxlan id {VNI} local {host.ip4} remote {other.ip4} dstport 4789",
                "link add br0 type bridge",
                "link set vxlan0 master br0",
                *(f"link set {device} mtu {OVERLAY_MTU} up" for device in ("vxlan0", "br0")),
            )
        first, second = self.containers(), self.containers("d")
        for host, one, two in zip(self.lab.hosts, first, second, strict=True):
            self._plug(host, "a", one, ADDRESSES[host.index - 1])
            self._plug(host, "b", two, BESIDE[host.index - 1])
        return two_pairs(first, second)

    def _plug(self, host: Host, letter: str, container: Namespace, address: str) -> None:
        """A veth from the bridge into the container."""
        host.ip(
            f"link add in-{letter} type veth peer name out-{letter}",
            f"link set out-{letter} mtu {OVERLAY_MTU} master br0 up",
        )
        adopt(host, f"in-{letter}", container, address)
