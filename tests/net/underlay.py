"""Datagrams from any host of a lab to a switch's VTEP, and what the host's kernel counts."""

from __future__ import annotations

import socket

from tests.net.containers import ask
from tests.net.wire import DEADLINE, made_in
from vxswitch.lab import Host, SwitchProcess, until

FIRST_SOURCE_PORT = 49152  # RFC 7348 section 5
I_FLAG = b"\x08\0\0\0"


def header(vni: int) -> bytes:
    """The VXLAN header of RFC 7348 section 5."""
    return I_FLAG + vni.to_bytes(3) + b"\0"


def shooter(host: Host, switch: SwitchProcess) -> socket.socket:
    """A UDP socket of ``host`` (IPv4), connected to the first VTEP of ``switch``."""
    address, _, port = switch.ready["vtep"].partition(",")[0].partition(":")
    sock = made_in(host, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    sock.bind((host.ip4, 0))
    sock.connect((address, int(port)))
    return sock


def source_ports(host: Host) -> list[int]:
    """The UDP ports from 49152 on that are bound in a host that runs nothing but a switch."""
    lines = host.run(["ss", "-Huan"]).stdout.splitlines()
    ports = {int(line.split()[3].rpartition(":")[2]) for line in lines}
    return sorted(port for port in ports if port >= FIRST_SOURCE_PORT)


def icmp_unreachables(host: Host) -> int:
    """ICMP destination-unreachable messages that a host has received (RFC 1213, /proc/net/snmp)."""
    text = host.run(["cat", "/proc/net/snmp"]).stdout
    names, values = (line.split()[1:] for line in text.splitlines() if line.startswith("Icmp:"))
    return int(dict(zip(names, values, strict=True))["InDestUnreachs"])


def grown(switch: SwitchProcess, before: dict[str, int]) -> dict[str, int]:
    """The drops since ``before`` that are not zero."""
    return {name: n - before[name] for name, n in ask(switch, "drops").items() if n != before[name]}


def strays_are_counted(host: Host, sender: Host, switch: SwitchProcess) -> None:
    """A datagram to each source port of ``switch`` on ``host``: each is counted, so those sockets are still read."""
    ports, before = source_ports(host), ask(switch, "drops")
    assert len(ports) == 64
    with shooter(sender, switch) as sock:
        for port in ports:
            sock.sendto(b"hello", (host.ip4, port))
        until(lambda: grown(switch, before) == {"stray_datagram": len(ports)}, DEADLINE, "each stray to be counted")
