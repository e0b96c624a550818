"""The addresses of local MACs, as the stations behind our ports say them themselves: they travel with the claims.

    heard     by ARP or neighbour discovery: the address is its MAC's, and was confirmed now
    asked     after three quarters of ``age`` without a word, by a question to that station alone, up to ``TRIES`` times
    given up  when nobody answers: claimed no longer. A station that is only quiet keeps its addresses, and its row

So what other nodes answer for (RFC 9161) is at most ``age`` old. Addresses that a port was given with its MAC are not
kept here: they stay as long as the port.

Bounded: 32 addresses of a MAC, as many as a row may have; MACs are the table's rows. Questions are ``ASK_MAX`` a tick.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vxswitch.bindings import unpack
from vxswitch.control.doors import Clock
from vxswitch.fdb import Fdb, LocalPort
from vxswitch.store.rules import MAX_IPS

TRIES = 3  # RFC 4861 section 10: MAX_UNICAST_SOLICIT
RETRANS = 1.0  # seconds between two tries; the same section, RETRANS_TIMER
ASK_MAX = 64
_ASK_AT = 0.75  # of the age: before the row itself would age

Key = tuple[int, bytes]  # VNI, MAC


@dataclass(slots=True)
class Heard:
    """One address. Times are monotonic; ``tries``: questions since it was confirmed."""

    confirmed: float
    asked: float = 0.0
    tries: int = 0


class Neighbours:
    """See the head of this file. ``ask(port, mac, address)`` asks a station; ``lost(vni, mac)`` is told of changes."""

    ask: Callable[[LocalPort, bytes, bytes], None]

    def __init__(self, fdb: Fdb, *, clock: Clock, lost: Callable[[int, bytes], None]) -> None:
        self.refused = 0  # addresses over the limit
        self.given_up = 0
        self._fdb = fdb
        self._clock = clock
        self._lost = lost
        self._heard: dict[Key, dict[bytes, Heard]] = {}

    def heard(self, key: Key, address: bytes, room: int) -> bool:
        """A local MAC says that it has this address; true if that is new. ``room``: addresses that it may have here."""
        addresses = self._heard.get(key, {})
        known = addresses.get(address)
        if known is not None:
            known.confirmed, known.tries = self._clock(), 0
            return False
        if len(addresses) >= min(room, MAX_IPS):
            self.refused += 1
            return False
        self._heard.setdefault(key, {})[address] = Heard(self._clock())
        return True

    def ips(self, vni: int, mac: bytes) -> tuple[str, ...]:
        """The addresses of a MAC, as text."""
        return tuple(map(unpack, self._heard.get((vni, mac), ())))

    def __len__(self) -> int:
        return sum(map(len, self._heard.values()))

    def tick(self, age: float) -> None:
        """Ask and give up. ``age``: seconds, as of learned rows. To be called every ``pause(age)`` seconds."""
        now, left = self._clock(), ASK_MAX
        for key, addresses in list(self._heard.items()):
            port = self._port(key)
            if port is None:
                del self._heard[key]
                continue
            due = [address for address, one in addresses.items() if now - one.confirmed >= age * _ASK_AT]
            for address in due:
                if left and now - addresses[address].asked >= pause(age):
                    left -= self._ask_or_give_up(key, port, address, now)

    def _ask_or_give_up(self, key: Key, port: LocalPort, address: bytes, now: float) -> bool:
        """True if a question went out."""
        one = self._heard[key][address]
        if one.tries < TRIES:
            one.asked, one.tries = now, one.tries + 1
            self.ask(port, key[1], address)
            return True
        del self._heard[key][address]
        if not self._heard[key]:
            del self._heard[key]
        self.given_up += 1
        self._lost(*key)
        return False

    def _port(self, key: Key) -> LocalPort | None:
        table = self._fdb.tables.get(key[0])
        row = table.rows.get(key[1]) if table is not None else None
        return row.hop if row is not None and isinstance(row.hop, LocalPort) else None


def pause(age: float) -> float:
    """Seconds between two tries, and between two ticks: less where everything ages faster."""
    return min(RETRANS, age / 16)
