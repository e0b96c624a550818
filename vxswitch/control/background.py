"""Tasks that have to live as long as the switch: told when they fail, started again, and fatal when they cannot live.

A task that fails is logged with its traceback and started again after a pause that doubles up to ``LONGEST`` seconds;
one that had lived for a while begins with the shortest again. After ``TRIES`` failures in a row there is nothing left
to hope for: ``fatal`` is set, and the switch ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

SHORTEST, LONGEST = 0.1, 5.0  # seconds
TRIES = 10
HEALTHY = 30.0  # seconds of life after which a failure is the first one again


class Supervisor:
    """Starts tasks and keeps them alive until ``stop``."""

    def __init__(self, *, shortest: float = SHORTEST) -> None:
        self.fatal = asyncio.Event()
        self.restarts: dict[str, int] = {}
        self._shortest = shortest
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Run ``work()`` for ever under this name."""
        self.restarts[name] = 0
        self._tasks.append(asyncio.get_running_loop().create_task(self._keep(name, work), name=name))

    def every(self, seconds: Callable[[], float], name: str, work: Callable[[], None]) -> None:
        """Call ``work`` again and again, with a pause of ``seconds()``."""

        async def repeat() -> None:
            while True:
                await asyncio.sleep(seconds())
                work()

        self.start(name, repeat)

    async def stop(self) -> None:
        """Cancel all and wait for their end."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._tasks.clear()

    async def _keep(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        while failures < TRIES:
            began = loop.time()
            try:
                await work()
                log.error("task %s has ended, though it never should: starting it again", name)
            except Exception:
                log.exception("task %s has failed: starting it again", name)
            self.restarts[name] += 1
            failures = 1 if loop.time() - began > HEALTHY else failures + 1
            await asyncio.sleep(min(LONGEST, self._shortest * 2 ** (failures - 1)))
        log.critical("task %s cannot live: giving up", name)
        self.fatal.set()
