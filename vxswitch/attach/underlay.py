"""The host's side of the underlay: which address is ours, on which device, with which MTU, and is it usable yet.

Read from the kernel by netlink when the switch starts and when a VTEP's address has gone or come back; synchronous, so
called through ``asyncio.to_thread``. Who holds a UDP port that could not be bound is in ``holder``.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple

from vxswitch.attach import netlink
from vxswitch.attach.holder import bind_error, udp_holder
from vxswitch.errors import NotFoundError, UsageError, VxswitchError

__all__ = ["Device", "bind_error", "default_source", "device_of", "udp_holder", "wait_not_tentative"]

# linux/if_addr.h
_IFA_F_SECONDARY = 0x01  # IFA_F_TEMPORARY in IPv6: an address that will be replaced
_IFA_F_DADFAILED = 0x08
_IFA_F_DEPRECATED = 0x20
_IFA_F_TENTATIVE = 0x40
_UNFIT = _IFA_F_SECONDARY | _IFA_F_DADFAILED | _IFA_F_DEPRECATED

# linux/if.h
_IFF_LOOPBACK = 0x8
_ALIVE = 0x1 | 0x40  # IFF_UP, IFF_RUNNING: set up, and the carrier is there

# linux/rtnetlink.h
_RT_SCOPE_UNIVERSE = 0
_RTN_UNICAST = 1

_LOOPBACK4 = ipaddress.ip_network("127.0.0.0/8")
_TENTATIVE_PAUSE = 0.05  # seconds between two looks at an address in duplicate address detection


class Device(NamedTuple):
    """The interface by which an address sends: name, MTU in bytes of IP packet, whether it is up and has a carrier."""

    ifname: str
    mtu: int
    up: bool


def default_source() -> str:
    """Source address of the default route, IPv4 first, then IPv6; UsageError if there is none."""
    with netlink.opened() as ipr:
        for family in (socket.AF_INET, socket.AF_INET6):
            routes = netlink.dump(partial(ipr.get_default_routes, family=family))
            addresses = netlink.dump(partial(ipr.get_addr, family=family))
            for route in sorted(routes, key=lambda found: found.get("priority") or 0):
                source = _source(route, addresses)
                if source is not None:
                    return source
    raise UsageError("no default route to take the VTEP's address from: give --vtep ADDR")


def device_of(address: str) -> Device:
    """The device that ``address`` is on; NotFoundError if it is not on this host (or not any more).

    An address of the world that stands on the loopback device, as routed fabrics have them, sends by the default
    route's device.
    """
    wanted = ipaddress.ip_address(address)
    with netlink.opened() as ipr:
        found = _find(ipr, wanted)
        if found is not None:
            index = found["index"]
        elif wanted in _LOOPBACK4:  # the whole net is local, though only 127.0.0.1 is listed
            index = 1
        else:
            raise NotFoundError(f"address {address} is not on this host: `ip -br address` shows those that are")
        link = _link(ipr, index, address)
        if link["flags"] & _IFF_LOOPBACK and not wanted.is_loopback:
            link = _link(ipr, _default_device(ipr, wanted.version) or index, address)
    return Device(link.get("ifname"), link.get("mtu"), link["flags"] & _ALIVE == _ALIVE)


def wait_not_tentative(address: str, timeout: float = 5.0) -> None:
    """Wait until duplicate address detection (RFC 4862) lets an IPv6 address be bound; ``timeout`` in seconds.

    Returns at once for IPv4. Raises NotFoundError if the address is not here, VxswitchError if it is a duplicate or
    still tentative when the time is up.
    """
    wanted = ipaddress.ip_address(address)
    if wanted.version == 4:
        return
    deadline = time.monotonic() + timeout
    with netlink.opened() as ipr:
        while True:
            found = _find(ipr, wanted)
            if found is None:
                raise NotFoundError(f"address {address} is not on this host: `ip -br address` shows those that are")
            if found.get("flags") & _IFA_F_DADFAILED:
                raise VxswitchError(f"address {address} is a duplicate: another host on the link has it (DAD failed)")
            if not found.get("flags") & _IFA_F_TENTATIVE:
                return
            if time.monotonic() >= deadline:
                raise VxswitchError(f"address {address} is still tentative after {timeout:g} s: is its link up?")
            time.sleep(_TENTATIVE_PAUSE)


def _link(ipr: Any, index: int, address: str) -> netlink.Message:
    with netlink.asking(f"look up the device of {address}"):
        return ipr.link("get", index=index)[0]


def _default_device(ipr: Any, version: int) -> int | None:
    """The index of the device of the best default route, None without one."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    routes = netlink.dump(partial(ipr.get_default_routes, family=family))
    usable = [route for route in routes if route["type"] == _RTN_UNICAST]
    return min(((found.get("priority") or 0, _out(found)) for found in usable), default=(0, None))[1]


def _out(route: netlink.Message) -> int:
    """The device of a route's first hop."""
    hops = route.get("multipath") or [route]
    return int(hops[0].get("oif") or hops[0].get("hop_oif") or hops[0]["oif"])


def _source(route: netlink.Message, addresses: Iterable[netlink.Message]) -> str | None:
    """What the kernel would put into a packet by this route: its prefsrc, else a lasting address of its device."""
    if route["type"] != _RTN_UNICAST:
        return None
    if route.get("prefsrc"):
        return str(route.get("prefsrc"))
    index = _out(route)
    candidates = [
        ipaddress.ip_interface(f"{_local(message)}/{message['prefixlen']}")
        for message in addresses
        if message["index"] == index and message["scope"] == _RT_SCOPE_UNIVERSE and not message.get("flags") & _UNFIT
    ]
    gateway = route.get("gateway")
    beside = [found for found in candidates if gateway and ipaddress.ip_address(gateway) in found.network]
    return next((str(found.ip) for found in beside + candidates), None)


def _find(ipr: Any, wanted: ipaddress.IPv4Address | ipaddress.IPv6Address) -> netlink.Message | None:
    family = socket.AF_INET if wanted.version == 4 else socket.AF_INET6
    messages = netlink.dump(partial(ipr.get_addr, family=family))
    return next((found for found in messages if ipaddress.ip_address(_local(found)) == wanted), None)


def _local(message: netlink.Message) -> str:
    """IFA_LOCAL, which a point-to-point link's IFA_ADDRESS (the peer's) differs from."""
    return str(message.get("local") or message.get("address"))
