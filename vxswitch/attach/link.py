"""The netlink side of a TAP: into the container, addressed and up, or ready on the host, or gone.

The TAP was made under a temporary name in our own namespace. ``move_into`` moves and renames it in one message, then
steps into the target namespace and sets, in this order: MAC, MTU, gso_max_size and alias while the link is down;
addresses; up; default route. If the name is taken there the kernel has already moved the device and leaves it under
its temporary name: whoever holds its descriptor lets go of it (tap.set_persist off, close) and it is gone.

The alias ``vxswitch NETWORK`` marks a TAP as ours for `ip link`, and for a later attach that finds it without an owner.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyroute2.netlink.exceptions import NetlinkError

from vxswitch.attach import layer3, netlink
from vxswitch.attach.netns import Netns, opened, same
from vxswitch.attach.tap import check_ifname
from vxswitch.errors import ConflictError, NotFoundError, VxswitchError
from vxswitch.model import format_mac

GSO_MAX_SIZE = 61000  # bytes; with the headers of each segment added, still one datagram of at most 65507
ALIAS_PREFIX = "vxswitch "

_IFF_UP = 0x1  # linux/if.h


@dataclass(frozen=True, slots=True)
class LinkInfo:
    """A network interface as the kernel describes it. ``queues`` and ``persistent`` are None unless it is a TAP."""

    index: int
    mtu: int
    mac: bytes
    up: bool
    alias: str
    queues: int | None
    persistent: bool | None

    @property
    def is_tap(self) -> bool:
        return self.queues is not None

    @property
    def orphan(self) -> bool:
        """A persistent TAP that nobody holds a queue of."""
        return self.queues == 0 and bool(self.persistent)


def alias_of(network: str) -> str:
    """The mark that a TAP of ``network`` wears (IFLA_IFALIAS)."""
    return ALIAS_PREFIX + network


def move_into(
    name: str,
    netns: Netns,
    ifname: str,
    *,
    mac: bytes,
    addresses: Sequence[str],
    gateway: str | None,
    mtu: int,
    alias: str = "",
    gso_max_size: int = GSO_MAX_SIZE,
) -> None:
    """Take the TAP ``name`` of the caller's namespace into ``netns`` as ``ifname`` and configure it there, up.

    Addresses are in CIDR form. Raises ConflictError, NotFoundError, UsageError or VxswitchError.
    """
    layer3.check(addresses, gateway, mtu)
    _move(name, netns, check_ifname(ifname))
    configure(
        ifname,
        netns,
        mac=mac,
        addresses=addresses,
        gateway=gateway,
        mtu=mtu,
        alias=alias,
        gso_max_size=gso_max_size,
    )


def configure(
    ifname: str,
    netns: Netns,
    *,
    mac: bytes,
    addresses: Sequence[str],
    gateway: str | None,
    mtu: int,
    alias: str = "",
    gso_max_size: int = GSO_MAX_SIZE,
) -> None:
    """Set up an interface that stands in ``netns`` already; what is there as asked for stays as it is."""
    layer3.check(addresses, gateway, mtu)
    with netlink.opened(netns) as ipr:
        index = _index(ipr, ifname)
        _dress(ipr, index, f"{ifname} in {netns.path}", mac, mtu, alias, gso_max_size)
        for address in addresses:
            layer3.add_address(ipr, index, f"{ifname} in {netns.path}", address)
        _up(ipr, index, f"{ifname} in {netns.path}")
        if gateway is not None:
            layer3.add_default_route(ipr, index, netns.path, gateway)


def configure_host(name: str, mtu: int, mac: bytes, *, alias: str = "", gso_max_size: int = GSO_MAX_SIZE) -> None:
    """Make the host's own TAP ready and up. Router advertisements of the overlay never configure the host."""
    with netlink.opened() as ipr:
        index = _index(ipr, name)
        _refuse_advertisements(name)
        _dress(ipr, index, name, mac, mtu, alias, gso_max_size)
        _up(ipr, index, name)


def set_mtu(name: str, mtu: int, netns: Netns | None = None) -> None:
    """Change the MTU of an interface, in bytes of IP packet."""
    with netlink.opened(netns) as ipr, netlink.asking(f"set MTU {mtu} on {name}"):
        ipr.link("set", index=_index(ipr, name), mtu=mtu)


def link_info(name: str, netns: Netns | None = None) -> LinkInfo | None:
    """The interface of that name, or None if there is none."""
    with netlink.opened(netns) as ipr:
        message = _get(ipr, name)
    if message is None:
        return None
    data = message.get(("linkinfo", "data")) if message.get(("linkinfo", "kind")) == "tun" else None
    return LinkInfo(
        index=message["index"],
        mtu=message.get("mtu"),
        mac=bytes.fromhex((message.get("address") or "").replace(":", "")),
        up=bool(message["flags"] & _IFF_UP),
        alias=message.get("ifalias") or "",
        queues=data.get("tun_num_queues") if data else None,
        persistent=bool(data.get("tun_persist")) if data else None,
    )


def exists(name: str, netns: Netns | None = None) -> bool:
    """Whether there is an interface of that name."""
    with netlink.opened(netns) as ipr:
        return _get(ipr, name) is not None


def delete(name: str, netns: Netns | None = None) -> bool:
    """Remove the TAP ``name``; whether there was one. A namespace that is gone took it along; only TAPs are removed."""
    if netns is not None and not same(netns):
        return False
    with netlink.opened(netns) as ipr:
        message = _get(ipr, name)
        if message is None:
            return False
        if message.get(("linkinfo", "kind")) != "tun":
            raise ConflictError(f"cannot remove interface {name}: it is not a TAP")
        with netlink.asking(f"remove TAP {name}"):
            try:
                ipr.link("del", index=message["index"])
            except NetlinkError as error:
                if error.code != errno.ENODEV:  # gone since we looked
                    raise
    return True


def _move(name: str, netns: Netns, ifname: str) -> None:
    with netlink.opened() as ipr, opened(netns) as netns_fd:
        index = _index(ipr, name)
        with netlink.asking(f"move TAP {name} into {netns.path} as {ifname}"):
            try:
                ipr.link("set", index=index, net_ns_fd=netns_fd, ifname=ifname)
            except NetlinkError as error:
                if error.code != errno.EEXIST:
                    raise
                raise ConflictError(
                    f"interface {ifname} already exists in {netns.path}: choose another --ifname or remove it"
                ) from None


def _dress(ipr: Any, index: int, where: str, mac: bytes, mtu: int, alias: str, gso_max_size: int) -> None:
    text = format_mac(mac)
    with netlink.asking(f"set MAC {text}, MTU {mtu} and gso_max_size {gso_max_size} on {where}"):
        ipr.link("set", index=index, address=text, mtu=mtu, gso_max_size=gso_max_size, ifalias=alias)


def _up(ipr: Any, index: int, where: str) -> None:
    with netlink.asking(f"set {where} up"):
        ipr.link("set", index=index, state="up")


def _refuse_advertisements(name: str) -> None:
    """accept_ra = 0 before the link is up. No such file means no IPv6, which is as good."""
    setting = Path(f"/proc/sys/net/ipv6/conf/{name}/accept_ra")
    with contextlib.suppress(FileNotFoundError):
        if setting.read_text().strip() == "0":
            return
        try:
            setting.write_text("0")
        except OSError as error:
            raise VxswitchError(f"cannot set {setting} to 0: {error.strerror}") from None


def _index(ipr: Any, name: str) -> int:
    message = _get(ipr, name)
    if message is None:
        raise NotFoundError(f"there is no interface {name}")
    return int(message["index"])


def _get(ipr: Any, name: str) -> netlink.Message | None:
    with netlink.asking(f"look up interface {name}"):
        try:
            return next(iter(ipr.link("get", ifname=name)), None)
        except NetlinkError as error:
            if error.code == errno.ENODEV:
                return None
            raise
