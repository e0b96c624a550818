"""How long a claim takes from its owner to our table: a histogram, for metrics and ``vxswitch stats``.

A row carries ``since``, the store's clock at the moment when its owner's claim was granted; it stays when the same
owner claims again. When a row with another ``since`` is installed here, the store's clock now (ours, corrected by the
difference that the last heartbeat measured) less ``since`` is what it took. Only rows that come as single changes
count: those of a snapshot may be as old as they like.

The buckets reach from a millisecond, about the heartbeat of a store nearby, to the time that a lost store may cost.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import Any

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)  # seconds


class Convergence:
    """``wall``: seconds since 1970 by our clock; ``offset``: the store's clock less ours, seconds, None unknown."""

    def __init__(self, wall: Callable[[], float], offset: Callable[[], float | None]) -> None:
        self.total = 0.0  # seconds, over all rows
        self.counts = [0] * (len(BOUNDS) + 1)  # per bucket, the last one without a bound
        self._wall = wall
        self._offset = offset

    def installed(self, since: float) -> None:
        """A row with this ``since`` stands in our table now. A store whose clock is not known yet measures nothing."""
        offset = self._offset()
        if offset is None or since <= 0.0:
            return
        seconds = max(0.0, self._wall() + offset - since)
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds

    def quantile(self, share: float) -> float | None:
        """Seconds within which this share of the rows arrived, to the bucket's upper bound; None without any row."""
        wanted = share * sum(self.counts)
        below = 0
        for bound, count in zip((*BOUNDS, float("inf")), self.counts, strict=True):
            below += count
            if count and below >= wanted:
                return bound
        return None

    def view(self) -> dict[str, Any]:
        """As ``vxswitch stats`` shows it. A quantile beyond the last bound is None: more than a minute."""
        p50, p99 = (self.quantile(share) for share in (0.5, 0.99))
        return {
            "rows": sum(self.counts),
            "p50": p50 if p50 != float("inf") else None,
            "p99": p99 if p99 != float("inf") else None,
        }

    def buckets(self) -> list[tuple[str, float]]:
        """Prometheus's cumulative buckets: upper bound as text, and how many rows came within it."""
        below, out = 0, []
        for bound, count in zip((*map(str, BOUNDS), "+Inf"), self.counts, strict=True):
            below += count
            out.append((bound, float(below)))
        return out
