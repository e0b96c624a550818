"""An event loop whose time is a number and whose order is a die.

No clock, no selector, no thread. When nothing is ready, time jumps to the next timer. What is ready at one instant runs
in an order that the seed decides: whatever the code takes for granted about the order of callbacks, it loses here.

Every callback belongs to the ``Owner`` in whose context it was scheduled (tasks hand their context on). An owner that
is paused runs nothing: what became due meanwhile waits, as in a stopped process, and runs at ``resume``. What a dead
one had left to do never runs. Work for threads (``asyncio.to_thread``) is done as a callback of its owner.
"""

from __future__ import annotations

import asyncio
import heapq
import inspect
import random
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

IDLE_LIMIT = 20_000  # callbacks at one instant: beyond that somebody spins


class Owner:
    """A simulated process: what it has scheduled runs, waits, or is void."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.paused = False
        self.dead = False
        self.parked: list[asyncio.Handle] = []


OWNER: ContextVar[Owner | None] = ContextVar("owner", default=None)


class Livelock(RuntimeError):
    """Callbacks follow each other and time does not pass."""


class SimLoop(asyncio.BaseEventLoop):
    """See the head of this file. ``errors``: what callbacks and tasks raised and nobody caught."""

    def __init__(self, seed: random.Random, start: float = 1000.0) -> None:
        super().__init__()
        self.random = seed
        self.now = start
        self.errors: list[str] = []
        self.set_exception_handler(lambda _, context: self.errors.append(_told(context)))
        self._kept: list[asyncio.Task[Any]] = []
        self._at_once = 0
        self.set_task_factory(self._make_task)

    def time(self) -> float:
        return self.now

    def pause(self, owner: Owner) -> None:
        """SIGSTOP."""
        owner.paused = True

    def resume(self, owner: Owner) -> None:
        """SIGCONT: what became due meanwhile is due now."""
        owner.paused = False
        self._ready.extend(owner.parked)
        owner.parked.clear()

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        """No threads: a callback does it, later at the same instant."""
        future = self.create_future()

        def work() -> None:
            try:
                result = func(*args)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        self.call_soon(work)
        return future

    def discard(self) -> None:
        """The run is over: forget all that is pending, without the warnings."""
        for task in self._kept:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            work: Any = task.get_coro()
            if inspect.getcoroutinestate(work) == inspect.CORO_CREATED:
                work.close()
        self._ready.clear()
        self._scheduled.clear()
        self._kept.clear()
        self.close()

    def _check_closed(self) -> None:
        """What ends with the garbage may still schedule something: it will not run."""

    # -- what BaseEventLoop leaves to its subclasses ---------------------------------------------------------------

    def _make_task(self, loop: Any, work: Any, **options: Any) -> Any:
        task = asyncio.Task(work, loop=loop, **options)
        self._kept.append(task)  # what a dead process was doing must not end when the garbage is collected
        return task

    def _asyncgen_finalizer_hook(self, agen: Any) -> None:
        """Not closed by the loop: that would come at a moment that the seed does not decide."""

    def _run_once(self) -> None:
        timers, ready = self._scheduled, self._ready
        while timers and timers[0]._cancelled:
            heapq.heappop(timers)._scheduled = False
        if not ready:
            if not timers:
                raise RuntimeError("nothing is left to happen")
            self.now, self._at_once = max(self.now, timers[0]._when), 0
        while timers and timers[0]._when <= self.now:
            due = heapq.heappop(timers)
            due._scheduled = False
            ready.append(due)
        batch = list(ready)
        ready.clear()
        if len(batch) > 1:
            self.random.shuffle(batch)
        self._at_once += len(batch)
        if self._at_once > IDLE_LIMIT:
            raise Livelock(f"time stands still at {self.now}: {batch[:3]}")
        for handle in batch:
            self._run_handle(handle)

    def _run_handle(self, handle: asyncio.Handle) -> None:
        if handle._cancelled:
            return
        owner = handle._context.get(OWNER)
        if owner is None or not (owner.paused or owner.dead):
            handle._run()
        elif not owner.dead:
            owner.parked.append(handle)

    def _process_events(self, event_list: Any) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody else is there to be woken by."""


def _told(context: dict[str, Any]) -> str:
    error = context.get("exception")
    return f"{context.get('message')}: {error!r}"
