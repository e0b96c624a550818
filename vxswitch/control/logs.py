"""Log lines on stderr: for people on a terminal, as JSON elsewhere, and never more of one kind than can be read.

Every room logs by the standard ``logging``: the message's template is the event, its first argument is the object
that it is about. Per (event, object) ``BURST`` lines pass, then one every ``PAUSE`` seconds, which says how many were
left out. The table of pairs is bounded: whoever invents objects (a MAC, a peer) meets one shared allowance per event.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from typing import Literal, TextIO

BURST = 5
PAUSE = 10.0  # seconds
_MAX_PAIRS = 1024

Format = Literal["auto", "human", "json"]


class RateLimit(logging.Filter):
    """Lets a line pass or not; adds ``suppressed`` to the one that passes after others did not."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._seen: dict[tuple[str, str], tuple[float, int, int]] = {}  # since, lines passed, lines left out

    def filter(self, record: logging.LogRecord) -> bool:
        """The standard's hook."""
        now = self._clock()
        key = (str(record.msg), _object_of(record))
        if key not in self._seen and len(self._seen) >= _MAX_PAIRS:
            self._forget_old(now)
            if len(self._seen) >= _MAX_PAIRS:
                key = (str(record.msg), "")
        since, passed, left_out = self._seen.get(key, (now, 0, 0))
        if now - since >= PAUSE:
            since, passed = now, BURST - 1 if left_out else 0
        if passed >= BURST:
            self._seen[key] = (since, passed, left_out + 1)
            return False
        record.suppressed = left_out
        self._seen[key] = (since, passed + 1, 0)
        return True

    def _forget_old(self, now: float) -> None:
        self._seen = {key: seen for key, seen in self._seen.items() if now - seen[0] < PAUSE or seen[2]}


class HumanFormatter(logging.Formatter):
    """``12:30:01 WARNING store: the text (17 more)``."""

    def format(self, record: logging.LogRecord) -> str:
        """The standard's hook."""
        when = time.strftime("%H:%M:%S", time.localtime(record.created))
        text = f"{when} {record.levelname:<7} {_room(record)}: {record.getMessage()}{_more(record)}"
        return text + ("\n" + self.formatException(record.exc_info) if record.exc_info else "")


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (seconds since 1970), level, room, event, message."""

    def format(self, record: logging.LogRecord) -> str:
        """The standard's hook."""
        line: dict[str, object] = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "room": _room(record),
            "event": str(record.msg),
            "message": record.getMessage(),
        }
        if suppressed := getattr(record, "suppressed", 0):
            line["suppressed"] = suppressed
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def setup(level: str, form: Format, stream: TextIO | None = None) -> None:
    """Log the switch's own rooms to ``stream`` (stderr); other libraries from warnings on."""
    out = stream if stream is not None else sys.stderr
    human = form == "human" or (form == "auto" and out.isatty())
    handler = logging.StreamHandler(out)
    handler.setFormatter(HumanFormatter() if human else JsonFormatter())
    handler.addFilter(RateLimit())
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    set_level(level)


def set_level(level: str) -> None:
    """Change what is logged of the switch's own rooms."""
    logging.getLogger("vxswitch").setLevel(level.upper())


def _room(record: logging.LogRecord) -> str:
    return record.name.removeprefix("vxswitch.")


def _object_of(record: logging.LogRecord) -> str:
    return str(record.args[0])[:128] if isinstance(record.args, tuple) and record.args else ""


def _more(record: logging.LogRecord) -> str:
    suppressed = getattr(record, "suppressed", 0)
    return f" ({suppressed} more like it)" if suppressed else ""
