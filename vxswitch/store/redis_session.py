"""The life of one connection: register, beat, assert what is ours, and read, until something breaks.

A session has two links: one for commands, one for the reader, which blocks. At its start it compares every mirror
with the store, so that reading goes on only where history is provably the same. Each beat is one script: it renews
the lease, tells how others' leases stand and whom we hear without one, compares up to 32 VNIs in turn and says how
far our own tables have come. A beat that registers us anew (first one, lease run out, store flushed) puts all VNIs
on the list of the asserter, which joins, claims and releases until the store says what the ports say.

An answer that is an error (OOM, MISCONF, NOPERM ...) leaves the session standing, degraded, and beating: reading may
still work. While a slot is on its way heartbeats keep the lease and do no more (``redis_moving``). A broken link ends
the session; RedisStore makes the next one.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from typing import Any, TypeVar

from vxswitch.errors import StoreUnavailableError
from vxswitch.store import redis_scripts as scripts
from vxswitch.store.codec import Poisoned, decode_member, encode_version, encode_vteps
from vxswitch.store.mirror import Mirror
from vxswitch.store.redis_assert import Asserter, What, claim_frozen
from vxswitch.store.redis_connect import Link, LinkDownError, ServerRefusedError, Word
from vxswitch.store.redis_events import Reader
from vxswitch.store.redis_moving import REASON, keep_lease
from vxswitch.store.redis_place import Place
from vxswitch.store.redis_reap import Reaper
from vxswitch.store.redis_state import State

log = logging.getLogger(__name__)

COMPARED = 32  # VNIs in one beat, in turn
TOLD = 64  # VNIs whose rev is told in one beat; the others wait for the next
ASKED = 64  # nodes whose lease is asked for in one beat, in turn
ASKED_FIRST = 1024  # nodes asked for in one beat that were never asked for
INSPECT_BEATS = 10  # beats between two looks at INFO


class Session:
    """See the head of this file."""

    def __init__(self, state: State, command: Link, reading: Link, place: Place) -> None:
        self._state = state
        self._place = place
        self.command = command
        self._links = (command, reading)
        self._reader = Reader(state, reading, self._on_broken, self._on_loss)
        self._asserter = Asserter(state, command, self._reader)
        self._reaper = Reaper(state, command)
        self._turn = 0
        self._asked: set[str] = set()
        self._policy: str | None = None  # why the server's memory policy is dangerous
        self._poke = asyncio.Event()
        self._lapsed = False
        self.settled = asyncio.Event()  # the first beat has been answered, well or badly
        self.registered = False

    @classmethod
    async def open(cls, place: Place, state: State) -> Session:
        """Connect both links; LinkDownError."""
        command, reading = await place.open(state.rules)
        return cls(state, command, reading, place)

    async def run(self) -> None:
        """Work until a link breaks (LinkDownError)."""
        try:
            await self._inspect()
            await self._check_layout()
            await self._check_all()
            async with asyncio.TaskGroup() as group:
                for link in self._links:
                    group.create_task(_wait_broken(link))
                group.create_task(self._place.watch(self._state.rules))
                group.create_task(self._reader.run())
                group.create_task(self._asserter.run())
                group.create_task(self._asserter.run_releases())
                group.create_task(self._beats())
        except ServerRefusedError as error:
            raise LinkDownError(error.code, str(error), degraded=True) from None
        except BaseExceptionGroup as group:
            raise _the_reason(group) from group
        finally:
            self.settled.set()
            for link in self._links:
                await link.close()

    def assert_vni(self, vni: int) -> None:
        """Join this VNI and claim what is ours in it, soon."""
        self._asserter.add([vni])

    def assert_groups(self, vni: int) -> None:
        """Tell the groups of our ports in this VNI, soon."""
        if self.registered:
            self._asserter.add([vni], What.GROUPS)

    async def resync(self, vni: int) -> None:
        """Have the reader take a snapshot of this VNI now."""
        self._reader.want(vni, "asked")
        await self._reader.wake(self.command)

    async def lapse(self) -> None:
        """Take the lease back, so that peers suspend us at once; no beat follows."""
        self._lapsed = True
        vnis = iter(list(self._state.mirrors))
        chunk = list(islice(vnis, COMPARED))
        while True:
            keys = [*self._state.keys.node, *self._log_keys(chunk)]
            await scripts.run(self.command, scripts.LAPSE, keys, self._state.caller())
            if not (chunk := list(islice(vnis, COMPARED))):
                return

    # At the start.

    async def _inspect(self) -> bool:
        """Read INFO: is it a primary, may it throw our keys away? Returns whether it is another one than was read last.

        A replica that takes writes (``replica-read-only no``) does not say READONLY; what it takes is lost.
        """
        text = await self.command.call("INFO")
        info = dict(line.split(":", 1) for line in text.decode("utf-8", "replace").splitlines() if ":" in line)
        if info.get("role", "master") != "master":
            raise LinkDownError("READONLY", "READONLY the server is a replica", degraded=True)
        server = (info.get("run_id", ""), info.get("master_replid", ""))
        changed = self._state.server not in (None, server)
        self._state.server = server
        policy = info.get("maxmemory_policy", "noeviction")
        limited = info.get("maxmemory", "0") != "0"
        self._policy = (
            f"maxmemory-policy is {policy}: the server may evict keys, set it to noeviction"
            if limited and policy != "noeviction"
            else None
        )
        return changed

    async def _check_layout(self) -> None:
        """Nodes that look for a VNI in different buckets would never meet: one division stands, noted in the store."""
        keys = self._state.keys
        words = [*self._state.caller(), keys.buckets]
        noted = await scripts.run(self.command, scripts.LAYOUT, [*keys.node, keys.vnis], words)
        if noted != b"%d" % keys.buckets:
            number = noted.decode("ascii", "replace")[:20]
            raise LinkDownError(
                "buckets",
                f"the store's networks are divided into {number} buckets, this node's store.url means {keys.buckets}: "
                "all nodes want the same kind of URL (redis+cluster:// or not)",
                degraded=True,
            )

    async def _check_all(self) -> None:
        """Compare every mirror at its own rev; those of another history get a snapshot."""
        lost = False
        mirrors = iter([mirror for mirror in self._state.mirrors.values() if not self._reader.is_behind(mirror)])
        while chunk := list(islice(mirrors, COMPARED)):
            keys = [*self._state.keys.node, *self._compared_keys(chunk)]
            words = [*self._state.caller(), *_marks(chunk)]
            verdicts = await scripts.run(self.command, scripts.CHECK, keys, words)
            if b"gen" in verdicts and not lost:
                lost = True
                self._reader.hold(self._when_all_are_back())
            for mirror, verdict in zip(chunk, verdicts, strict=True):
                if verdict:
                    self._reader.want(mirror.vni, verdict.decode())

    # What was lost.

    def _on_broken(self, vni: int, read: bool) -> None:
        self._asserter.add([vni], What.MISSING if read else What.ALL)

    def _on_loss(self) -> None:
        """Another node found that data are lost: look too, and not all at once."""
        if self.registered and self._reader.holds() <= 0:
            wait = random.uniform(0.0, self._state.rules.spread)
            asyncio.get_running_loop().call_later(wait, self._poke.set)

    def _when_all_are_back(self) -> float:
        """Seconds until all nodes have claimed again, if they can; and then they do not all read at once either."""
        return self._state.rules.spread * random.uniform(1.0, 2.0)

    # The heartbeat.

    async def _beats(self) -> None:
        while not self._lapsed:
            self._state.counts.beats += 1
            try:
                await self._beat()
                if self._state.counts.beats % INSPECT_BEATS == 0:
                    await self._look_around()
            except ServerRefusedError as error:
                if not (error.code in scripts.MOVING and await self._keep_lease(error)):
                    await self._cannot_beat(error)
            self.settled.set()
            self._poke.clear()
            try:
                async with asyncio.timeout(self._state.rules.beat):  # wait_for may swallow a cancellation (python 3.11)
                    await self._poke.wait()
            except TimeoutError:
                pass

    async def _look_around(self) -> None:
        """Every few beats: is it still the same server, and is what was frozen still frozen?"""
        if await self._inspect():
            await self._check_all()
            await self._reader.wake(self.command)
        if self.registered:
            await claim_frozen(self.command, self._state)

    async def _beat(self) -> None:
        state, mirrors = self._state, self._next_mirrors()
        names, told = self._next_names(), dict(islice(self._state.untold.items(), TOLD))
        marks = [(mirror.gen, mirror.rev) for mirror in mirrors]
        sent = state.clock.monotonic()
        state.lease.asks()
        status, detail, left, lapsed, verdicts, time = await self._send_beat(names, mirrors, told, sent)
        now = state.clock.monotonic()
        state.set_rtt(now - sent, time / 1000)
        state.lease.clocks(sent, now, time / 1000)
        self._turn += 1
        self._note_leases(names, left, lapsed, sent)
        was_registered = self.registered
        anew = self._note_own(status.decode(), detail.decode("ascii", "replace"), now)
        if anew and was_registered:  # the store lost us: what else did it lose?
            self._reader.hold(self._when_all_are_back())
        if anew:
            state.untold |= state.applied
        else:
            state.untold = {vni: mark for vni, mark in state.untold.items() if told.get(vni) != mark}
        state.emit_leases()
        for mirror, mark, verdict in zip(mirrors, marks, verdicts, strict=True):
            if verdict and mark == (mirror.gen, mirror.rev) and not self._reader.is_behind(mirror):
                self._reader.want(mirror.vni, verdict.decode())
        if anew and was_registered:
            await self._check_all()
        if self._reader.has_work():
            await self._reader.wake(self.command)
        if self.registered:
            await self._reaper.reap(now)

    async def _send_beat(
        self, names: list[str], mirrors: list[Mirror], told: dict[int, tuple[str, int]], now: float
    ) -> Any:
        state = self._state
        heard = _next_of([name for name in state.absent(now) if state.heard(name)], self._turn, ASKED)
        told_keys = [key for vni in told for key in state.keys.parts(vni, "meta", "acks")]
        keys = [*self._beat_keys(), *self._compared_keys(mirrors), *told_keys]
        words: list[Word] = [
            *state.caller(),
            encode_vteps(state.node.vteps),
            encode_version(state.node.version),
            int(state.rules.lease * 1000),
            int(state.rules.come_back * 1000) if state.known else 0,
        ]
        words += [len(names), *names, len(heard), *heard, len(mirrors), *_marks(mirrors)]
        words.append(len(told))
        for gen, rev in told.values():
            words += [gen, rev]
        return await scripts.run(self.command, scripts.BEAT, keys, words, pauses=())

    def _note_own(self, status: str, detail: str, now: float) -> bool:
        """Note how our own lease stands; true if we were registered anew, and must assert everything."""
        state = self._state
        if state.lease.answered(int(detail) - state.node.epoch if detail.isdigit() else 0) and status == "fenced":
            status = "registered"  # by a heartbeat of our own whose answer was lost
        if status in ("taken", "fenced"):
            self.registered = False
            state.lease.lost()
            state.set_status("degraded", _why_not_ours(status, detail))
            return False
        anew = status != "renewed" or not self.registered
        self.registered = state.known = True
        state.node = replace(state.node, epoch=int(detail))
        state.lease.renewed(now, anew=anew)
        state.set_status("degraded" if self._policy else "up", self._policy)
        if anew:
            self._asserter.add([*state.leaving, *state.mirrors])
        return anew

    def _note_leases(self, names: list[str], left: list[int], lapsed: list[bytes], sent: float) -> None:
        """Lease ends by our own clock, counted from when we asked: never later than the store means."""
        ends = self._state.left
        for name, milliseconds in zip(names, left, strict=True):
            if milliseconds >= 0:
                ends[name] = sent + milliseconds / 1000
            else:
                ends.pop(name, None)
        for raw in lapsed:
            ends.pop(raw.decode("ascii", "replace"), None)
        for name in [name for name in ends if name not in self._state.watched]:
            del ends[name]
        if len(names) < len(self._state.watched):  # those not asked in this turn have not lapsed: they were renewed
            for name in ends:
                ends[name] = max(ends[name], sent + self._state.rules.lease - self._state.rules.beat)

    async def _keep_lease(self, error: ServerRefusedError) -> bool:
        """The heartbeat that there can be while the slot is on its way; false if there can be none."""
        state, names = self._state, self._next_names()
        if not self.registered:
            return False
        sent = state.clock.monotonic()
        try:
            kept, left, lapsed, time = await keep_lease(self.command, state, names)
        except StoreUnavailableError:
            return False
        state.counts.errors[error.code] += 1
        now = state.clock.monotonic()
        self._turn += 1
        self._note_leases(names, left, lapsed, sent)
        if kept:
            state.lease.clocks(sent, now, time / 1000)
            state.lease.renewed(now, anew=False)
            state.set_status("up", REASON)
        state.emit_leases()
        return bool(kept)

    async def _cannot_beat(self, error: ServerRefusedError) -> None:
        state = self._state
        self.registered = False
        state.lease.lost()
        state.counts.errors[error.code] += 1
        if error.code == "WRONGTYPE":
            state.poisoned(error)
            types = ["hash", "zset", "zset", "stream", "hash"]
            await scripts.run(self.command, scripts.TYPES, self._beat_keys(), types)
            self._poke.set()
        state.set_status("degraded", str(error))
        state.emit_leases()

    def _beat_keys(self) -> list[str]:
        keys = self._state.keys
        return [*keys.node, keys.heard, keys.loss, keys.vnis]

    # Whose turn it is.

    def _next_mirrors(self) -> list[Mirror]:
        mirrors = [mirror for mirror in self._state.mirrors.values() if not self._reader.is_behind(mirror)]
        return _next_of(mirrors, self._turn, COMPARED)

    def _next_names(self) -> list[str]:
        """Nodes not asked for yet, then some of the others in turn."""
        self._asked &= self._state.watched.keys()
        fresh = list(islice((name for name in self._state.watched if name not in self._asked), ASKED_FIRST))
        self._asked.update(fresh)
        return [*fresh, *_next_of([n for n in self._state.watched if n not in fresh], self._turn, ASKED)]

    def _compared_keys(self, mirrors: Iterable[Mirror]) -> list[str]:
        return self._log_keys(mirror.vni for mirror in mirrors)

    def _log_keys(self, vnis: Iterable[int]) -> list[str]:
        return [key for vni in vnis for key in self._state.keys.parts(vni, "meta", "log")]


T = TypeVar("T")


def _next_of(things: list[T], turn: int, count: int) -> list[T]:
    """The next ``count`` of a list that is gone through in turns."""
    if len(things) <= count:
        return things
    start = turn * count % len(things)
    return (things + things)[start : start + count]


def _marks(mirrors: Iterable[Mirror]) -> list[Word]:
    words: list[Word] = []
    for mirror in mirrors:
        words += [mirror.gen, mirror.rev, f"{mirror.digest:016x}"]
    return words


def _why_not_ours(status: str, detail: str) -> str:
    if status == "fenced":
        return f"fenced by a newer start of this node (epoch {detail})"
    try:
        name = detail.split(" ")[3]
        return f"node name in use by VTEP {encode_vteps(decode_member(name.encode(), detail.encode()).vteps)}"
    except (IndexError, Poisoned):
        return "node name in use by another node"


async def _wait_broken(link: Link) -> None:
    await link.broken.wait()
    raise link.error or LinkDownError("closed", "the connection is closed")


def _the_reason(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error that explains the end of a session; a bug comes before everything else."""
    flat = _flatten(group)
    known = [error for error in flat if isinstance(error, LinkDownError | ServerRefusedError)]
    unknown = [error for error in flat if not isinstance(error, LinkDownError | ServerRefusedError)]
    first = (unknown or known)[0]
    if isinstance(first, ServerRefusedError):
        return LinkDownError(first.code, str(first), degraded=True)
    return first


def _flatten(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _flatten(inner)]
    return [error]
