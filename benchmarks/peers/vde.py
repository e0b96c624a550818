"""VDE (vdeplug4) over its vxvde plug, a TAP in the container.

vxvde finds a MAC's owner by multicast and then sends unicast, as flood and learn does. VDE's `vxlan` plug cannot
be measured: version 4.0.1 (Debian 12) gives sendmsg an address length of 0 for a learned MAC, the kernel answers
EDESTADDRREQ, and no unicast frame ever leaves.
"""

from __future__ import annotations

from typing import ClassVar

from benchmarks.peers.base import ADDRESSES, Pair, Peer, adopt, appears

_GROUP = "239.0.0.1"


class Vde(Peer):
    name = "vde"
    title = "VDE vxvde"
    tools: ClassVar[dict[str, str]] = {"vde_plug": "vdeplug"}

    def start(self) -> Pair:
        containers = self.containers()
        for host, container, address in zip(self.lab.hosts, containers, ADDRESSES, strict=True):
            host.ip(f"route add {_GROUP}/32 dev eth0")
            self.processes.append(host.popen(["vde_plug", f"vxvde://{_GROUP}", "tap://tap0"]))
            appears(host, "tap0")
            adopt(host, "tap0", container, address)
        return Pair(containers[0], containers[1])
