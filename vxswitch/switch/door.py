"""What only the host can tell, asked before anything is opened: which addresses are ours, what the underlay carries.

All of it blocks (netlink), so it is called through ``asyncio.to_thread``. Whatever is wrong is one UsageError.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass

from vxswitch import config
from vxswitch.attach import underlay
from vxswitch.errors import NotFoundError, UsageError
from vxswitch.model import Vtep
from vxswitch.wire.vxlan import OVERHEAD_V4, OVERHEAD_V6

TENTATIVE = 5.0  # seconds that an IPv6 address in duplicate address detection is waited for


@dataclass(frozen=True, slots=True)
class OwnVteps:
    """Our VTEPs in order, the MTU of the device of each, and the largest inner MTU that all of them carry, bytes."""

    vteps: tuple[Vtep, ...]
    devices: tuple[int, ...]
    mtu: int

    @property
    def mtu_by_family(self) -> dict[int, int]:
        """Of the device that we send by: the first VTEP of each address family does."""
        return {vtep.family: mtu for vtep, mtu in reversed(list(zip(self.vteps, self.devices, strict=True)))}


def own_vteps(settings: config.Underlay) -> OwnVteps:
    """The configured VTEPs, else the source address of the default route. UsageError, VxswitchError."""
    vteps = settings.vteps or (Vtep(underlay.default_source(), settings.port),)
    devices, carried = [], []
    for vtep in vteps:
        try:
            underlay.wait_not_tentative(vtep.address, TENTATIVE)
            device = underlay.device_of(vtep.address)
        except NotFoundError as error:
            raise UsageError(f"VTEP {vtep}: {error}") from None
        devices.append(device.mtu)
        carried.append(device.mtu - (OVERHEAD_V6 if vtep.family == socket.AF_INET6 else OVERHEAD_V4))
    return OwnVteps(vteps, tuple(devices), min(carried))
