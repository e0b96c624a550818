"""What the underlay carries: the devices that our VTEP addresses are on, followed while the switch runs.

``look`` reads them again whenever the kernel says that something has changed. What is different is told, once; whoever
calls it hands it on: to the networks whose MTU is "auto" with their ports, and to the prober's sizes. While an address
is away its device is taken to be as it was, so that no MTU jumps because of an address that comes back.

    underlay_down   a device has no carrier, or was set down: nothing leaves by it
    underlay_mtu    a network's MTU is larger than the underlay carries: its large frames die by that name
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from vxswitch.config.rules import MTU_MIN
from vxswitch.control.doors import Device
from vxswitch.fdb import Table
from vxswitch.model import Vtep
from vxswitch.wire.vxlan import OVERHEAD_V4, OVERHEAD_V6

log = logging.getLogger(__name__)

DOWN = "underlay_down"
TOO_SMALL = "underlay_mtu"


class Devices:
    """The device of each of our VTEPs, in order. ``find`` asks the kernel, and may block; None: no such address."""

    def __init__(
        self, vteps: Sequence[Vtep], devices: Sequence[Device], find: Callable[[Vtep], Device | None] | None = None
    ) -> None:
        self.vteps = tuple(vteps)
        self.devices = tuple(devices)
        self._find = find

    @property
    def mtu(self) -> int:
        """The largest inner MTU that all of them carry, in bytes of IP packet."""
        return max(MTU_MIN, min(map(_carried, self.vteps, self.devices)))

    @property
    def mtu_by_family(self) -> dict[int, int]:
        """The MTU of the device that we send by: the first VTEP of each address family does."""
        pairs = list(zip(self.vteps, self.devices, strict=True))
        return {vtep.family: device.mtu for vtep, device in reversed(pairs)}

    def degraded(self, tables: Iterable[Table]) -> list[str]:
        """Why the switch is not all that it should be."""
        down = [] if all(device.up for device in self.devices) else [DOWN]
        return [*down, TOO_SMALL] if any(table.mtu > self.mtu for table in tables) else down

    def view(self) -> list[dict[str, Any]]:
        """``underlay`` in ``vxswitch status``."""
        return [
            {"vtep": str(vtep), "ifname": device.ifname, "mtu": device.mtu, "up": device.up}
            for vtep, device in zip(self.vteps, self.devices, strict=True)
        ]

    async def look(self) -> bool:
        """Ask the kernel again; true if something is different."""
        if self._find is None:
            return False
        found = await asyncio.to_thread(lambda find: list(map(find, self.vteps)), self._find)
        before = self.devices
        self.devices = tuple(now or was for now, was in zip(found, before, strict=True))
        for vtep, was, now in zip(self.vteps, before, self.devices, strict=True):
            _tell(vtep, was, now)
        return self.devices != before


def _carried(vtep: Vtep, device: Device) -> int:
    return device.mtu - (OVERHEAD_V6 if vtep.family == socket.AF_INET6 else OVERHEAD_V4)


def _tell(vtep: Vtep, was: Device, now: Device) -> None:
    if now.ifname != was.ifname:
        log.warning("VTEP address %s is on %s now, was on %s", vtep.address, now.ifname, was.ifname)
    if now.mtu != was.mtu:
        log.warning("underlay device %s of VTEP %s: its MTU is %d now, was %d", now.ifname, vtep, now.mtu, was.mtu)
    if now.up is not was.up:
        log.warning("underlay device %s of VTEP %s is %s", now.ifname, vtep, "up again" if now.up else "down")
