from __future__ import annotations

import pytest

from tests.control.world import vtep
from vxswitch.control.devices import Devices
from vxswitch.control.doors import Device
from vxswitch.fdb import Table
from vxswitch.model import Vtep

FOUR, SIX = vtep("192.0.2.1"), vtep("[2001:db8::1]:4789")


class House:
    """Two VTEPs whose devices the test changes; None: no such address."""

    def __init__(self) -> None:
        self.now: dict[Vtep, Device | None] = {FOUR: Device("eth0", 1500, True), SIX: Device("eth1", 1500, True)}
        devices = [device for device in self.now.values() if device is not None]
        self.devices = Devices((FOUR, SIX), devices, lambda one: self.now[one])

    async def look(self, four: Device | None, six: Device | None) -> bool:
        self.now = {FOUR: four, SIX: six}
        return await self.devices.look()


def test_the_smallest_counts_with_its_own_overhead() -> None:
    house = House()
    assert house.devices.mtu == 1500 - 70
    assert house.devices.mtu_by_family == {FOUR.family: 1500, SIX.family: 1500}
    assert Devices([FOUR], [Device("eth0", 60, True)]).mtu == 68, "no less than RFC 791 wants"


async def test_what_is_different_is_told_and_counts(caplog: pytest.LogCaptureFixture) -> None:
    house, red = House(), Table("red", 7, mtu=1430)
    same = Device("eth1", 1500, True)
    assert not await house.look(Device("eth0", 1500, True), same) and caplog.text == ""
    assert await house.look(Device("eth0", 1400, True), same)
    assert (house.devices.mtu, house.devices.mtu_by_family[FOUR.family]) == (1350, 1400)
    assert house.devices.degraded([red]) == ["underlay_mtu"]
    assert "eth0 of VTEP 192.0.2.1:4789: its MTU is 1400 now, was 1500" in caplog.text
    assert await house.look(Device("br0", 1500, False), same)
    assert house.devices.degraded([red]) == ["underlay_down"]
    assert "is on br0 now, was on eth0" in caplog.text and "br0 of VTEP 192.0.2.1:4789 is down" in caplog.text
    assert house.devices.view()[0] == {"vtep": "192.0.2.1:4789", "ifname": "br0", "mtu": 1500, "up": False}


async def test_an_address_that_is_away_changes_nothing() -> None:
    house = House()
    assert not await house.look(None, None)
    assert house.devices.mtu == 1430 and house.devices.degraded([]) == []
