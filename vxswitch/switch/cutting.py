"""Whether the kernel cuts super-frames (`underlay.kernel_cut`): a door opened at the start and watched ever after.

``on`` ends the start if this host has no such door, or swallows what goes in by it; ``auto`` says so and cuts here. A
firewall may come and go while the switch runs, so the door is tried again every second, and is used while it works.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Literal

from vxswitch.attach import kernel_cut
from vxswitch.dataplane.plane import Plane
from vxswitch.errors import VxswitchError

log = logging.getLogger(__name__)

CHECK_EVERY = 1.0  # seconds
_FIRST_CHECKS, _PAUSE = 50, 0.01  # of the start, seconds between them; a door that works answers at once
_SWALLOWED = (
    "the kernel cannot cut: this host forwards nothing that comes in by interfaces vxt-*. If that is a firewall "
    "(`iptables -P FORWARD DROP`, as Docker sets it), `iptables -I FORWARD -i vxt-+ -j ACCEPT` lets it through"
)


class Cutting:
    """The door of one data plane."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._opened = self._works = False

    async def open(self, wanted: Literal["off", "auto", "on"]) -> None:
        """Open the door, if it is wanted. VxswitchError if it must be there and is not."""
        if wanted == "off":
            return
        try:
            self._plane.open_door(*await asyncio.to_thread(kernel_cut.open_door))
            self._opened = True
            if not await self._first_works():
                raise VxswitchError(_SWALLOWED)
        except VxswitchError as error:
            if wanted == "on":
                raise
            log.warning("super-frames are cut here: %s", error)

    async def _first_works(self) -> bool:
        for _ in range(_FIRST_CHECKS):
            self._works = self._plane.check_door()
            if self._works:
                return True
            await asyncio.sleep(_PAUSE)
        return False

    def check(self) -> None:
        """Does it still work; does it work by now?"""
        if not self._opened:
            return
        works = self._plane.check_door()
        if works and not self._works:
            log.info("the kernel cuts super-frames")
        elif self._works and not works:
            log.warning("super-frames are cut here from now on: %s", _SWALLOWED)
        self._works = works
