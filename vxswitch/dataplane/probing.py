"""Probes that arrive (``wire.probe``): requests are answered here and now, answers handed to whoever asked.

Both come in by the socket and leave by the sockets that frames use, so what they say holds for frames. A probe is no
frame: it is taken out of the count of what arrived, and counted in ``Stats.probes_*``.

Only a VTEP of one of our networks is answered, at its VTEP's port, with no more bytes than it sent; and only so often,
so that a forged source address makes us send to a VTEP no faster than that, and spends that VTEP's share alone.
"""

from __future__ import annotations

from collections.abc import Callable

from vxswitch.counters import Stats
from vxswitch.dataplane.bucket import Bucket
from vxswitch.dataplane.underlay import Underlay
from vxswitch.fdb import Fdb, Peer, Table
from vxswitch.wire import probe

OnAnswer = Callable[[str, probe.Probe, float], None]  # (the sender's address, the answer, monotonic seconds)

ANSWERS = 256.0  # a second to one VTEP, and at once; the shortest timers.probe asks 100 times
_MAX_SENDERS = 4096


class Probes:
    """One per data plane. ``identity``: who answers; ``on_answer`` is told of every answer, forged ones, too."""

    def __init__(self, fdb: Fdb, underlay: Underlay, stats: Stats, identity: probe.Identity) -> None:
        self.identity = identity
        self.on_answer: OnAnswer | None = None
        self._fdb = fdb
        self._underlay = underlay
        self._stats = stats
        self._known: dict[str, tuple[Table, Bucket]] = {}  # by the sender's address: a network that it is a VTEP of

    def take(self, view: memoryview, at: int, length: int, address: str, now: float) -> bool:
        """Handle the UDP payload of ``length`` bytes at ``at`` if it is a probe; False: it is none."""
        heard = probe.parse(view, at, length)
        if heard is None:
            return False
        if heard.kind == probe.ANSWER:
            if self.on_answer is not None:
                self.on_answer(address, heard, now)
            return True
        peer = self._admit(address, now)
        if peer is None:
            self._stats.probes_refused += 1
        elif not self._underlay.send_probe(peer, heard.sequence, probe.answer(heard, self.identity)):
            self._stats.probes_answered += 1
        return True

    def _admit(self, address: str, now: float) -> Peer | None:
        """The VTEP that asks; None: it is none of ours, or asks too often."""
        known = self._known.get(address)
        peer = known[0].senders.get(address) if known and self._fdb.tables.get(known[0].vni) is known[0] else None
        if peer is None:
            table = next((t for t in self._fdb.tables.values() if address in t.senders), None)
            if table is None:
                return None
            if len(self._known) >= _MAX_SENDERS:
                self._known.clear()
            known = self._known[address] = (table, known[1] if known else Bucket(ANSWERS, ANSWERS, now))
            peer = table.senders[address]
        assert known is not None
        return peer if known[1].take(1, now) else None
