"""An event loop whose time is a number and whose order is a die.

No clock, no selector, no thread. When nothing is ready, time jumps to the next timer. What is ready at one instant runs
in an order that the seed decides: whatever the code takes for granted about the order of callbacks, it loses here.

Every callback belongs to the ``Owner`` in whose context it was scheduled (tasks hand their context on). An owner that
is paused runs nothing: what became due meanwhile waits, as in a stopped process, and runs at ``resume``. What a dead
one had left to do never runs. Work for threads (``asyncio.to_thread``) is done as a callback of its owner.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import random
from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context
from itertools import count
from typing import Any

IDLE_LIMIT = 20_000  # callbacks at one instant: beyond that somebody spins


class Owner:
    """A simulated process: what it has scheduled runs, waits, or is void."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.paused = False
        self.dead = False
        self.parked: list[Due] = []


OWNER: ContextVar[Owner | None] = ContextVar("owner", default=None)


class Livelock(RuntimeError):
    """Callbacks follow each other and time does not pass."""


class Due:
    """What asyncio's Handle and TimerHandle are to it: something to run, which may be cancelled."""

    __slots__ = ("args", "call", "cancelled", "context", "when")

    def __init__(
        self, call: Callable[..., object], args: tuple[object, ...], context: Context | None, when: float
    ) -> None:
        self.call = call
        self.args = args
        self.context = copy_context() if context is None else context
        self.when = when
        self.cancelled = False

    def cancel(self) -> None:
        """It will not run; a timer stays in the heap until its time."""
        self.cancelled = True


class SimLoop(asyncio.BaseEventLoop):
    """See the head of this file. ``errors``: what callbacks and tasks raised and nobody caught."""

    def __init__(self, seed: random.Random, start: float = 1000.0) -> None:
        super().__init__()
        self.random = seed
        self.now = start
        self.errors: list[str] = []
        self.set_exception_handler(lambda _, context: self.errors.append(_told(context)))
        self._kept: list[asyncio.Task[Any]] = []
        self._soon: list[Due] = []
        self._timers: list[tuple[float, int, Due]] = []  # a heap; the number keeps it from comparing what is due
        self._numbers = count()
        self.set_task_factory(self._make_task)

    def time(self) -> float:
        return self.now

    def pause(self, owner: Owner) -> None:
        """SIGSTOP."""
        owner.paused = True

    def resume(self, owner: Owner) -> None:
        """SIGCONT: what became due meanwhile is due now."""
        owner.paused = False
        self._soon.extend(owner.parked)
        owner.parked.clear()

    # -- scheduling ------------------------------------------------------------------------------------------------

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> Any:
        due = Due(callback, args, context, self.now)
        self._soon.append(due)
        return due

    def call_at(self, when: float, callback: Any, *args: Any, context: Context | None = None) -> Any:
        due = Due(callback, args, context, when)
        heapq.heappush(self._timers, (when, next(self._numbers), due))
        return due

    def call_later(self, delay: float, callback: Any, *args: Any, context: Context | None = None) -> Any:
        return self.call_at(self.now + delay, callback, *args, context=context)

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
        """The run is over: forget all that is pending, without the warnings.

        From the outside in, while the tasks are held: where the garbage collector ends what a task was waiting in
        before the task itself, CPython 3.11 may look into a coroutine that runs just then, and crash.
        """
        for task in self._kept:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            work: Any = task.get_coro()
            with contextlib.suppress(Exception):  # nobody is there any more to care
                work.close()
        self._soon.clear()
        self._timers.clear()
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
        """Run until somebody says stop, not only once: asyncio asks nothing in between."""
        at_once = 0
        while not self._stopping:
            if not self._soon:
                self._pass_time()
                at_once = 0
            batch, self._soon = self._soon, []
            if len(batch) > 1:
                self.random.shuffle(batch)
            at_once += len(batch)
            if at_once > IDLE_LIMIT:
                raise Livelock(f"time stands still at {self.now}: {[due.call for due in batch[:3]]}")
            for due in batch:
                if not due.cancelled:
                    self._run(due)

    def _pass_time(self) -> None:
        """Nothing is ready: go to the next time at which something is."""
        timers = self._timers
        while timers and timers[0][2].cancelled:
            heapq.heappop(timers)
        if not timers:
            raise RuntimeError("nothing is left to happen")
        self.now = max(self.now, timers[0][0])
        while timers and timers[0][0] <= self.now:
            self._soon.append(heapq.heappop(timers)[2])

    def _run(self, due: Due) -> None:
        context = due.context
        owner = context.get(OWNER)
        if owner is not None and (owner.paused or owner.dead):
            if not owner.dead:
                owner.parked.append(due)
            return
        try:
            context.run(due.call, *due.args)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self.call_exception_handler({"message": f"callback {due.call}", "exception": error})

    def _process_events(self, event_list: Any) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody else is there to be woken by."""


def _told(context: dict[str, Any]) -> str:
    error = context.get("exception")
    return f"{context.get('message')}: {error!r}"
