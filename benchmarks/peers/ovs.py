"""Open vSwitch with its userspace datapath (datapath_type=netdev, no DPDK) and its own VXLAN.

Everything runs from private directories: nothing of a system-wide Open vSwitch is touched. The container's
`eth0` is a TAP of the overlay bridge. The userspace tunnel finds its next hop by an address on a bridge, so the
underlay interface becomes a port of a second one, and the host's address moves there.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from benchmarks.peers.base import ADDRESSES, BESIDE, VNI, Pair, Peer, adopt, two_pairs
from vxswitch.lab import Host, until
from vxswitch.lab.netns import clean_environment, command

_SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"


class Ovs(Peer):
    name = "ovs"
    title = "OVS userspace"
    tools: ClassVar[dict[str, str]] = {"ovs-vswitchd": "openvswitch-switch", "ovsdb-server": "openvswitch-switch"}

    def start(self) -> Pair:
        first, second = self.containers(), self.containers("d")
        for host in self.lab.hosts:
            self._start_daemons(host)
        for host, one, two in zip(self.lab.hosts, first, second, strict=True):
            other = self.lab.hosts[2 - host.index]
            self._vsctl(host, "add-br br-int -- set bridge br-int datapath_type=netdev")
            self._vsctl(host, "add-br br-phy -- set bridge br-phy datapath_type=netdev -- add-port br-phy eth0")
            host.ip(
                f"address del {host.ip4}/16 dev eth0",
                f"address add {host.ip4}/16 dev br-phy",
                "link set br-phy up",
            )
            tunnel = f"type=vxlan options:key={VNI} options:remote_ip={other.ip4}"
            self._vsctl(host, f"add-port br-int vxlan0 -- set interface vxlan0 {tunnel}")
            for name, container, addresses in (("in-a", one, ADDRESSES), ("in-b", two, BESIDE)):
                self._vsctl(host, f"add-port br-int {name} -- set interface {name} type=internal")
                adopt(host, name, container, addresses[host.index - 1])
        return two_pairs(first, second)

    def _start_daemons(self, host: Host) -> None:
        run = self._directory(host)
        run.mkdir()
        environment = clean_environment(OVS_RUNDIR=str(run), OVS_LOGDIR=str(run), OVS_DBDIR=str(run))
        command(["ovsdb-tool", "create", str(run / "conf.db"), _SCHEMA], env=environment)
        database = ["ovsdb-server", str(run / "conf.db"), f"--remote=punix:{run}/db.sock", "--no-chdir"]
        self.processes.append(host.popen(database, env=environment))
        until((run / "db.sock").exists, 10.0, "ovsdb-server")
        self._vsctl(host, "--no-wait init")
        daemon = host.popen(["ovs-vswitchd", f"unix:{run}/db.sock", "--no-chdir"], env=environment)
        self.processes.append(daemon)

    def _vsctl(self, host: Host, words: str) -> None:
        argv = ["ovs-vsctl", "--timeout=15", f"--db=unix:{self._directory(host)}/db.sock", *words.split()]
        command(argv)

    def _directory(self, host: Host) -> Path:
        return self.lab.directory / f"ovs-{host.label}"
