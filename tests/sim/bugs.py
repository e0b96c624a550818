"""Exceptions that a switch survives and logs: an operator may live with them, a simulation must not."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator

from vxswitch.errors import VxswitchError

_FORESEEN = (VxswitchError, OSError, TimeoutError)


class Bugs(logging.Handler):
    """Tells ``say`` of every exception that is logged as an error and that no caller is meant to expect."""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__(logging.ERROR)
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, Exception) and not isinstance(error, _FORESEEN):
            self._say(f"a bug: {record.getMessage()}: {error!r}")


@contextlib.contextmanager
def told_to(say: Callable[[str], None]) -> Iterator[None]:
    """While this lasts."""
    log, bugs = logging.getLogger("vxswitch"), Bugs(say)
    log.addHandler(bugs)
    try:
        yield
    finally:
        log.removeHandler(bugs)
