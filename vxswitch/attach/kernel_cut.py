"""The door into this host's stack, for super-frames that the kernel shall cut (dataplane/kernel_cut.py).

A TAP of its own, not persistent: with its descriptor all that was set goes, because every setting is the interface's.
Packets that come out of it bear one of our own addresses as source (accept_local), are answered by other interfaces
(rp_filter 0), and are routed on (forwarding; for IPv6 force_forwarding, since linux 6.17): nothing of the host's own
settings is changed. But ``all/rp_filter`` outranks the interface's 0: strict filtering (1) forbids the whole; loose
filtering (2) passes what comes in by an interface that has any address, so this one has one that is nobody's.

Beside it stands the exit, a second TAP: the way to two addresses that lead nowhere else, so that the switch can see
whether the host forwards what comes by the door (dataplane/trial.py).
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
from pathlib import Path
from typing import NamedTuple

from vxswitch.attach import link, netlink, tap
from vxswitch.errors import VxswitchError

VNET_TUNNEL_SIZE = 24  # struct virtio_net_hdr_v1_hash_tunnel, linux/virtio_net.h
# linux/if_tun.h (6.17): super-frames inside UDP tunnels, with outer checksums
TUN_F_UDP_TUNNEL_GSO = 0x080
TUN_F_UDP_TUNNEL_GSO_CSUM = 0x100
_MTU = 65535 - 14
_DUMMY = "192.0.0.8"  # the IPv4 dummy address, RFC 7600 section 4.8
_RT_SCOPE_HOST = 254  # linux/rtnetlink.h: never chosen as a source
_NOWHERE_V4 = "192.0.2."  # TEST-NET-1, RFC 5737: no host has such an address; .128 to .254 are drawn from
_NOWHERE_V6 = "100::"  # discard-only, RFC 6666
_SYSCTL = Path("/proc/sys/net")


class OpenedDoor(NamedTuple):
    """The door's descriptor and MAC; the exit's descriptor and the addresses that are reached by it."""

    fd: int
    mac: bytes
    exit_fd: int
    targets: tuple[str, ...]


def open_door() -> OpenedDoor:
    """Both TAPs. VxswitchError says why this host has no such door."""
    if (_SYSCTL / "ipv4/conf/all/rp_filter").read_text().strip() == "1":
        raise VxswitchError("the kernel cannot cut: net.ipv4.conf.all.rp_filter is 1, which drops its packets")
    name = tap.temporary_name()
    fd = tap.create(name, persistent=False)
    try:
        tap.set_vnet_header_size(fd, VNET_TUNNEL_SIZE)
        fcntl.ioctl(fd, tap.TUNSETOFFLOAD, tap.OFFLOADS_FULL | TUN_F_UDP_TUNNEL_GSO | TUN_F_UDP_TUNNEL_GSO_CSUM)
        for setting, value in _settings(name):
            (_SYSCTL / setting).write_text(value)
        mac = bytes.fromhex("02") + os.urandom(5)
        link.configure_host(name, _MTU, mac)
        _give_dummy_address(name)
    except OSError as error:
        os.close(fd)
        if error.errno == errno.EINVAL:
            raise VxswitchError("the kernel cannot cut: no UDP tunnel offload on TAPs (needs linux 6.17)") from None
        raise VxswitchError(f"the kernel cannot cut: {error}") from None
    except BaseException:
        os.close(fd)
        raise
    try:
        return OpenedDoor(fd, mac, *_open_exit())
    except BaseException:
        os.close(fd)
        raise


def _open_exit() -> tuple[int, tuple[str, ...]]:
    """A TAP without address, and the routes that lead into it."""
    name = tap.temporary_name()
    fd = tap.create(name, persistent=False)
    try:
        tap.prepare(fd, 0)
        targets = [_NOWHERE_V4 + str(128 + secrets.randbelow(127))]
        if (silent := _SYSCTL / f"ipv6/conf/{name}/addr_gen_mode").exists():
            silent.write_text("1")
            targets.append(_NOWHERE_V6 + secrets.token_hex(2))
        _lead(name, targets)
    except BaseException:
        os.close(fd)
        raise
    return fd, tuple(targets)


def _lead(name: str, targets: list[str]) -> None:
    """The host's way to these addresses is this interface, which asks nobody for MACs."""
    found = link.link_info(name)
    assert found is not None
    with netlink.opened() as ipr, netlink.asking(f"route {', '.join(targets)} to {name}"):
        ipr.link("set", index=found.index, state="up", arp=False)
        for target in targets:
            ipr.route("add", dst=target + ("/128" if ":" in target else "/32"), oif=found.index)


def _give_dummy_address(name: str) -> None:
    """Loose reverse path filtering drops all from an interface without address (net/ipv4/fib_frontend.c, no_addr)."""
    found = link.link_info(name)
    assert found is not None
    with netlink.opened() as ipr, netlink.asking(f"add address {_DUMMY} to {name}"):
        ipr.addr("add", index=found.index, address=_DUMMY, prefixlen=32, scope=_RT_SCOPE_HOST)


def _settings(name: str) -> list[tuple[str, str]]:
    return [
        (f"ipv4/conf/{name}/accept_local", "1"),
        (f"ipv4/conf/{name}/rp_filter", "0"),
        (f"ipv4/conf/{name}/forwarding", "1"),
        *(
            (
                (f"ipv6/conf/{name}/addr_gen_mode", "1"),
                (f"ipv6/conf/{name}/force_forwarding", "1"),
            )
            if (_SYSCTL / f"ipv6/conf/{name}").exists()
            else ()
        ),
    ]
