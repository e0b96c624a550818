"""What only the host can tell, asked before anything is opened: which addresses are ours, on which devices.

All of it blocks (netlink), so it is called through ``asyncio.to_thread``. Whatever is wrong is one UsageError.
"""

from __future__ import annotations

from dataclasses import dataclass

from vxswitch import config
from vxswitch.attach import underlay
from vxswitch.control.doors import Device
from vxswitch.errors import NotFoundError, UsageError
from vxswitch.model import Vtep

TENTATIVE = 5.0  # seconds that an IPv6 address in duplicate address detection is waited for


@dataclass(frozen=True, slots=True)
class OwnVteps:
    """Our VTEPs in order, and the device of each."""

    vteps: tuple[Vtep, ...]
    devices: tuple[Device, ...]


def own_vteps(settings: config.Underlay) -> OwnVteps:
    """The configured VTEPs, else the source address of the default route. UsageError, VxswitchError."""
    vteps = settings.vteps or (Vtep(underlay.default_source(), settings.port),)
    devices = []
    for vtep in vteps:
        try:
            underlay.wait_not_tentative(vtep.address, TENTATIVE)
            devices.append(Device(*underlay.device_of(vtep.address)))
        except NotFoundError as error:
            raise UsageError(f"VTEP {vtep}: {error}") from None
    return OwnVteps(vteps, tuple(devices))
