"""A host whose VTEP is Open vSwitch's userspace datapath: daemons of its own in directories of its own.

    container eth0 -- c0 -- br-int (netdev) -- vxlan port
                                                  | routed by OVS itself to
    underlay  eth0 ------- br-phy (netdev), which carries the host's underlay address

The datapath reads packets from veths with packet sockets and does not finish partial checksums: both the container's
and the underlay's veths must hand over whole ones.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from vxswitch.lab import Host, Lab, Namespace, command, until

_SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
_START = 15.0  # seconds


@dataclass(frozen=True, slots=True)
class OvsPeer:
    """The container behind an Open vSwitch VTEP."""

    namespace: Namespace
    host: Host
    ip: str
    ip6: str
    directory: Path

    def appctl(self, *args: str) -> str:
        """Ask the running ovs-vswitchd."""
        (pidfile,) = self.directory.glob("ovs-vswitchd.pid")
        target = self.directory / f"ovs-vswitchd.{pidfile.read_text().strip()}.ctl"
        return command(["ovs-appctl", "-t", str(target), *args]).stdout


def ovs_peer(lab: Lab, host: Host, remote: str, *, vni: int, mtu: int, label: str = "ovs") -> OvsPeer:
    """A container 10.9.0.2, fd09::2 behind an Open vSwitch VTEP of ``host`` towards VTEP ``remote``."""
    container = lab.container(label)
    peer = OvsPeer(container, host, "10.9.0.2", "fd09::2", lab.directory / label)
    peer.directory.mkdir()
    _start_daemons(host, peer.directory)
    host.ip(f"link add c0 mtu {mtu} up type veth peer name eth0 mtu {mtu} netns {container.name}")
    container.ip("link set eth0 up", f"address add {peer.ip}/24 dev eth0", f"address add {peer.ip6}/64 dev eth0 nodad")
    container.run(["ethtool", "-K", "eth0", "tx", "off"])
    _configure(host, peer.directory, remote, vni)
    until(
        lambda: f"dev br-phy SRC {host.ip4} local" in peer.appctl("ovs/route/show"),
        _START,
        "Open vSwitch to learn its underlay address",
    )
    return peer


def _start_daemons(host: Host, directory: Path) -> None:
    database, sock = directory / "conf.db", directory / "db.sock"
    command(["ovsdb-tool", "create", str(database), _SCHEMA])
    env_free = ["--log-file=" + str(directory / "ovs.log"), "-vconsole:off"]
    host.popen(
        [
            "ovsdb-server",
            str(database),
            f"--remote=punix:{sock}",
            f"--pidfile={directory}/ovsdb-server.pid",
            f"--unixctl={directory}/ovsdb-server.ctl",
            *env_free,
        ]
    )
    until(sock.exists, _START, "ovsdb-server")
    _vsctl(directory, "--no-wait", "init")
    env = {"OVS_RUNDIR": str(directory), "OVS_LOGDIR": str(directory), "OVS_DBDIR": str(directory)}
    argv = ["env", *(f"{key}={value}" for key, value in env.items()), "ovs-vswitchd", f"unix:{sock}"]
    host.popen([*argv, f"--pidfile={directory}/ovs-vswitchd.pid", *env_free])


def _configure(host: Host, directory: Path, remote: str, vni: int) -> None:
    """br-phy takes over eth0's address and MAC; br-int joins the container and the tunnel."""
    mac = json.loads(host.run(["ip", "-j", "link", "show", "eth0"]).stdout)[0]["address"]
    netdev = "datapath_type=netdev"
    _vsctl(
        directory,
        *("add-br", "br-phy", "--", "set", "bridge", "br-phy", netdev, f"other_config:hwaddr={mac}"),
        *("--", "add-port", "br-phy", "eth0"),
        *("--", "add-br", "br-int", "--", "set", "bridge", "br-int", netdev, "--", "add-port", "br-int", "c0"),
        *("--", "add-port", "br-int", "vx0", "--", "set", "interface", "vx0", "type=vxlan"),
        *(f"options:remote_ip={remote}", f"options:local_ip={host.ip4}", f"options:key={vni}"),
    )
    host.ip("address flush dev eth0", f"address add {host.ip4}/16 dev br-phy", "link set br-phy up")


def _vsctl(directory: Path, *args: str) -> None:
    command(["ovs-vsctl", f"--db=unix:{directory}/db.sock", "--timeout=15", *args])
