from __future__ import annotations

import asyncio
import contextvars
import random
from collections.abc import Coroutine
from typing import Any

import pytest

from tests.sim.loop import OWNER, Livelock, Owner, SimLoop


def play(work: Coroutine[Any, Any, Any], seed: int = 0) -> Any:
    loop = SimLoop(random.Random(seed))
    try:
        return loop.run_until_complete(work)
    finally:
        loop.discard()


def owned(owner: Owner) -> contextvars.Context:
    context = contextvars.copy_context()
    context.run(OWNER.set, owner)
    return context


def test_an_hour_passes_at_once() -> None:
    async def work() -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await asyncio.sleep(3600)
        return loop.time() - began

    assert play(work()) == pytest.approx(3600)


def test_timeouts_are_virtual_too() -> None:
    async def work() -> None:
        async with asyncio.timeout(1e6):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        play(work())


def test_the_seed_decides_the_order() -> None:
    async def work() -> tuple[int, ...]:
        said: list[int] = []
        for n in range(6):
            asyncio.get_running_loop().call_soon(said.append, n)
        await asyncio.sleep(1)
        return tuple(said)

    orders = {play(work(), seed) for seed in range(20)}
    assert len(orders) > 10 and play(work(), 3) == play(work(), 3)


def test_who_is_paused_does_nothing_until_it_is_resumed() -> None:
    async def work() -> list[float]:
        loop: Any = asyncio.get_running_loop()
        owner, ran = Owner("h1"), []
        loop.call_later(1, lambda: ran.append(loop.time() - 1000.0), context=owned(owner))
        loop.pause(owner)
        await asyncio.sleep(5)
        assert ran == []
        loop.resume(owner)
        await asyncio.sleep(1)
        return ran

    assert play(work()) == [5.0]


def test_what_the_dead_had_left_to_do_never_runs() -> None:
    async def work() -> list[int]:
        owner, ran = Owner("h1"), []
        asyncio.get_running_loop().call_later(1, ran.append, 1, context=owned(owner))
        owner.dead = True
        await asyncio.sleep(5)
        return ran

    assert play(work()) == []


def test_tasks_hand_their_owner_on() -> None:
    async def work() -> str:
        async def inner() -> str:
            owner = OWNER.get()
            return owner.name if owner is not None else "nobody"

        async def outer() -> str:
            return await asyncio.create_task(inner())

        return await asyncio.get_running_loop().create_task(outer(), context=owned(Owner("h1")))

    assert play(work()) == "h1"


def test_threads_are_callbacks() -> None:
    async def work() -> int:
        return await asyncio.to_thread(lambda: 7)

    assert play(work()) == 7


def test_spinning_is_noticed() -> None:
    async def work() -> None:
        while True:  # noqa: ASYNC110
            await asyncio.sleep(0)

    with pytest.raises(Livelock):
        play(work())
