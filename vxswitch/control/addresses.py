"""Addresses for ports: allocated by the store where "auto" was asked for, reserved there where one was named.

The allocator is the store's, one call per address; this node only asks. Without it "auto" is an error, while a named
address is used at once and reserved when the store can be asked: it is the owner's word, not the allocator's. What is
given back while the store is away is kept until it can be told.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Iterable, Sequence

from vxswitch.control.network import Network
from vxswitch.control.patience import deadline, patiently
from vxswitch.errors import StoreUnavailableError, UsageError, VxswitchError
from vxswitch.store.base import Store

log = logging.getLogger(__name__)

Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface


class Addresses:
    """The store's allocator, asked on behalf of ports. ``node`` makes a port's id unique in the cluster."""

    def __init__(self, store: Store, node: str) -> None:
        self._store = store
        self._node = node
        self._returned: dict[tuple[int, str], None] = {}  # (VNI, owner) whose release the store has not heard yet

    async def take(self, network: Network, port_id: str, asked: Sequence[str]) -> tuple[str, ...]:
        """The addresses of a port, in CIDR form. No word at all: "auto" where there is something to allocate from.

        UsageError, ConflictError, or StoreUnavailableError when "auto" cannot be asked for now.
        """
        words = tuple(asked) or (("auto",) if self._allocates(network) else ("none",))
        if words == ("none",):
            return ()
        taken: list[str] = []
        for word in words:
            if word == "auto":
                taken += await self._allocate(network, port_id)
            else:
                taken.append(str(ipaddress.ip_interface(word)))
        named = [ip for ip in words if ip != "auto"]
        try:
            await self.reserve(network, port_id, named)
        except StoreUnavailableError as error:
            log.warning("addresses of %s are not reserved yet: %s", port_id, error)
        return tuple(dict.fromkeys(taken))

    def _allocates(self, network: Network) -> bool:
        return bool(network.settings.subnets) and self._store.status().state != "static"

    async def _allocate(self, network: Network, port_id: str) -> list[str]:
        """One address of the first subnet of each family."""
        subnets = network.settings.subnets
        if not subnets and self._store.status().state != "static":
            raise UsageError(f"network {network.name!r} has no subnet to take an address from: give --ip CIDR or none")
        first: dict[int, str] = {}
        for subnet in subnets:
            first.setdefault(ipaddress.ip_network(subnet).version, subnet)
        until = deadline()
        vni, owner = network.vni or 0, self._owner(port_id)
        asked = first.values() or ("",)  # static: says itself that it allocates nothing
        try:
            return [await patiently(self._store.allocate_ip(vni, subnet, owner), until) for subnet in asked]
        except StoreUnavailableError as error:
            raise StoreUnavailableError(f"no address for {port_id}: {error}: give --ip CIDR or try again") from None

    async def reserve(self, network: Network, port_id: str, ips: Sequence[str]) -> None:
        """Tell the store that a port has these. ConflictError: another live owner has one; StoreUnavailableError."""
        if not network.settled.is_set() or not self._allocates(network) or network.vni is None:
            return
        until, owner = deadline(), self._owner(port_id)
        self._returned.pop((network.vni, owner), None)
        for interface in map(ipaddress.ip_interface, ips):
            subnet = _subnet_of(interface, network.settings.subnets)
            if subnet is not None:
                await patiently(self._store.reserve_ip(network.vni, subnet, str(interface.ip), owner), until)

    async def give_back(self, vni: int, port_ids: Iterable[str]) -> None:
        """These ports are no more; their addresses go into quarantine."""
        if self._store.status().state != "static":
            self._returned |= dict.fromkeys((vni, self._owner(port_id)) for port_id in port_ids)
            await self.flush()

    async def flush(self) -> None:
        """Tell the store what was given back while it was away."""
        until = deadline()
        for vni, owner in list(self._returned):
            try:
                await patiently(self._store.release_ip(vni, owner), until)
            except StoreUnavailableError:
                return
            except VxswitchError as error:
                log.warning("addresses of %s: %s", owner, error)
            self._returned.pop((vni, owner), None)

    def _owner(self, port_id: str) -> str:
        return f"{self._node}/{port_id}"


def _subnet_of(interface: Interface, subnets: Sequence[str]) -> str | None:
    return next((subnet for subnet in subnets if interface.ip in ipaddress.ip_network(subnet)), None)
