"""How long a command waits for the store: as long as a person would, and not longer.

What was not answered by then is done later, by whoever keeps the journal of it; the command says what is pending.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from vxswitch.errors import StoreUnavailableError

PATIENCE = 3.0  # seconds

T = TypeVar("T")


def deadline(patience: float = PATIENCE) -> float:
    """When patience that begins now ends, by the loop's clock."""
    return asyncio.get_running_loop().time() + patience


async def patiently(waiting: Awaitable[T], until: float) -> T:
    """Await the store, but not beyond the loop's time ``until``; StoreUnavailableError then."""
    try:
        async with asyncio.timeout_at(until):
            return await waiting
    except TimeoutError:
        raise StoreUnavailableError("the store has not answered in time") from None
