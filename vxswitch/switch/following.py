"""The underlay as the kernel changes it: addresses, devices, MTU; seen as it happens, at most twice a second.

    the kernel has news -> our VTEP addresses (sockets closed and made again) -> their devices
                        -> sizes of probes, MTUs of networks that follow, and of their ports

The addresses are looked at by the clock, too (``serving``), as a duplicate address detection may end without news.
"""

from __future__ import annotations

import asyncio

from vxswitch.attach import news, underlay
from vxswitch.control.doors import Device
from vxswitch.control.views import Rooms
from vxswitch.errors import VxswitchError
from vxswitch.model import Vtep

PAUSE = 0.5  # seconds between two looks: an interface that is set up makes a dozen messages


def find(vtep: Vtep) -> Device | None:
    """The device that has our VTEP's address now; None: none has, or the kernel does not tell. May block."""
    try:
        return Device(*underlay.device_of(vtep.address))
    except VxswitchError:
        return None


async def follow(rooms: Rooms) -> None:
    """For ever."""
    loop = asyncio.get_running_loop()
    stirred = asyncio.Event()
    with news.open_news() as sock:

        def readable() -> None:
            news.drain(sock)
            stirred.set()

        loop.add_reader(sock, readable)
        try:
            while True:
                await look(rooms)
                await asyncio.sleep(PAUSE)
                await stirred.wait()
                stirred.clear()
        finally:
            loop.remove_reader(sock)


async def look(rooms: Rooms) -> None:
    """Once."""
    rooms.vteps.check()
    if await rooms.devices.look():
        rooms.prober.resize(rooms.devices.mtu_by_family)
        await rooms.networks.resize()
