"""wireguard-go: an encrypted layer 3 tunnel in userspace, with its own segmentation offloads where it has them.

Traffic goes from host to host, without any container: it spares wireguard-go the hop that a bridge or a route
would cost, so the comparison is in its favour. It cannot switch frames; it is here as what good userspace
tunnels reach when they encrypt.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import ClassVar

from benchmarks.peers.base import ADDRESSES, Pair, Peer
from vxswitch.lab import Host, command, until

_PORT = 51820
_MTU = 1440  # 1500 less 60: IPv4 20, UDP 8, WireGuard header 16 and tag 16


class Wireguard(Peer):
    name = "wireguard-go"
    title = "wireguard-go"
    tools: ClassVar[dict[str, str]] = {"wireguard-go": "wireguard-go", "wg": "wireguard-tools"}

    def start(self) -> Pair:
        keys = [command(["wg", "genkey"]).stdout.strip() for _ in self.lab.hosts]
        publics = [command(["wg", "pubkey"], input=key).stdout.strip() for key in keys]
        for host, address in zip(self.lab.hosts, ADDRESSES, strict=True):
            device = self._device(host)
            self.processes.append(host.popen(["wireguard-go", "-f", device]))
            until(_control_socket(device).exists, 10.0, device)
            other = self.lab.hosts[2 - host.index]
            secret = self.lab.directory / f"wg-{host.label}"
            secret.touch(0o600)
            secret.write_text(keys[host.index - 1])
            host.run(["wg", "set", device, "listen-port", str(_PORT), "private-key", str(secret)])
            peer = ["peer", publics[other.index - 1], "endpoint", f"{other.ip4}:{_PORT}", "allowed-ips", "10.9.0.0/24"]
            host.run(["wg", "set", device, *peer])
            host.ip(f"link set {device} mtu {_MTU} up", f"address add {address}/24 dev {device}")
        return Pair(self.lab.hosts[0], self.lab.hosts[1])

    def stop(self) -> None:
        """Its control sockets lie in a directory of the whole machine."""
        for host in self.lab.hosts:
            with contextlib.suppress(FileNotFoundError):
                _control_socket(self._device(host)).unlink()

    def _device(self, host: Host) -> str:
        return f"w{host.index}{self.lab.id[-10:]}"


def _control_socket(device: str) -> Path:
    return Path("/var/run/wireguard") / f"{device}.sock"
