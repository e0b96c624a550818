"""Arithmetic of the address allocator: which hosts a subnet has, and addresses as hex keys.

Hosts are numbered by the low 32 bits of the address, which Lua's doubles hold exactly; the leading hex digits (none
for IPv4, 24 for IPv6) stay as they are. So of an IPv6 subnet the allocator hands out the first 2^32 - 1 hosts.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from vxswitch.errors import UsageError

_LOW = 2**32 - 1


@dataclass(frozen=True, slots=True)
class HostRange:
    """The hosts of a subnet: ``prefix`` + 8 hex digits of ``first``..``last``."""

    subnet: str
    prefix: str
    first: int
    last: int


def host_range(subnet: str) -> HostRange:
    """The hosts that may be handed out; UsageError if this is not a subnet (CIDR, no host bits set).

    Left out: network and broadcast address of IPv4 (RFC 1122 section 3.2.1.3), the Subnet-Router anycast address of
    IPv6 (RFC 4291 section 2.6.1). A /31 and a /127 have two hosts (RFC 3021, RFC 6164), a /32 and a /128 one.
    """
    network = _network(subnet)
    first, last = int(network.network_address), int(network.broadcast_address)
    if network.num_addresses > 2:
        first += 1
        last -= network.version == 4
    digits = network.max_prefixlen // 4
    last = min(last, first | _LOW)
    return HostRange(str(network), f"{first:0{digits}x}"[:-8], first & _LOW, last & _LOW)


def address_key(subnet: str, address: str) -> str:
    """An address (with or without prefix length) as hex; UsageError if it is no host of the subnet."""
    network = _network(subnet)
    try:
        interface = ipaddress.ip_interface(address)
    except ValueError as error:
        raise UsageError(f"address {address!r}: {error}") from None
    ip = interface.ip
    if ip not in network:
        raise UsageError(f"address {ip} is not in {network}")
    reserved = {network.network_address} | ({network.broadcast_address} if network.version == 4 else set())
    if network.num_addresses > 2 and ip in reserved:
        raise UsageError(f"address {ip} is not a host of {network}: it means the network itself")
    return f"{int(ip):0{network.max_prefixlen // 4}x}"


def address_text(subnet: str, key: str) -> str:
    """A hex key as CIDR, ``10.1.0.1/24``."""
    network = _network(subnet)
    number = int(key, 16)
    ip = ipaddress.IPv4Address(number) if network.version == 4 else ipaddress.IPv6Address(number)
    return f"{ip}/{network.prefixlen}"


def check_owner(owner: str) -> str:
    """The owner of an address: any one line of 1 to 200 characters."""
    if not 1 <= len(owner) <= 200 or not owner.isprintable():
        raise UsageError(f"owner of an address {owner!r}: want one line of 1 to 200 characters")
    return owner


def _network(subnet: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(subnet)
    except ValueError as error:
        raise UsageError(f"subnet {subnet!r}: {error}") from None
