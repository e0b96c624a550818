"""Kernel VXLAN as Docker's overlay sets it up: container - veth - bridge - vxlan device."""

from __future__ import annotations

from benchmarks.peers.base import ADDRESSES, OVERLAY_MTU, VNI, Pair, Peer, adopt


class Kernel(Peer):
    name = "kernel"
    title = "kernel VXLAN"

    def start(self) -> Pair:
        containers = self.containers()
        for host, container, address in zip(self.lab.hosts, containers, ADDRESSES, strict=True):
            other = self.lab.hosts[2 - host.index]
            host.ip(
                f"link add vxlan0 type vxlan id {VNI} local {host.ip4} remote {other.ip4} dstport 4789",
                "link add br0 type bridge",
                "link add inside type veth peer name outside",
                "link set outside master br0",
                "link set vxlan0 master br0",
                *(f"link set {device} mtu {OVERLAY_MTU} up" for device in ("vxlan0", "outside", "br0")),
            )
            adopt(host, "inside", container, address)
        return Pair(containers[0], containers[1])
