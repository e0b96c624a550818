"""Token buckets: how much of something a port may do per second, and how much at once."""

from __future__ import annotations


class Bucket:
    """``rate`` tokens a second up to ``burst``; starts full. Times are the caller's monotonic seconds."""

    __slots__ = ("burst", "rate", "stamp", "tokens")

    def __init__(self, rate: float, burst: float, now: float = 0.0) -> None:
        self.rate = rate
        self.burst = burst
        self.tokens = burst
        self.stamp = now

    def take(self, n: float, now: float) -> bool:
        """Take ``n`` tokens, or none and False. More than ``burst`` at once is let through only from a full bucket,
        and is owed: so one super-frame larger than the burst still passes, at the right rate."""
        tokens = self.tokens + (now - self.stamp) * self.rate
        self.stamp = now
        if tokens > self.burst:
            tokens = self.burst
        if tokens < n and tokens < self.burst:
            self.tokens = tokens
            return False
        self.tokens = tokens - n
        return True
