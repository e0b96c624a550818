"""Who has the UDP port that we could not bind: a kernel tunnel, or which process.

A kernel vxlan device opens an ordinary wildcard socket when it is set up; /proc/net/udp lists it, but no process has
it, so the devices are asked first. Every lookup is best effort, made once, after bind() has failed.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import struct
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from vxswitch.attach import netlink
from vxswitch.errors import ConflictError, UsageError, VxswitchError
from vxswitch.model import VXLAN_PORT, Vtep

LINUX_VXLAN_PORT = 8472  # drivers/net/vxlan: vxlan_port, older than the IANA number

_IFF_UP = 0x1  # linux/if.h

_IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def bind_error(vtep: Vtep, error: OSError) -> VxswitchError:
    """The line for a VTEP's socket that could not be bound: why, who is in the way, and what to do."""
    what = f"cannot bind UDP {vtep}"
    match error.errno:
        case errno.EADDRINUSE:
            other = LINUX_VXLAN_PORT if vtep.port != LINUX_VXLAN_PORT else VXLAN_PORT
            holder = udp_holder(vtep.address, vtep.port) or "another socket"
            return ConflictError(f"{what}: in use by {holder}: use --vtep {Vtep(vtep.address, other)} or remove it")
        case errno.EADDRNOTAVAIL:
            return UsageError(f"{what}: the address is not on this host: `ip -br address` shows those that are")
        case errno.EACCES:
            return VxswitchError(f"{what}: ports below 1024 need root or CAP_NET_BIND_SERVICE")
    return VxswitchError(f"{what}: {error.strerror}")


def udp_holder(address: str, port: int) -> str | None:
    """``kernel vxlan device "vxlan0"``, ``process 42 (named)``, or None if it cannot be told."""
    wanted = ipaddress.ip_address(address)
    device = _vxlan_device(wanted.version, port)
    if device is not None:
        return f'kernel vxlan device "{device}"'
    for inode in _socket_inodes(wanted, port):
        process = _process_of(inode)
        if process is not None:
            return process
    return None


def _vxlan_device(version: int, port: int) -> str | None:
    with netlink.opened() as ipr:
        for link in netlink.dump(partial(ipr.link, "dump", kind="vxlan")):
            data = link.get(("linkinfo", "data"))
            if link["flags"] & _IFF_UP and data.get("vxlan_port") == port and version in _versions(data):
                return str(link.get("ifname"))
    return None


def _versions(data: netlink.Message) -> tuple[int, ...]:
    """The families of the sockets that a vxlan device opens (vxlan_open)."""
    if data.get("vxlan_collect_metadata"):
        return (4, 6)
    return (6,) if data.get("vxlan_local6") or data.get("vxlan_group6") else (4,)


def _socket_inodes(wanted: _IpAddress, port: int) -> Iterator[int]:
    """Inodes of the sockets in the way; an IPv6 one may hold the port of IPv4 too, so they come last."""
    tables = ("udp", "udp6") if wanted.version == 4 else ("udp6",)
    for table in tables:
        for line in Path(f"/proc/thread-self/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            host, _, number = fields[1].partition(":")
            if int(number, 16) == port and _collide(_parse_address(host), wanted):
                yield int(fields[9])


def _collide(bound: _IpAddress, wanted: _IpAddress) -> bool:
    if isinstance(bound, ipaddress.IPv6Address) and bound.ipv4_mapped is not None:
        bound = bound.ipv4_mapped
    if bound.version != wanted.version:
        return bound.is_unspecified  # ``::`` without IPV6_V6ONLY
    return bound == wanted or bound.is_unspecified or wanted.is_unspecified


def _parse_address(text: str) -> _IpAddress:
    """32-bit words, each printed as a number of this machine's byte order (Documentation: proc_net_tcp)."""
    words = [int(text[at : at + 8], 16) for at in range(0, len(text), 8)]
    packed = struct.pack(f"={len(words)}I", *words)
    return ipaddress.IPv4Address(packed) if len(packed) == 4 else ipaddress.IPv6Address(packed)


def _process_of(inode: int) -> str | None:
    """The first process that has the socket among its descriptors; those we may not look into are passed over."""
    target = f"socket:[{inode}]"
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if any(_points_to(link) == target for link in (process / "fd").iterdir()):
                return f"process {process.name} ({(process / 'comm').read_text().strip()})"
    return None


def _points_to(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:  # closed since the folder was read
        return ""
