"""Our MACs on their way into the store: what appeared behind a local port is claimed, what went is released.

The tables say so by ``on_local``, from the way of a frame: all that happens there is one entry in a dict. Only the
latest wish per (VNI, MAC) is kept, so the queue is bounded by the MACs that stand behind local ports, and it is the
journal too: while the store is away wishes stay in it. A few milliseconds after the first wish they leave in batches.

What a station itself says (``on_heard``) is stronger evidence than its frames: gratuitous ARP, an unsolicited
advertisement or RARP is claimed as such, ahead of all other wishes. The addresses it names travel with the claim.

A port may claim ``CLAIMS_PER_SECOND``; more than that waits in the queue, and other ports' claims pass it. The answer
to a claim decides: ours, then the row gets its rev; refused, then the owner's row is put back. Nothing of this holds up
a frame: a MAC forwards locally from its first frame on.

What is claimed because the store has lost it, not because a frame came, says nothing of where the MAC is now and takes
it from no live node; it is not even asked for once another node's claim is read. In the same way the store is asked
again about what its log told something else of while our claim was under way (``crossed``): answer and log come by
different ways, and which of them is later only another answer can tell.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Protocol

from vxswitch.bindings import unpack
from vxswitch.control.doors import Clock
from vxswitch.control.neighbours import Neighbours
from vxswitch.errors import StoreUnavailableError, VxswitchError
from vxswitch.fdb import Fdb, Hop, LocalPort, Row, Table
from vxswitch.model import Claim, format_mac
from vxswitch.store.base import ClaimResult, Evidence, LocalMac, Store
from vxswitch.store.rules import MAX_IPS
from vxswitch.wire.neighbour import Said, usable

log = logging.getLogger(__name__)

BATCH = 64  # store.base: at most 64 claims a call
CLAIMS_PER_SECOND = 200.0  # per port
CLAIM_BURST = 512.0
_COALESCE = 0.003  # seconds from the first wish to the first batch
_PAUSE = 0.05  # seconds until ports that spent their budget are asked again
COME_BACK = 2.0  # seconds: twice the hold-down (store.rules), after which a plain frame would take the MAC back
_LOST_MAX = 4096
RETRY = (0.2, 2.0)  # seconds between tries while the store is away: first, longest

Key = tuple[int, bytes]  # VNI, MAC


class TellsMacs(Protocol):
    """What the announcer asks about local ports."""

    def ips(self, port_id: str) -> tuple[str, ...]:
        """The addresses that a port was given with its MAC."""
        ...

    def expected(self, vni: int) -> Iterable[LocalMac]:
        """The MACs of ports that are recorded, but wait for their TAPs."""
        ...


class Announcer:
    """The queue and the task that empties it.

    ``put_back`` takes the row that our claim did not displace; ``fall_back`` hears of a MAC that is not here any more.
    ``retry`` and ``come_back``: seconds, as RETRY and COME_BACK.
    """

    ports: TellsMacs
    put_back: Callable[[Claim], None]

    def __init__(
        self,
        fdb: Fdb,
        store: Store,
        *,
        clock: Clock,
        retry: tuple[float, float] = RETRY,
        come_back: float = COME_BACK,
    ) -> None:
        self.fall_back: Callable[[int, bytes], None] = lambda vni, mac: None
        self.refused: dict[str, int] = {}  # claims that were not granted, by reason
        self._fdb = fdb
        self._store = store
        self._clock = clock
        self._retry = retry
        self._come_back = come_back
        self.neighbours = Neighbours(fdb, clock=clock, lost=self.announce)
        self._wishes: dict[Key, bool] = {}  # True: claim, False: release
        self._evidence: dict[Key, Evidence] = {}  # of wished claims, where it is more than a frame
        self._again: set[Key] = set()  # wished claims that no frame is behind: of what the store does not have
        self._flying: set[Key] = set()
        self._crossed: set[Key] = set()  # of those under way: something else was read of them meanwhile
        self._lost: dict[Key, float] = {}  # until when a MAC that moved away may come back
        self._budgets: dict[Hop, tuple[float, float]] = {}  # tokens left, at this time
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    # -- wishes come in --------------------------------------------------------------------------------------------

    def watch(self, table: Table) -> None:
        """Announce the local MACs of this network, those there are and those to come, if it learns by claims."""
        if not table.claims or self._store.status().state == "static":
            table.on_local = table.on_heard = None
            return
        table.on_local, table.on_heard = self.on_local, self.on_heard
        for row in table.rows.values():
            if row.hop is not None and row.hop.local:
                self._appeared((table.vni, row.mac))

    def on_local(self, table: Table, row: Row, appeared: bool) -> None:
        """``Table.on_local``: a row begins or ceases to stand behind a local port."""
        if appeared:
            self._appeared((table.vni, row.mac))
            return
        self._wish((table.vni, row.mac), False)
        self.fall_back(table.vni, row.mac)

    def on_heard(self, table: Table, row: Row, said: Said) -> None:
        """``Table.on_heard``: a station behind a local port says who it is.

        An announcement is evidence while the MAC is not ours by the store's word: it has come here just now.
        """
        key = (table.vni, row.mac)
        if said.evidence != "frame" and (row.rev is None or key in self._again):
            self._evidence[key] = said.evidence
            self._appeared(key)
        if said.ip is not None and usable(said.ip) and self._is_new(key, row, said.ip):
            self._appeared(key)

    def _is_new(self, key: Key, row: Row, address: bytes) -> bool:
        given = self._given_ips(row)
        return unpack(address) not in given and self.neighbours.heard(key, address, MAX_IPS - len(given))

    def announce(self, vni: int, mac: bytes, *, seen: bool = False) -> None:
        """Claim a MAC again that still stands behind a local port. A port that it was given to is evidence enough.

        ``seen``: so is the frame that brought it here, as whoever is said to have it had it before that.
        """
        row = self._local_row((vni, mac))
        if seen:
            self._again.discard((vni, mac))
        elif row is not None and not _is_given(row) and not self.pending(vni, mac):
            self._again.add((vni, mac))
        self._wish((vni, mac), True)

    def release(self, vni: int, mac: bytes) -> None:
        """Give back what the store has under our name, though the MAC is not here."""
        self._wish((vni, mac), False)

    def moved_away(self, vni: int, mac: bytes) -> None:
        """Another node has claimed a MAC that stood behind a port which goes on without it.

        If it does not come back soon the move was an orderly one, and the store is told so by a release. A MAC that two
        nodes have is never released by either, and is frozen.
        """
        if len(self._lost) < _LOST_MAX:
            self._lost[(vni, mac)] = self._clock() + self._come_back

    def tick(self, age: float) -> None:
        """Housekeeping, every ``neighbours.pause(age)`` seconds. ``age``: of learned rows, seconds."""
        self.neighbours.tick(age)
        now = self._clock()
        for key in [key for key, until in self._lost.items() if now >= until]:
            del self._lost[key]
            if key[0] in self._fdb.tables and self._local_row(key) is None:
                self._wish(key, False)

    def pending(self, vni: int, mac: bytes) -> bool:
        """A claim of this MAC waits or is under way: its answer will decide who has it."""
        return (vni, mac) in self._flying or self._wishes.get((vni, mac), False)

    def gives_way(self, vni: int, mac: bytes) -> bool:
        """Another node's claim was read; false: one of ours is still to decide. One that no frame is behind is not."""
        if (vni, mac) in self._again and (vni, mac) not in self._flying:
            self._drop((vni, mac))
        self.crossed(vni, mac)
        return not self.pending(vni, mac)

    def crossed(self, vni: int, mac: bytes) -> None:
        """Something else was read of this MAC: an answer that is under way may be older than that."""
        if (vni, mac) in self._flying:
            self._crossed.add((vni, mac))

    @property
    def backlog(self) -> int:
        """Wishes that the store has not taken yet."""
        return len(self._wishes) + len(self._flying)

    def reassert(self, vni: int) -> Iterator[LocalMac]:
        """All that this node has in a network: behind its ports as they are now, and behind those that wait."""
        table = self._fdb.tables.get(vni)
        if table is None or not table.claims:
            return
        waiting, rows = list(self.ports.expected(vni)), list(table.rows.values())  # whoever asks may take its time
        yield from waiting
        for row in rows:
            if row.hop is not None and row.hop.local:
                yield self._local_mac(vni, row)

    def _appeared(self, key: Key) -> None:
        """A frame of this MAC came from a local port."""
        self._again.discard(key)
        self._wish(key, True)

    def _wish(self, key: Key, claim: bool) -> None:
        self._wishes[key] = claim
        if not claim:
            self._evidence.pop(key, None)
            self._again.discard(key)
        self._idle.clear()
        self._wake.set()

    def _drop(self, key: Key) -> None:
        del self._wishes[key]
        self._again.discard(key)
        if not self._wishes and not self._flying:
            self._idle.set()

    # -- and leave in batches --------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Empty the queue for ever."""
        delay = self._retry[0]
        while True:
            await self._wake.wait()
            self._wake.clear()
            await asyncio.sleep(_COALESCE)
            while self._wishes:
                try:
                    sent = await self.flush()
                except StoreUnavailableError as error:
                    log.info("%d MACs wait for the store: %s", len(self._wishes), error)
                    await asyncio.sleep(delay)
                    delay = min(delay * 2, self._retry[1])
                    continue
                delay = self._retry[0]
                if not sent:
                    await asyncio.sleep(_PAUSE)

    async def flush(self) -> int:
        """Send one batch; how many wishes that settled. StoreUnavailableError: they are back in the queue."""
        claims, releases = self._take()
        self._flying.update(claims, releases)
        again = 0
        try:
            if releases:
                await self._store.release(releases)
                self._flying.difference_update(releases)
            if claims:
                again = await self._claim(claims)
        except StoreUnavailableError:
            self._restore(claims, releases)
            raise
        except VxswitchError as error:
            log.error("the store refuses our MACs: %s", error)
        finally:
            self._flying.difference_update(claims, releases)
            self._crossed.difference_update(claims, releases)
            for key in claims:
                if key not in self._wishes:
                    self._evidence.pop(key, None)
                    self._again.discard(key)
            if not self._wishes:
                self._idle.set()
        return len(claims) + len(releases) - again

    async def drained(self) -> None:
        """Wait until nothing is left to announce."""
        await self._idle.wait()

    def _take(self) -> tuple[list[Key], list[Key]]:
        """The next batch out of the queue: evidence first, then by age. Claims of ports without budget stay."""
        claims: list[Key] = []
        releases: list[Key] = []
        now = self._clock()
        for key in list(chain(self._evidence, self._wishes)):
            if len(claims) + len(releases) >= BATCH:
                break
            claim = self._wishes.get(key)
            if claim is None:
                continue  # taken already
            row = self._local_row(key) if claim else None
            if row is not None and row.hop is not None and not self._spend(row.hop, now):
                continue
            del self._wishes[key]
            if row is not None:
                claims.append(key)
            else:
                self._evidence.pop(key, None)
                self._again.discard(key)
                if not claim:
                    releases.append(key)
        return claims, releases

    def _restore(self, claims: list[Key], releases: list[Key]) -> None:
        """Back into the queue, but for what has been wished anew meanwhile, and releases that were done."""
        for key in claims:
            self._wishes.setdefault(key, True)
        for key in releases:
            if key in self._flying:
                self._wishes.setdefault(key, False)

    def _spend(self, port: Hop, now: float) -> bool:
        tokens, at = self._budgets.get(port, (CLAIM_BURST, now))
        tokens = min(CLAIM_BURST, tokens + (now - at) * CLAIMS_PER_SECOND)
        if tokens < 1.0:
            return False
        if len(self._budgets) > BATCH:
            self._forget_full(now)
        self._budgets[port] = (tokens - 1.0, now)
        return True

    def _forget_full(self, now: float) -> None:
        """A port whose budget has filled up again needs no entry; so ports that are gone keep none either."""
        refill = CLAIM_BURST / CLAIMS_PER_SECOND
        self._budgets = {port: budget for port, budget in self._budgets.items() if now - budget[1] < refill}

    # -- the answers -----------------------------------------------------------------------------------------------

    async def _claim(self, keys: list[Key]) -> int:
        """Claim what still stands behind a local port; how many have to be claimed again."""
        macs = [self._local_mac(key[0], row) for key in keys if (row := self._local_row(key)) is not None]
        results = await self._store.claim(macs)
        answers = zip(macs, results, strict=True)
        return sum(self._answered((claimed.vni, claimed.mac), result) for claimed, result in answers)

    def _answered(self, key: Key, result: ClaimResult) -> bool:
        """Do as the store says; true if it wants to be asked again."""
        if key in self._crossed and result.refused != "no_lease":
            self._ask_again(key)
            return False
        if result.refused is None:
            row = self._local_row(key)
            if row is not None and result.row is not None:
                row.rev, row.flags = result.row.rev, result.row.flags
            return False
        self.refused[result.refused] = self.refused.get(result.refused, 0) + 1
        if result.refused == "no_lease":  # asked again in a moment: nothing to warn of, and often
            self._wishes.setdefault(key, True)
            return True
        level = logging.INFO if result.refused == "moved" else logging.WARNING
        log.log(level, "claim of %s in VNI %d refused: %s", format_mac(key[1]), key[0], result.refused)
        if result.row is not None and key not in self._wishes:
            self.put_back(result.row)
        return False

    def _ask_again(self, key: Key) -> None:
        """An answer that decides nothing. What has been wished meanwhile asks anyway."""
        if key not in self._wishes:
            self._evidence.pop(key, None)
            self._again.add(key)
            self._wish(key, True)

    def _local_row(self, key: Key) -> Row | None:
        table = self._fdb.tables.get(key[0])
        row = table.rows.get(key[1]) if table is not None else None
        return row if row is not None and row.hop is not None and row.hop.local else None

    def _local_mac(self, vni: int, row: Row) -> LocalMac:
        flags = ("sticky",) if row.source == "static" and "sticky" in row.flags else ()
        ips = dict.fromkeys((*self._given_ips(row), *self.neighbours.ips(vni, row.mac)))
        return LocalMac(vni, row.mac, self._evidence_of((vni, row.mac), row), tuple(ips), flags)

    def _evidence_of(self, key: Key, row: Row) -> Evidence:
        if key in self._again:
            return "reassert"
        return "attach" if _is_given(row) else self._evidence.get(key, "frame")

    def _given_ips(self, row: Row) -> tuple[str, ...]:
        return self.ports.ips(row.hop.id) if row.given and isinstance(row.hop, LocalPort) else ()


def _is_given(row: Row) -> bool:
    """The MAC is where it is by somebody's word, not by a frame's."""
    return row.given or row.source == "static"
