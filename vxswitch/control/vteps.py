"""Our own VTEP addresses: there, gone, back again.

An address that vanishes (an interface that goes down, a DHCP lease that ends) takes its sockets' usefulness along. Once
a second each address is tried by binding a socket to it; the data plane then is told which VTEPs there are now. While
one is missing the switch is degraded, ``no_vtep_address``, and what would have to leave by it is dropped by that name.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Sequence

from vxswitch.control.doors import DataPlane
from vxswitch.model import Vtep

log = logging.getLogger(__name__)

NO_ADDRESS = "no_vtep_address"


class VtepWatch:
    """Compares the addresses that we should have with those that we have. ``vteps`` are open when it begins."""

    def __init__(self, plane: DataPlane, vteps: Sequence[Vtep], usable: Callable[[Vtep], bool] | None = None) -> None:
        self.vteps = tuple(vteps)
        self.present = self.vteps
        self._plane = plane
        self._usable = usable if usable is not None else bindable

    @property
    def degraded(self) -> list[str]:
        """Why the switch is not all that it should be."""
        return [NO_ADDRESS] if self.present != self.vteps else []

    def check(self) -> None:
        """Look again, and open or close sockets accordingly."""
        now = tuple(vtep for vtep in self.vteps if self._usable(vtep))
        if now == self.present:
            return
        try:
            self._plane.set_vteps(now)
        except OSError as error:
            log.error("VTEP sockets cannot be made again: %s", error)
            return
        for vtep in self.present:
            if vtep not in now:
                log.error("VTEP address %s has vanished: no traffic by it", vtep.address)
        for vtep in now:
            if vtep not in self.present:
                log.warning("VTEP address %s is back", vtep.address)
        self.present = now


def bindable(vtep: Vtep) -> bool:
    """Whether the address is on this host and not tentative: the kernel refuses to bind to any other."""
    with socket.socket(vtep.family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
        try:
            probe.bind((vtep.address, 0))
        except OSError:
            return False
    return True
