"""Addresses and the default route of an interface, by netlink. What is there already as asked for is left alone."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Sequence
from functools import partial
from typing import Any

from pyroute2.netlink.exceptions import NetlinkError

from vxswitch.attach import netlink
from vxswitch.errors import ConflictError, UsageError

IPV6_MIN_MTU = 1280  # RFC 8200 section 5

_IFA_F_NODAD = 0x02  # linux/if_addr.h


def check(addresses: Sequence[str], gateway: str | None, mtu: int) -> None:
    """UsageError for what can be known to be wrong before anything is touched."""
    versions = set()
    for text in addresses:
        try:
            versions.add(ipaddress.ip_interface(text).version)
        except ValueError:
            raise UsageError(f"address {text!r}: want ADDRESS/PREFIX as in 10.1.0.2/24") from None
    if 6 in versions and mtu < IPV6_MIN_MTU:
        raise UsageError(f"MTU {mtu} is too small for IPv6 addresses: they need {IPV6_MIN_MTU} (RFC 8200)")
    if gateway is not None:
        try:
            ipaddress.ip_address(gateway)
        except ValueError:
            raise UsageError(f"gateway {gateway!r}: want an IP address") from None


def add_address(ipr: Any, index: int, where: str, text: str) -> None:
    """Add ADDRESS/PREFIX. IPv6 skips DAD: the switch knows who owns an address, and a port should speak at once."""
    address = ipaddress.ip_interface(text)
    flags = {"flags": _IFA_F_NODAD} if address.version == 6 else {}
    with netlink.asking(f"add address {text} to {where}"):
        try:
            ipr.addr("add", index=index, address=str(address.ip), prefixlen=address.network.prefixlen, **flags)
        except NetlinkError as error:
            if error.code != errno.EEXIST:
                raise


def add_default_route(ipr: Any, index: int, where: str, gateway: str) -> None:
    """Route everything by ``gateway``; ConflictError if another default route stands, UsageError if out of reach."""
    with netlink.asking(f"route by gateway {gateway} in {where}"):
        try:
            ipr.route("add", dst="default", gateway=gateway, oif=index)
        except NetlinkError as error:
            if error.code == errno.EEXIST:
                _check_default_route(ipr, index, where, gateway)
            elif error.code in (errno.ENETUNREACH, errno.EHOSTUNREACH):
                raise UsageError(
                    f"gateway {gateway} is in none of the port's subnets: give an --ip beside it"
                ) from None
            else:
                raise


def _check_default_route(ipr: Any, index: int, where: str, gateway: str) -> None:
    family = socket.AF_INET6 if ":" in gateway else socket.AF_INET
    routes = netlink.dump(partial(ipr.get_default_routes, family=family))
    if not any(_is_via(route, gateway) and route.get("oif") == index for route in routes):
        via = next((f" via {route.get('gateway')}" for route in routes if route.get("gateway")), "")
        raise ConflictError(f"{where} already has a default route{via}: leave --gateway out or remove that route")


def _is_via(route: netlink.Message, gateway: str) -> bool:
    hop = route.get("gateway")
    return hop is not None and ipaddress.ip_address(hop) == ipaddress.ip_address(gateway)
