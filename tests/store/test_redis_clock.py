"""The server's clock leaps: a real server, whose time libfaketime makes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.store.conftest import RedisWorld, redis_world
from tests.store.nodes import FAST, mac
from tests.store.servers import Server, granted, until

VNI = 4096


@pytest.fixture
def clocked(tmp_path: Path) -> Iterator[Server]:
    """A server whose clock the test sets, by ``set_clock``. (The libraries of Debian's Redis do not bear that.)"""
    (tmp_path / "clock").write_text("+0\n")
    settings = {
        "LD_PRELOAD": next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")),
        "FAKETIME_TIMESTAMP_FILE": tmp_path / "clock",
        "FAKETIME_NO_CACHE": 1,
        "FAKETIME_DONT_FAKE_MONOTONIC": 1,
    }
    server = Server("valkey", tmp_path, enter=("env", *(f"{key}={value}" for key, value in settings.items())))
    yield server
    server.kill()


@pytest.fixture
async def timeless(clocked: Server) -> AsyncIterator[RedisWorld]:
    """Nodes on that server."""
    world = redis_world(clocked, replace(FAST, beat=0.1, lease=0.5, grace=0.5))
    yield world
    await world.close()


def set_clock(world: RedisWorld, offset: int) -> None:
    """The server's clock leaps to so many seconds off the right time."""
    new = world.server.directory / "clock.new"
    new.write_text(f"{offset:+d}\n")
    new.rename(world.server.directory / "clock")


async def test_the_stores_clock_leaps_back_and_forth(timeless: RedisWorld) -> None:
    one, two, dead = [await timeless.member(name, VNI) for name in ("one", "two", "dead")]
    for number, node in ((1, one), (2, two), (7, dead)):
        await granted(lambda node=node, number=number: node.attach(VNI, number))
    timeless.server.admin.zadd(timeless.keys.heard, {"dead": 2e12})
    await until(lambda: one.live() == {"one", "two", "dead"} and mac(7) in one.table(VNI).rows)
    await dead.close()
    set_clock(timeless, -3600)
    await until(lambda: one.leases and one.leases.trusted and one.live() == {"one", "two"})
    await until(one.has(VNI, {1: "one", 2: "two"}))
    taken = await two.attach(VNI, 1, "frame")
    assert (taken.refused, taken.row and taken.row.node) == (None, "two")
    one.ports[VNI].clear()
    said = len(one.events)
    set_clock(timeless, 7200)
    await until(lambda: any(not getattr(event, "trusted", True) for event in one.events[said:]))
    await until(lambda: one.leases and one.leases.trusted)
    told = [event for event in one.events[said:] if getattr(event, "trusted", False)]
    assert all(event.seconds_left.keys() == {"one", "two"} for event in told)
    assert one.owners(VNI) == {1: "two", 2: "two"}
