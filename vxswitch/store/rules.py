"""The constants and timers of the control plane, and the clocks, in one place that every store reads.

Times are in seconds. Tests divide the timers; a running switch takes lease, beat and grace from its configuration.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

BATCH = 64  # claims a script call: bounds how long one call keeps the server from others
FIRST_VNI = 4096  # allocated VNIs begin here, so that low numbers stay free for those that are chosen by hand
LOG_LENGTH = 4096  # changes that a slow reader may lag behind before it needs a snapshot
MAX_IPS = 32  # addresses that travel with one row: keeps a row far under the 2048 bytes that are accepted


@dataclass(frozen=True, slots=True)
class Clock:
    """``monotonic`` for periods, ``wall`` for what people read (seconds since 1970)."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time


@dataclass(frozen=True, slots=True)
class Rules:
    """How long, how many. Duplicate detection has the constants of RFC 7432 section 15.1 (N = 5, M = 180 s)."""

    lease: float = 3.0
    beat: float = 1.0
    grace: float = 60.0  # a node's rows are deleted when its lease has been out for so long
    hold_down: float = 1.0  # a plain frame may not take a MAC that moved so recently
    quarantine: float = 60.0  # a released address is not handed to another owner for so long
    contested_moves: int = 5
    contested_window: float = 180.0
    freeze: float = 1800.0
    max_rows: int = 16384  # per VNI
    connect_timeout: float = 2.0
    command_timeout: float = 2.0
    backoff_max: float = 1.0  # the longest pause between attempts to connect

    @property
    def spread(self) -> float:
        """Over how long all nodes spread their return to a store that lost its data: it has room for all of them."""
        return self.beat / 2

    @property
    def come_back(self) -> float:
        """How long an owner may need to claim again after the store lost its data: until then nothing is withdrawn.

        One lease period at least; the last attempt to connect may have begun just before the store came back.
        """
        return self.lease + self.connect_timeout + self.backoff_max
