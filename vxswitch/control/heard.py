"""What is known of one VTEP by its answers to probes: whether it lives, how far it is, how much is lost on the way.

    alive   None: it never answered (*unprobed*) · True: it answers · False: it did, and then missed three in a row

A probe that is only padded, to try the path's MTU, says nothing when it is lost: it stands in no count here.
"""

from __future__ import annotations

import socket
from collections import deque

from vxswitch.control.pathmtu import PathMtu
from vxswitch.wire.probe import NOBODY, Identity

MISSES = 3
WINDOW = 64  # probes that the loss is taken over
_SMOOTH = 1 / 8  # RFC 6298 section 2, alpha
_LATE = 16  # probes later an answer is too late


def ip_udp_headers(family: int) -> int:
    """What IP and UDP headers add to a UDP payload, bytes."""
    return 48 if family == socket.AF_INET6 else 28


class Heard:
    """One VTEP. Times are monotonic seconds; ``patience``: for how long one answer shows that it lives."""

    __slots__ = (
        "_asked",
        "_fates",
        "_open",
        "alive",
        "last",
        "path",
        "patience",
        "rtt",
        "sender",
        "srtt",
        "unanswered",
    )

    def __init__(self, full: int) -> None:
        self.path = PathMtu(full)
        self.patience = 0.0
        self.forget()

    def forget(self) -> None:
        """Begin anew, as if it had never answered."""
        self.alive: bool | None = None
        self.last = 0.0  # when it answered last
        self.unanswered = 0  # probes since then
        self.sender: Identity = NOBODY  # of the last answer
        self.rtt: float | None = None  # seconds
        self.srtt: float | None = None
        self.path = PathMtu(self.path.full)
        self._asked = 0
        self._open: dict[int, tuple[float, int]] = {}  # nonce -> when it was asked, as the how manieth
        self._fates: deque[bool] = deque(maxlen=WINDOW)

    def asked(self, nonce: int, now: float) -> None:
        """A probe is under way."""
        self._asked += 1
        self.unanswered += 1
        self._open[nonce] = (now, self._asked)
        eldest, (_, number) = next(iter(self._open.items()))
        if number <= self._asked - _LATE:
            del self._open[eldest]
            self._fates.append(False)

    def answered(self, nonce: int, sender: Identity, now: float) -> bool:
        """An answer; false if nothing is waiting for it any more."""
        asked = self._open.pop(nonce, None)
        if asked is None:
            return False
        self._fates.append(True)
        self.rtt = max(0.0, now - asked[0])
        self.srtt = self.rtt if self.srtt is None else self.srtt + (self.rtt - self.srtt) * _SMOOTH
        self.lives(sender, now)
        return True

    def lives(self, sender: Identity, now: float) -> None:
        """It has just answered something."""
        self.alive, self.unanswered = True, 0
        self.sender, self.last = sender, max(self.last, now)

    def answers(self, now: float) -> bool:
        """It lives, and has said so lately."""
        return bool(self.alive) and now - self.last < self.patience

    @property
    def loss(self) -> float | None:
        """Share of the last probes that was not answered, 0..1; None: it never answered."""
        fates = self._fates
        return None if self.alive is None or not fates else fates.count(False) / len(fates)
