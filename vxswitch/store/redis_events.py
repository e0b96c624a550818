"""Reading what happens in the joined VNIs: one connection, one task, all streams.

``Reader.run`` takes the snapshots that are wanted, then waits in one XREAD over the logs of all VNIs and the node's
own wake stream, and so on. Log ids are ``<rev>-1`` without gaps, and each entry carries the digest after it: an
entry is believed if its rev is the next one and its digest comes out, else a snapshot is wanted. A snapshot that
contradicts itself shows that something else wrote into the keys: the repair script puts that right, under a new gen,
and the snapshot is taken again.

After a loss of data (``hold``) the tables are read only when all nodes had the time to claim again: each is then read
once, whole, and not claim by claim. Who notices a loss first tells all others over one more stream (beat.lua).

Only this task changes the mirrors, so that a VNI's events leave in order.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence

from vxswitch.model import Claimed, GroupsChanged, MemberJoined, MemberLeft, Withdrawn
from vxswitch.store import redis_scripts as scripts
from vxswitch.store.codec import Poisoned, decode_mac, decode_member, decode_name, decode_row
from vxswitch.store.groups import NONE, groups_after
from vxswitch.store.mirror import BROKEN_HISTORY, Change, Mirror
from vxswitch.store.redis_connect import Link, ServerRefusedError, Word
from vxswitch.store.redis_snapshot import Tables, fetch
from vxswitch.store.redis_state import State

ENTRIES = 512  # of each stream in one XREAD
MOVING_PAUSE = 0.1  # seconds until the logs are read again while their slot is on its way to another server
REMOVALS = 1000  # poisoned fields removed by one call of the repair script

Entry = tuple[bytes, list[bytes]]


class Reader:
    """See the head of this file.

    ``on_broken`` is told of a VNI whose owners must claim again, and whether its mirror has been read since;
    ``on_loss`` that another node has noticed a loss of data.
    """

    def __init__(
        self, state: State, link: Link, on_broken: Callable[[int, bool], None], on_loss: Callable[[], None]
    ) -> None:
        self._state = state
        self._link = link
        self._on_broken = on_broken
        self._on_loss = on_loss
        self._wanted: dict[int, str] = {}
        self._postponed: dict[int, str] = {}  # wanted, but held, or nobody has joined the VNI since its keys were lost
        self._held_until = 0.0
        self._taking: int | None = None
        self._wake_id = "0"
        self._loss_id = "0"
        self._progress = asyncio.Event()

    def want(self, vni: int, reason: str) -> None:
        """Take a snapshot of this VNI next time (the first reason stands)."""
        self._wanted.setdefault(vni, reason)

    def hold(self, seconds: float) -> None:
        """Data are lost: read tables with a broken history only when this time is over."""
        self._held_until = self._state.clock.monotonic() + seconds

    def has_work(self) -> bool:
        """Whether a snapshot is to be taken, so that the reader should be woken."""
        if self._wanted or not all(mirror.loaded for mirror in self._state.mirrors.values()):
            return True
        return bool(self._postponed) and self.holds() <= 0

    def holds(self) -> float:
        """Seconds that tables with a broken history are still to wait."""
        return self._held_until - self._state.clock.monotonic()

    def is_behind(self, mirror: Mirror) -> bool:
        """Whether a snapshot is still to come: then this mirror proves nothing."""
        vni = mirror.vni
        return vni in self._wanted or vni in self._postponed or vni == self._taking or not mirror.loaded

    def has_reached(self, mirror: Mirror, rev: int) -> bool:
        """Whether a mirror has come as far as a rev."""
        return not self.is_behind(mirror) and mirror.rev >= rev

    async def progress(self) -> None:
        """Return when mirrors may have come further."""
        await self._progress.wait()
        self._progress.clear()

    def note_progress(self) -> None:
        """Have whoever waits for progress look again."""
        self._progress.set()

    async def wake(self, command: Link) -> None:
        """Make this task look at its list now; over the other link, for this one blocks."""
        key = self._state.keys.wake(self._state.node.name)
        keep_ms = int(self._state.rules.grace * 1000)
        await scripts.run(command, scripts.WAKE, [*self._state.keys.node, key], [*self._state.caller(), keep_ms])

    async def run(self) -> None:
        """Read until the link breaks."""
        await self._find_last_loss()
        while True:
            await self._take_snapshots()
            await self._give_up()
            self._progress.set()
            await self._read()

    # Snapshots.

    async def _take_snapshots(self) -> None:
        self._wanted, self._postponed = self._postponed | self._wanted, {}
        for mirror in self._state.mirrors.values():
            if not mirror.loaded:
                self.want(mirror.vni, "start")
        while self._wanted:
            vni, reason = next(iter(self._wanted.items()))
            del self._wanted[vni]
            if reason in BROKEN_HISTORY and self.holds() > 0:
                self._postponed[vni] = reason
                continue
            self._taking = vni
            try:
                if vni in self._state.mirrors:
                    await self._snapshot(self._state.mirrors[vni], reason)
            except ServerRefusedError as error:
                if error.code not in scripts.MOVING:
                    raise
                self.want(vni, reason)
                await asyncio.sleep(MOVING_PAUSE)
            self._taking = None

    async def _snapshot(self, mirror: Mirror, reason: str) -> None:
        tables = await fetch(self._link, self._state, mirror.vni)
        if tables is None or not tables.is_sound():
            await self._repair(mirror.vni, tables)
            reason = "poison"
            tables = await fetch(self._link, self._state, mirror.vni)
        if tables is None:
            raise ServerRefusedError("WRONGTYPE", f"VNI {mirror.vni}: keys of a wrong type come back")
        if self._state.mirrors.get(mirror.vni) is not mirror:
            return  # left meanwhile
        if not tables.mark.gen:  # nobody has joined yet: the asserter will, and then wakes this task
            self._postponed[mirror.vni] = reason
            self._on_broken(mirror.vni, False)
            return
        if reason not in BROKEN_HISTORY:  # a gap may be all that was seen of it
            reason = mirror.broken_by(tables.mark) or reason
        keep_until = self._state.clock.monotonic() + self._state.rules.come_back
        event = mirror.load(tables.mark, tables.rows, tables.members, tables.groups, reason, keep_until)
        self._state.counts.resyncs[reason] += 1
        await self._state.emit(event)
        if reason in BROKEN_HISTORY:
            self._on_broken(mirror.vni, True)

    async def _repair(self, vni: int, tables: Tables | None) -> None:
        bad_rows = tables.bad_rows[:REMOVALS] if tables else []
        bad_members = tables.bad_members[:REMOVALS] if tables else []
        bad_groups = tables.bad_groups[:REMOVALS] if tables else []
        await repair(self._link, self._state, vni, bad_rows, bad_members, bad_groups)

    async def _give_up(self) -> None:
        state, now = self._state, self._state.clock.monotonic()
        if not state.lease.may_give_up(now):
            return
        cut_off = {name for name in state.absent(now) if state.heard(name)}
        for mirror in list(state.mirrors.values()):
            for event in mirror.give_up(now, state.rules.come_back, cut_off.__contains__):
                await state.emit(event)

    # The logs.

    async def _read(self) -> None:
        wake, loss = self._state.keys.wake(self._state.node.name), self._state.keys.loss
        block = self._block()
        mirrors = {self._log(mirror.vni): mirror for mirror in self._state.mirrors.values() if self._is_read(mirror)}
        ids = [self._wake_id, self._loss_id, *(f"{mirror.rev}-1" for mirror in mirrors.values())]
        words: list[Word] = ["XREAD", "COUNT", ENTRIES, "BLOCK", max(1, int(block * 1000)), "STREAMS"]
        try:
            answer = await self._link.call(*words, wake, loss, *mirrors, *ids, wait=block)
        except ServerRefusedError as error:
            if error.code in scripts.MOVING:
                await asyncio.sleep(MOVING_PAUSE)
                return
            if error.code != "WRONGTYPE":
                raise
            await self._find_wrong_types([wake, loss], mirrors)
            return
        for stream, entries in answer or ():
            mirror = mirrors.get(name := stream.decode())
            if mirror is not None:
                await self._follow(mirror, entries)
            elif name == loss:
                self._loss_id = entries[-1][0].decode()
                self._on_loss()
            else:
                self._wake_id = entries[-1][0].decode()

    async def _find_last_loss(self) -> None:
        """What was told before this session began is known by now: only what comes later is heard."""
        try:
            told = await self._link.call("XREVRANGE", self._state.keys.loss, "+", "-", "COUNT", 1)
        except ServerRefusedError as error:
            if error.code != "WRONGTYPE":
                raise
            return  # the first XREAD deals with it
        self._loss_id = told[0][0].decode() if told else "0"

    def _is_read(self, mirror: Mirror) -> bool:
        return mirror.loaded and mirror.vni not in self._postponed

    def _block(self) -> float:
        """Seconds to wait for news: tables that are held are to be read when that is over."""
        holds = self.holds() if self._postponed else 0.0
        return min(self._state.rules.beat, holds) if holds > 0 else self._state.rules.beat

    async def _follow(self, mirror: Mirror, entries: list[Entry]) -> None:
        """Apply the entries of one VNI's log, as far as they continue what is known."""
        for number, (entry_id, fields) in enumerate(entries):
            if number % 64 == 63:
                await asyncio.sleep(0)  # frames first
            if self._state.mirrors.get(mirror.vni) is not mirror:
                return  # left meanwhile
            reason = await self._follow_one(mirror, entry_id, fields)
            if reason:
                self.want(mirror.vni, reason)
                return

    async def _follow_one(self, mirror: Mirror, entry_id: bytes, fields: list[bytes]) -> str | None:
        """Apply one entry; why a snapshot is needed instead, None if not."""
        if entry_id != b"%d-1" % (mirror.rev + 1):
            return "gap"
        entry = dict(zip(fields[::2], fields[1::2], strict=True))
        try:
            op, digest = entry[b"op"], int(entry[b"dig"], 16)
            if op == b"reset":
                return "gen"
            change = decode_change(mirror, op, entry[b"key"], entry[b"val"])
        except (Poisoned, KeyError, ValueError) as error:
            self._state.poisoned(error)
            return "poison"
        if digest != (mirror.digest if change is None else mirror.digest_after(change)):
            return "digest"
        if change is None:
            mirror.rev += 1
            name = decode_name(entry[b"key"])
            self._state.left.pop(name, None)
            self._state.departed.add(name)
            self._state.emit_leases()
        else:
            mirror.apply(change)
            await self._state.emit(change)
            if isinstance(change, MemberJoined):  # only a node with a live lease joins
                self._state.note_live(change.node.name)
        return None

    async def _find_wrong_types(self, pokes: list[str], mirrors: dict[str, Mirror]) -> None:
        """Something made one of the streams into another type, and XREAD does not say which."""
        kinds = await self._link.pipeline([("TYPE", stream) for stream in (*pokes, *mirrors)])
        for kind, mirror in zip(kinds[len(pokes) :], mirrors.values(), strict=True):
            if kind not in (b"stream", b"none"):
                self.want(mirror.vni, "poison")
        if any(kind not in (b"stream", b"none") for kind in kinds[: len(pokes)]):
            self._state.poisoned("wake stream")
            await scripts.run(self._link, scripts.TYPES, pokes, ["stream"] * len(pokes))

    def _log(self, vni: int) -> str:
        return self._state.keys.parts(vni, "log")[0]


async def repair(
    link: Link,
    state: State,
    vni: int,
    bad_rows: Sequence[bytes] = (),
    bad_members: Sequence[bytes] = (),
    bad_groups: Sequence[bytes] = (),
) -> None:
    """Make a VNI's keys consistent again, without the entries that are named."""
    words: list[Word] = [*state.caller(), secrets.token_hex(8), len(bad_rows), len(bad_members)]
    words += [*bad_rows, *bad_members, *bad_groups]
    wrong = await scripts.run(link, scripts.REPAIR, state.keys.of_vni(vni), words)
    if wrong:
        state.poisoned(f"VNI {vni}: {wrong} entries removed or recomputed")


def decode_change(mirror: Mirror, op: bytes, key: bytes, value: bytes) -> Change | None:
    """The next log entry of a mirror's VNI as an event, None for a lapse; Poisoned."""
    vni, rev = mirror.vni, mirror.rev + 1
    match op:
        case b"claim":
            claim = decode_row(vni, key, value)
            if claim.rev != rev:
                raise Poisoned(f"rev {claim.rev} in entry {rev}")
            return Claimed(claim)
        case b"withdraw":
            return Withdrawn(vni, decode_mac(key), rev)
        case b"join":
            return MemberJoined(vni, decode_member(key, value), rev)
        case b"leave":
            return MemberLeft(vni, decode_name(key), rev)
        case b"groups":
            name = decode_name(key)
            return GroupsChanged(vni, name, groups_after(mirror.groups.get(name, NONE), value), rev)
        case b"lapse":
            decode_name(key)
            return None
    raise Poisoned(f"operation {op[:20]!r}")
