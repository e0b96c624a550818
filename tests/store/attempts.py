"""How often nodes try to connect, as the tests see it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

import pytest

from vxswitch.store.redis_connect import Link, LinkDownError


class Attempts:
    """The times of all attempts to open a link that failed, by address."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._failed: defaultdict[str, list[float]] = defaultdict(list)
        opens = Link.open

        async def noted(*words: Any) -> Link:
            begun = asyncio.get_running_loop().time()
            try:
                return await opens(*words)
            except LinkDownError:
                self._failed[words[0].shown].append(begun)
                raise

        monkeypatch.setattr(Link, "open", noted)

    def most_in_a_second(self, *, nodes: int) -> float:
        """The most that failed at one address within any second, per node."""
        most = 0
        for times in self._failed.values():
            most = max(most, *(sum(start <= time < start + 1.0 for time in times) for start in times))
        return most / nodes
