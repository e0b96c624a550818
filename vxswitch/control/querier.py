"""Who asks what is listened to: a multicast router if there is one, else the switch itself.

Memberships are only as good as the questions that keep them fresh. A port is asked when it is new (again and again, so
that one lost question is no matter), then once every ``query_interval``, unless somebody else has asked meanwhile:
there is no election, because a stand-in's questions go to the local ports alone and win none anyway (RFC 4541 section
2.1.1). A question that gives hosts more time to answer than ours would counts as none: it must not keep ours back.

``knows`` says whether all that is listened to must have been heard by now. Where nobody asks (``querier = "off"`` and
no router), nothing is known, and whoever snoops has to let everything through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from vxswitch.config import Mcast
from vxswitch.fdb import LocalPort
from vxswitch.groups import FAMILIES
from vxswitch.wire import multicast, snoop
from vxswitch.wire.multicast import Message

K = TypeVar("K")
Say = Callable[[LocalPort, bytes], None]


@dataclass(slots=True)
class Asked:
    """When hosts were last asked by somebody else; ``since``: without a gap from then on. Monotonic seconds."""

    since: float = 0.0
    last: float = float("-inf")


class Querier:
    """Of one network. ``say`` sends a frame to what is behind a port; ``asks`` False: it never asks anything."""

    def __init__(self, settings: Mcast, say: Say, now: float, *, asks: bool) -> None:
        self.settings = settings
        self.asks = asks
        self._say = say
        self._began = now
        self._others = {family: Asked() for family in FAMILIES}
        self._due = dict.fromkeys(FAMILIES, now + settings.query_interval)
        self._new: dict[LocalPort, tuple[int, float]] = {}  # questions to come, and when the next one is due
        self._pressing: dict[tuple[LocalPort, bytes], tuple[int, float]] = {}  # the same, about a group

    def heard(self, message: Message, now: float) -> None:
        """Somebody else has asked."""
        if message.group or message.response > self.settings.response:
            return
        asked = self._others[message.family]
        if now - asked.last > self.settings.membership:
            asked.since = now
        asked.last = now
        self._due[message.family] = now + self.settings.query_interval + self.settings.response

    def knows(self, family: int, now: float) -> bool:
        """Whether whoever listens has had to say so."""
        settings = self.settings
        if self.asks:
            return now >= self._began + (settings.robustness + 1) * settings.last_member
        asked = self._others[family]
        return asked.since + settings.response <= now < asked.last + settings.membership

    def next(self, now: float) -> float:
        """When there may be something to ask, or ``knows`` another answer, unless somebody says something before."""
        settings = self.settings
        if self.asks:
            waiting = (*self._new.values(), *self._pressing.values())
            settled = self._began + (settings.robustness + 1) * settings.last_member
            times = [settled, *self._due.values(), *(at for _, at in waiting)]
        else:
            times = [asked.since + settings.response for asked in self._others.values()]
            times += [asked.last + settings.membership for asked in self._others.values()]
        return min((time for time in times if time > now), default=float("inf"))

    # -- questions ---------------------------------------------------------------------------------------------------

    def add(self, port: LocalPort, now: float) -> None:
        """A port is new: ask what is behind it. Its interface may not be up yet, unless the switch is new as well."""
        wait = self.settings.last_member if now > self._began else 0.0
        self._new[port] = (self.settings.robustness, now + wait)

    def remove(self, port: LocalPort) -> None:
        """A port is gone."""
        self._new.pop(port, None)
        for key in [key for key in self._pressing if key[0] is port]:
            del self._pressing[key]

    def press(self, port: LocalPort, group: bytes, now: float) -> None:
        """A station behind the port has left the group: does anybody else there listen (RFC 3376 section 6.4.2)?"""
        self._pressing[(port, group)] = (self.settings.robustness, now)

    def tick(self, ports: Iterable[LocalPort], now: float) -> None:
        """Ask what is due."""
        if not self.asks:
            self._new.clear()
            return
        quick = self.settings.last_member
        for port in self._take_due(self._new, now):
            for family in FAMILIES:
                self._ask(port, family, b"", quick)
        for port, group in self._take_due(self._pressing, now):
            self._ask(port, multicast.family_of(group), group, quick)
        for family in [family for family, due in self._due.items() if now >= due]:
            self._due[family] = now + self.settings.query_interval
            for port in ports:
                self._ask(port, family, b"", self.settings.response)

    def _take_due(self, waiting: dict[K, tuple[int, float]], now: float) -> list[K]:
        due = [key for key, (_, at) in waiting.items() if now >= at]
        for key in due:
            left = waiting[key][0] - 1
            if left:
                waiting[key] = (left, now + self.settings.last_member)
            else:
                del waiting[key]
        return due

    def _ask(self, port: LocalPort, family: int, group: bytes, response: float) -> None:
        settings = self.settings
        self._say(port, snoop.query_frame(family, group, response, settings.query_interval, settings.robustness))
