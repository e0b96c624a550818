from __future__ import annotations

import asyncio

import pytest

from vxswitch.control import background
from vxswitch.control.background import Supervisor


async def within(condition: asyncio.Event) -> None:
    async with asyncio.timeout(10):
        await condition.wait()


async def test_a_task_that_fails_is_told_and_started_again(caplog: pytest.LogCaptureFixture) -> None:
    supervisor, alive = Supervisor(shortest=0.001), asyncio.Event()
    runs = 0

    async def work() -> None:
        nonlocal runs
        runs += 1
        if runs < 3:
            raise RuntimeError(f"failure {runs}")
        alive.set()
        await asyncio.Event().wait()

    supervisor.start("work", work)
    await within(alive)
    assert supervisor.restarts == {"work": 2} and not supervisor.fatal.is_set()
    assert "failure 1" in caplog.text and "failure 2" in caplog.text
    await supervisor.stop()


async def test_a_task_that_ends_is_started_again_too() -> None:
    supervisor, again = Supervisor(shortest=0.001), asyncio.Event()

    async def work() -> None:
        if supervisor.restarts["work"]:
            again.set()

    supervisor.start("work", work)
    await within(again)
    await supervisor.stop()


async def test_a_task_that_cannot_live_is_fatal() -> None:
    supervisor = Supervisor(shortest=1e-6)

    async def work() -> None:
        raise RuntimeError("never")

    supervisor.start("work", work)
    await within(supervisor.fatal)
    assert supervisor.restarts["work"] == background.TRIES
    await supervisor.stop()


async def test_stop_ends_everything_and_waits_for_it() -> None:
    supervisor, ended = Supervisor(), asyncio.Event()
    begun = asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.set()

    supervisor.start("work", work)
    supervisor.start("other", lambda: asyncio.sleep(3600))
    await within(begun)
    await supervisor.stop()
    assert ended.is_set()


async def test_repeated_work_is_called_again_and_again() -> None:
    supervisor, third = Supervisor(shortest=0.001), asyncio.Event()
    calls = 0

    def work() -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise RuntimeError("once")
        if calls == 4:
            third.set()

    supervisor.every(lambda: 0.001, "repeat", work)
    await within(third)
    assert supervisor.restarts["repeat"] == 1
    await supervisor.stop()
