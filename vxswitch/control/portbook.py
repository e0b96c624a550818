"""Which ports this node has, and what others ask about them: by id, by network, by MAC, by address.

A port that is recorded but has no descriptor (its network is pending, or we may not enter its namespace) is "waiting":
nothing forwards for it, its MAC stays claimed, and the same ``attach`` again brings it back. How ports come and go is
the matter of ``ports``, which keeps the book.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from vxswitch.control.doors import DataPlane
from vxswitch.control.networks import Networks
from vxswitch.control.portrecord import PortRecord
from vxswitch.errors import NotFoundError
from vxswitch.fdb import LocalPort
from vxswitch.model import format_mac
from vxswitch.store.base import LocalMac


@dataclass(slots=True, eq=False)
class Entry:
    """A port of this node. ``port`` None: waiting. ``fd`` belongs to the data plane; ``made``: in this start.

    ``told``: the state of its link that events have told last; they begin with "down".
    """

    record: PortRecord
    port: LocalPort | None = None
    fd: int = -1
    offloads: int = 0
    pinned: bool = False
    made: bool = False
    told: str = "down"

    @property
    def host(self) -> bool:
        """The host's own port of its network."""
        return self.record.netns is None


class PortBook:
    """The ports of this node, by id."""

    def __init__(self, networks: Networks, plane: DataPlane) -> None:
        self.entries: dict[str, Entry] = {}
        self._networks = networks
        self._plane = plane

    def given(self, vni: int, mac: bytes) -> LocalPort | None:
        """The live port that this MAC was given to."""
        entry = self.with_mac(vni, mac)
        return entry.port if entry is not None else None

    def single(self, port: LocalPort) -> bool:
        """Only one station may use the port: it is a container's, and other sources are refused there."""
        entry = self.entries.get(port.id)
        network = self._networks.by_name.get(entry.record.network) if entry is not None and not entry.host else None
        return network is not None and network.table is not None and network.table.antispoof != "off"

    def expects(self, vni: int, mac: bytes) -> bool:
        """A port with this MAC is recorded, but waits for its TAP."""
        entry = self.with_mac(vni, mac)
        return entry is not None and entry.port is None

    def expected(self, vni: int) -> Iterator[LocalMac]:
        """The MACs of ports that wait: they stay ours."""
        name = self._networks.name_of(vni)
        for entry in self.entries.values():
            if entry.port is None and entry.record.network == name:
                yield LocalMac(vni, entry.record.mac_bytes, "attach", self.ips(entry.record.id))

    def ips(self, port_id: str) -> tuple[str, ...]:
        """The addresses of a port, without their prefixes."""
        entry = self.entries.get(port_id)
        return tuple(ip.partition("/")[0] for ip in entry.record.ips) if entry is not None else ()

    def ips_with(self, vni: int, mac: bytes) -> tuple[str, ...]:
        """The addresses of the port that has this MAC."""
        entry = self.with_mac(vni, mac)
        return self.ips(entry.record.id) if entry is not None else ()

    def owner_of(self, network: str, ip: str) -> bytes | None:
        """The MAC of the port that has this address in the network."""
        return next((e.record.mac_bytes for e in self.of(network) if ip in self.ips(e.record.id)), None)

    def find(self, network: str, port_id: str) -> LocalPort:
        """The live port of that id; NotFoundError."""
        entry = self.entries.get(port_id)
        if entry is None or entry.port is None or entry.record.network != network:
            raise NotFoundError(f"network {network!r} has no live port {port_id!r}: see `vxswitch ports`")
        return entry.port

    def of(self, network: str) -> list[Entry]:
        """The ports of one network."""
        return [entry for entry in self.entries.values() if entry.record.network == network]

    def with_mac(self, vni: int, mac: bytes) -> Entry | None:
        """The port, waiting or not, that has this MAC."""
        name, text = self._networks.name_of(vni), format_mac(mac)
        return next((e for e in self.entries.values() if e.record.mac == text and e.record.network == name), None)

    def vni_of(self, entry: Entry) -> int | None:
        """The VNI of the port's network, if that is joined and known."""
        network = self._networks.by_name.get(entry.record.network)
        return network.vni if network is not None else None

    def view(self) -> list[dict[str, Any]]:
        """The rows of ``vxswitch ports``."""
        return [self._view(entry) for _, entry in sorted(self.entries.items())]

    def _view(self, entry: Entry) -> dict[str, Any]:
        record, port = entry.record, entry.port
        network = self._networks.by_name.get(record.network)
        conflict = network is not None and network.state == "conflict"
        return {
            "id": record.id,
            "network": record.network,
            "vni": network.vni if network is not None else None,
            "netns": record.netns,
            "ifname": record.ifname,
            "mac": record.mac,
            "ips": list(record.ips),
            "mtu": network.table.mtu if network is not None and network.table is not None else None,
            "state": "waiting" if port is None else "conflict" if conflict else port.state,
            "rx_frames": port.rx_frames if port else 0,
            "rx_bytes": port.rx_bytes if port else 0,
            "tx_frames": port.tx_frames if port else 0,
            "tx_bytes": port.tx_bytes if port else 0,
            "offloads": self._plane.offloads(port) if port else {},
            "drops": port.counts.as_dict() if port else {},
        }
