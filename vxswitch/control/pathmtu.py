"""How long a datagram gets through to one VTEP: a search by padded probes with DF set (RFC 8899 section 5.3).

First the full size of our own device is tried. Only if that is refused, three times in a row while shorter probes are
answered, the limit is searched for by halving. Once it is found, the full size and the limit are tried in turn, so that
a path that grows is noticed, and one that shrinks is searched again. Sizes are bytes of UDP payload.
"""

from __future__ import annotations

from vxswitch.wire import probe

TRIES = 3  # MAX_PROBES of RFC 8899 section 5.1.2


class PathMtu:
    """One path. ``full``: the longest that our own device takes."""

    __slots__ = ("_misses", "_turn", "full", "proved", "refused")

    def __init__(self, full: int) -> None:
        self.full = full
        self.proved: int | None = None  # the longest that was answered
        self.refused: int | None = None  # the shortest that was not
        self._misses: dict[int, int] = {}
        self._turn = False

    @property
    def limit(self) -> int | None:
        """What gets through; None as long as that is being found out."""
        return None if self.refused is not None and self._gap() > 1 else self.proved

    @property
    def in_doubt(self) -> bool:
        """More is to be asked soon."""
        return self.limit is None or bool(self._misses)

    def next(self) -> int:
        """What to try."""
        if self.refused is None:
            return self.full
        if self._gap() > 1:
            return self._low() + self._gap() // 2
        self._turn = not self._turn
        return self._low() if self._turn else self.full

    def answered(self, size: int) -> None:
        """So much gets through."""
        self._misses.pop(size, None)
        self.proved = max(size, self._low())
        if self.refused is not None and self.refused <= size:
            self.refused = None

    def missed(self, size: int, *, surely: bool = False) -> None:
        """No answer; ``surely``: our own device refused it."""
        misses = self._misses.get(size, 0) + 1
        if misses < TRIES and not surely:
            self._misses[size] = misses
            return
        self._misses.clear()
        if self.refused is None or size < self.refused:
            self.refused = size
        if self.proved is not None and self.proved >= size:
            self.proved = None

    def _low(self) -> int:
        return probe.LEN if self.proved is None else self.proved

    def _gap(self) -> int:
        return 0 if self.refused is None else self.refused - self._low()
