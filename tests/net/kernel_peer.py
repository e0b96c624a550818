"""A host whose VTEP is the kernel's own: a vxlan device and a container's veth in one bridge, as Docker builds it."""

from __future__ import annotations

from dataclasses import dataclass

from vxswitch.lab import Host, Lab, Namespace

CONTAINER_MAC = "02:09:00:00:00:02"


@dataclass(frozen=True, slots=True)
class KernelPeer:
    """The container behind a kernel VTEP. ``mac``, ``ip``, ``ip6``: its interface's."""

    namespace: Namespace
    host: Host
    ip: str
    ip6: str
    mac: str


def kernel_peer(
    lab: Lab,
    host: Host,
    remote: str,
    *,
    vni: int,
    mtu: int,
    label: str = "kernel",
    number: int = 2,
    port: int = 4789,
    remote_port: int | None = None,
    options: str = "",
) -> KernelPeer:
    """A container ``10.9.0.NUMBER``, ``fd09::NUMBER`` behind a vxlan device of ``host`` towards VTEP ``remote``.

    The device receives on UDP ``port`` and sends to ``remote_port`` (default: the same; another one needs
    ``nolearning``, as the kernel learns VTEPs with its own port); ``options`` are added to its `ip link` line.
    ``mtu``: the inner one.
    """
    container = lab.container(label)
    ip, ip6, mac = f"10.9.0.{number}", f"fd09::{number}", f"02:09:00:00:00:{number:02x}"
    local = host.ip6 if ":" in remote else host.ip4
    host.ip(
        f"link add vx0 mtu {mtu} type vxlan id {vni} local {local} dstport {port} {options}",
        f"link add c0 mtu {mtu} type veth peer name eth0 mtu {mtu} address {mac} netns {container.name}",
        "link add br0 type bridge mcast_snooping 0 forward_delay 0",
        "link set vx0 master br0 up",
        "link set c0 master br0 up",
        "link set br0 up",
    )
    netfilter = [f"net.bridge.bridge-nf-call-{table}=0" for table in ("iptables", "ip6tables")]
    host.run(["sysctl", "-eqw", *netfilter])  # it would drop frames whose IP headers are odd
    flood_to = ["bridge", "fdb", "append", "00:00:00:00:00:00", "dev", "vx0", "dst", remote]
    host.run([*flood_to, "port", str(remote_port or port)])
    container.ip("link set eth0 up", f"address add {ip}/24 dev eth0", f"address add {ip6}/64 dev eth0 nodad")
    return KernelPeer(container, host, ip, ip6, mac)


def finish_checksums(host: Host) -> None:
    """What leaves the host over its veth has whole checksums and the MTU's size, as on a wire."""
    host.run(["ethtool", "-K", "eth0", "tx", "off"])
