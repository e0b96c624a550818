"""Waiting, in a loop, for what no event tells of: what other processes and servers have come to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], bool], seconds: float, interval: float = 0.005) -> None:
    """Return when it holds; TimeoutError after so many seconds."""
    async with asyncio.timeout(seconds):
        while True:
            if condition():
                return
            await asyncio.sleep(interval)
