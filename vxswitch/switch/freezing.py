"""Keeping the tables out of the garbage collector's way.

CPython's collector looks at every container object whenever enough new ones have come: with 10^5 rows that holds the
loop, and every frame, for 100 ms. Rows have no cycles and die by their reference counts, so nothing is lost by taking
them from its sight (``gc.freeze``, which costs nothing), a few thousand at a time as they come. A cycle of garbage that
is there in that very moment stays for good; those are few and small.
"""

from __future__ import annotations

import gc

from vxswitch.model import Event, Snapshot

ROWS = 4096  # between two freezes: the collector takes about 3 ms for so many


class Freezer:
    """Counts what events bring, and freezes."""

    def __init__(self) -> None:
        self._fresh = 0

    def note(self, event: Event) -> None:
        """An event has been applied."""
        self._fresh += len(event.rows) if isinstance(event, Snapshot) else 1
        if self._fresh >= ROWS:
            self._fresh = 0
            gc.freeze()
