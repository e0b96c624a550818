from __future__ import annotations

import errno
import logging

import pytest

from tests.control.world import FakePlane, vtep
from vxswitch.control.vteps import VtepWatch, bindable
from vxswitch.fdb import Fdb
from vxswitch.model import Vtep

FOUR, SIX = vtep("192.0.2.1"), vtep("2001:db8::1")


class House:
    def __init__(self) -> None:
        self.plane, self.here = FakePlane(Fdb()), {FOUR, SIX}
        self.watch = VtepWatch(self.plane, [FOUR, SIX], lambda one: one in self.here)

    def check(self, *here: Vtep) -> list[str]:
        self.here = set(here)
        self.watch.check()
        return self.watch.degraded


def test_while_all_are_here_nothing_is_touched() -> None:
    house = House()
    assert house.check(FOUR, SIX) == []
    assert house.plane.vteps == ()


def test_an_address_that_vanishes_closes_its_sockets_and_degrades(caplog: pytest.LogCaptureFixture) -> None:
    house = House()
    assert house.check(FOUR) == ["no_vtep_address"]
    assert list(house.plane.vteps) == [FOUR]
    assert "2001:db8::1 has vanished" in caplog.text
    assert house.check() == ["no_vtep_address"] and list(house.plane.vteps) == []


def test_an_address_that_returns_gets_its_sockets_back_in_order(caplog: pytest.LogCaptureFixture) -> None:
    house = House()
    house.check()
    with caplog.at_level(logging.WARNING):
        assert house.check(SIX, FOUR) == []
    assert house.plane.vteps == (FOUR, SIX) and "is back" in caplog.text


def test_sockets_that_cannot_be_made_are_tried_again() -> None:
    house = House()
    house.check(FOUR)
    house.plane.refuses = OSError(errno.EADDRINUSE, "in use")
    assert house.check(FOUR, SIX) == ["no_vtep_address"]
    house.plane.refuses = None
    assert house.check(FOUR, SIX) == []


def test_the_kernel_says_whether_an_address_is_here() -> None:
    assert bindable(vtep("127.0.0.1"))
    assert not bindable(vtep("192.0.2.1"))  # RFC 5737: documentation, on no host
