"""The overlay that `vxswitch lab up` leaves standing and that the demo proves things on.

One store, one switch per host, and in every network one container per host. All networks use the same
subnet, and container i has the same address and the same MAC in each of them: if traffic of one network
ever showed up in another, every figure here would be wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from vxswitch.lab.netns import Namespace, until
from vxswitch.lab.store import StoreServer
from vxswitch.lab.switch import SwitchProcess
from vxswitch.lab.topology import Host, Lab

SUBNET = "10.9.0.0/24"
FIRST_VNI = 100


@dataclass(frozen=True, slots=True)
class Network:
    name: str
    vni: int


@dataclass(frozen=True, slots=True)
class Member:
    """A container attached to one network on one host."""

    network: str
    host: Host
    namespace: Namespace
    ip: str
    mac: str
    mtu: int


class Scenario:
    """Networks over a lab; built step by step so that a caller can show progress."""

    def __init__(self, lab: Lab, networks: tuple[str, ...] = ("red", "blue")) -> None:
        self.lab = lab
        self.networks = tuple(Network(name, FIRST_VNI * (i + 1)) for i, name in enumerate(networks))
        self.switches: dict[str, SwitchProcess] = {}
        self.members: dict[str, Member] = {}
        self._store: StoreServer | None = None

    @property
    def store(self) -> StoreServer:
        if self._store is None:
            self._store = self.lab.redis()
        return self._store

    def start_switches(self) -> None:
        """All nodes at once, then wait for each."""
        named = [word for network in self.networks for word in ("--network", f"{network.name}={network.vni}")]
        for host in self.lab.hosts:
            self.switches[host.label] = host.switch("--store", self.store.url, *named, wait=False)
        for switch in self.switches.values():
            switch.wait_ready()

    def attach_all(self) -> None:
        """Container i of every network on host i."""
        for network in self.networks:
            for host in self.lab.hosts:
                self.attach(network.name, host, host.index)

    def wait_known(self, timeout: float = 10.0) -> None:
        """Until the table of every switch has every container of every network."""
        wanted = {(member.network, member.mac) for member in self.members.values()}

        def known(switch: SwitchProcess) -> bool:
            return wanted <= {(row["network"], row["mac"]) for row in switch.vx("fdb", "--json")}

        for label, switch in self.switches.items():
            until(partial(known, switch), timeout, f"{label} knows every container", interval=0.05)

    def attach(self, network: str, host: Host, number: int) -> Member:
        """Make container `NETWORKnumber` and attach it on `host` with the address and MAC of that number."""
        label = f"{network}{number}"
        namespace = self.lab.container(label)
        ip, mac = f"10.9.0.{number}", f"02:09:00:00:00:{number:02x}"
        port: dict[str, Any] = self.switches[host.label].vx(
            "attach", network, "--netns", namespace.name, "--ip", f"{ip}/24", "--mac", mac, "--json"
        )
        self.members[label] = Member(network, host, namespace, ip, mac, int(port["mtu"]))
        return self.members[label]
