"""The tables of a store in memory, with the rules of the Lua scripts, for many simulated nodes and one clock.

``MemoryHub`` is what the server is to RedisStore: each method is one script, judged by the hub's own clock. Changes
of a VNI take a rev and are logged; every listener is called after each, so that stores read on at once. Faults for
simulations: ``available`` (no call goes through) and ``flush`` (all is forgotten, as after FLUSHALL).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import count

from vxswitch.model import (
    Claim,
    Claimed,
    GroupsChanged,
    LogEntry,
    MemberJoined,
    MemberLeft,
    NetworkRecord,
    NodeRecord,
    Withdrawn,
)
from vxswitch.store.base import ClaimResult, LocalMac
from vxswitch.store.codec import encode_member
from vxswitch.store.groups import NONE
from vxswitch.store.memory_records import MemoryRecords
from vxswitch.store.mirror import Change, Mirror
from vxswitch.store.networks import closed_after_loss, not_registered
from vxswitch.store.rules import LOG_LENGTH, Clock, Rules


@dataclass(frozen=True, slots=True)
class Lapse:
    """In the log: a node took its own lease back."""

    vni: int
    node: str
    rev: int


@dataclass(frozen=True, slots=True)
class Logged:
    """A line of the log: what changed, when by the wall clock, whose it was, and why."""

    change: Change | Lapse
    time: float
    node: str
    detail: str


@dataclass(slots=True)
class Table:
    """One VNI. ``moves``: per MAC the contested moves as (time, loser's uid); ``frozen``: until when."""

    truth: Mirror
    moves: dict[bytes, list[tuple[float, str]]] = field(default_factory=dict)
    frozen: dict[bytes, float] = field(default_factory=dict)
    log: deque[Logged] = field(default_factory=lambda: deque(maxlen=LOG_LENGTH))
    acks: dict[str, int] = field(default_factory=dict)

    @property
    def rows(self) -> dict[bytes, Claim]:
        """Rows by MAC; changed only through the log."""
        return self.truth.rows

    @property
    def members(self) -> dict[str, NodeRecord]:
        """Members by name; changed only through the log."""
        return self.truth.members

    @property
    def next_rev(self) -> int:
        """The rev that the next change takes."""
        return self.truth.rev + 1


class MemoryHub:
    """See the head of this file."""

    def __init__(self, clock: Clock | None = None, rules: Rules | None = None) -> None:
        self.clock = clock or Clock()
        self.rules = rules or Rules()
        self.available = True
        self.listeners: list[Callable[[int], None]] = []
        self._generations = count(1)
        self.flush()

    def flush(self) -> None:
        """Forget everything."""
        self.nodes: dict[str, NodeRecord] = {}
        self.leases: dict[str, float] = {}
        self.departed: set[str] = set()  # took their lease back themselves, and have none since
        self.heard: dict[str, float] = {}  # when a peer heard a node that had no lease
        self.tables: dict[int, Table] = {}
        self.records = MemoryRecords(self.rules)

    def table(self, vni: int) -> Table:
        """The table of a VNI, a new one with a new gen if there is none."""
        if vni not in self.tables:
            truth = Mirror(vni, Counter())
            truth.gen = f"{next(self._generations):016x}"
            self.tables[vni] = Table(truth)
        return self.tables[vni]

    def lives(self, name: str, uid: str | None = None) -> bool:
        """Whether a node's lease is live (and the node still the one with this uid)."""
        node = self.nodes.get(name)
        if uid is not None and (node is None or node.uid != uid):
            return False
        return self.leases.get(name, 0.0) > self.now

    def is_dead(self, name: str) -> bool:
        """Whether a node had no lease for the grace period, and nobody heard it."""
        return max(self.leases.get(name, 0.0), self.heard.get(name, 0.0)) <= self.now - self.rules.grace

    @property
    def now(self) -> float:
        """The hub's clock, in seconds."""
        return self.clock.monotonic()

    # The scripts, in the order in which a node's life needs them.

    def beat(self, node: NodeRecord, *, known: bool = False) -> tuple[str, NodeRecord]:
        """Register or renew: ``renewed``, ``registered`` (with the epoch now valid), ``taken`` or ``fenced``.

        ``known``: it was registered once; if it is not now, data are lost.
        """
        self._shorten()
        old, live = self.nodes.get(node.name), self.lives(node.name)
        if old is None and known and self.records.closed_until <= self.now:
            self.records.closed_until = self.now + self.rules.come_back
        if old and old.uid != node.uid and live:
            return "taken", old
        if old and old.uid == node.uid and old.epoch > node.epoch and live:
            return "fenced", old
        renewed = live and old is not None and (old.uid, old.epoch) == (node.uid, node.epoch)
        if not renewed and old and old.uid == node.uid and old.epoch >= node.epoch:
            node = replace(node, epoch=old.epoch + 1)
        self.nodes[node.name] = node
        self.leases[node.name] = self.now + self.rules.lease
        self.departed.discard(node.name)
        return ("renewed" if renewed else "registered"), node

    def _shorten(self) -> None:
        """A lease that lasts longer than any was taken before the clock went back: a whole one is left at most."""
        longest = self.now + self.rules.lease
        for name in [name for name, ends in self.leases.items() if ends > longest]:
            self.leases[name] = longest

    def create_network(self, node: NodeRecord, record: NetworkRecord, *, again: bool) -> NetworkRecord:
        """A network, if it may be new now, or was there before data were lost, or is there."""
        if not again and record.name not in self.records.networks:
            known = self.nodes.get(node.name)
            if known is None or known.uid != node.uid:
                raise not_registered(record)
            if self.records.closed_until > self.now:
                raise closed_after_loss(record, self.records.closed_until - self.now)
        return self.records.create(record)

    def fence(self, node: NodeRecord) -> str | None:
        """Why this node may not write now, None if it may."""
        known = self.nodes.get(node.name)
        if known and (known.uid != node.uid or known.epoch > node.epoch):
            return "fenced"
        if known is None or known.epoch < node.epoch or not self.lives(node.name):
            return "no_lease"
        return None

    def join(self, node: NodeRecord, vni: int) -> str | None:
        """Become a member; takes a rev if that changes anything."""
        if refused := self.fence(node):
            return refused
        table = self.table(vni)
        old = table.members.get(node.name)
        if old is None or encode_member(old) != encode_member(node):
            table.acks.pop(node.name, None)
            self._log(MemberJoined(vni, node, table.next_rev), node.name, f"epoch {node.epoch}")
        return None

    def leave(self, node: NodeRecord, vni: int) -> None:
        """Rows first, then the membership."""
        if self.fence(node) != "fenced":
            self._drop_node(vni, node.name, "left")

    def set_groups(self, node: NodeRecord, vni: int, groups: frozenset[str]) -> None:
        """What a member listens to; takes a rev if that changes anything."""
        table = self.table(vni)
        if not self.fence(node) and node.name in table.members:
            self._put_groups(vni, node.name, groups)

    def ack(self, node: NodeRecord, vni: int, gen: str, rev: int) -> None:
        """A member has come this far in the history ``gen``."""
        table = self.table(vni)
        if not self.fence(node) and node.name in table.members and gen == table.truth.gen:
            table.acks[node.name] = rev

    def acks(self, vni: int) -> dict[str, int]:
        """How far the members with a live lease have come."""
        table = self.table(vni)
        return {name: table.acks.get(name, 0) for name in table.members if self.lives(name)}

    def history(self, vni: int, mac: bytes | None, limit: int) -> list[LogEntry]:
        """The latest lines of the log, newest last."""
        entries = [_log_entry(logged) for logged in self.table(vni).log]
        return [entry for entry in entries if mac in (None, entry.mac)][-limit:]

    def claim(self, node: NodeRecord, local: LocalMac, evidence: str) -> ClaimResult:
        """One claim; the order of the rules is that of claim.lua."""
        table = self.table(local.vni)
        row = table.rows.get(local.mac)
        if refused := self.fence(node):
            return ClaimResult(row, refused)
        if row and (row.node, row.uid) == (node.name, node.uid):
            return self._claim_again(table, node, local, row, evidence)
        if row is None and len(table.rows) >= self.rules.max_rows:
            return ClaimResult(None, "full")
        flags, why = local.flags, [evidence]
        if row is not None:
            if refused := self._refuse_move(table, row, evidence):
                return ClaimResult(row, refused)
            why.append(f"from {row.node}")
            if self.lives(row.node, row.uid):
                why.append("contested")
                if self._contested(table, row):
                    flags = (*flags, "frozen")
                    why.append("frozen")
        return ClaimResult(self._put(table, node, local, flags, self.clock.wall(), why))

    def release(self, node: NodeRecord, vni: int, mac: bytes, rev: int = 0) -> None:
        """Compare and delete; ``rev`` 0: whatever it is now. Another's row: the move was orderly."""
        if self.fence(node) == "fenced":
            return
        table = self.table(vni)
        row = table.rows.get(mac)
        if row and row.node == node.name:
            if rev in (0, row.rev):
                self._drop_row(vni, mac, "released")
        elif row and mac in table.moves:
            table.moves[mac] = [move for move in table.moves[mac] if move[1] != node.uid]

    def thaw(self, vni: int, mac: bytes) -> bool:
        """True if the MAC was frozen."""
        table = self.table(vni)
        row = table.rows.get(mac)
        table.moves.pop(mac, None)
        table.frozen.pop(mac, None)
        if row is None or "frozen" not in row.flags:
            return False
        thawed = replace(row, flags=tuple(f for f in row.flags if f != "frozen"), rev=table.next_rev)
        self._log(Claimed(thawed), row.node, "thawed by hand")
        return True

    def lapse(self, node: NodeRecord, vnis: list[int]) -> None:
        """Take the lease back, and say so."""
        if self.fence(node):
            return
        self.leases[node.name] = self.now
        self.departed.add(node.name)
        for vni in vnis:
            self._log(Lapse(vni, node.name, self.table(vni).next_rev), node.name, "")

    def hear(self, names: list[str]) -> None:
        """A node says that it hears these, which have no lease."""
        self.heard.update((name, self.now) for name in names if not self.lives(name))

    def reap(self, node: NodeRecord, vni: int, dead: str) -> None:
        """Delete what a node has that has been dead for the grace period."""
        if self.fence(node):
            return
        self.leases.setdefault(dead, self.now)
        if self.heard.get(dead, 0.0) > self.now:  # noted before the clock went back
            self.heard[dead] = self.now
        if self.is_dead(dead):
            self._drop_node(vni, dead, f"dead, says {node.name}")

    # Parts of the above.

    def _refuse_move(self, table: Table, row: Claim, evidence: str) -> str | None:
        if "sticky" in row.flags:
            return "sticky"
        if self._is_frozen(table, row):
            return "frozen"
        if self.lives(row.node, row.uid):
            if evidence == "reassert":
                return "moved"
            if evidence == "frame" and 0.0 <= self.clock.wall() - row.since < self.rules.hold_down:
                return "hold_down"
        return None

    def _is_frozen(self, table: Table, row: Claim) -> bool:
        """Times that cannot be, seen from now, were noted before the clock went back, and bind nobody."""
        return self.now < table.frozen.get(row.mac, 0.0) <= self.now + self.rules.freeze

    def _contested(self, table: Table, row: Claim) -> bool:
        recent = [m for m in table.moves.get(row.mac, []) if 0.0 <= self.now - m[0] < self.rules.contested_window]
        recent.append((self.now, row.uid))
        if len(recent) < self.rules.contested_moves:
            table.moves[row.mac] = recent
            return False
        table.moves.pop(row.mac, None)
        table.frozen[row.mac] = self.now + self.rules.freeze
        return True

    def _claim_again(self, table: Table, node: NodeRecord, local: LocalMac, row: Claim, evidence: str) -> ClaimResult:
        flags, why = local.flags, [evidence, "again"]
        if "frozen" in row.flags and self._is_frozen(table, row):
            flags = (*flags, "frozen")
        elif "frozen" in row.flags:
            why.append("thawed")
        if (row.epoch, row.vteps, row.ips, row.flags) == (node.epoch, node.vteps, local.ips, flags):
            return ClaimResult(row)
        return ClaimResult(self._put(table, node, local, flags, row.since, why))

    def _put(
        self, table: Table, node: NodeRecord, local: LocalMac, flags: tuple[str, ...], since: float, why: list[str]
    ) -> Claim:
        row = Claim(
            vni=local.vni,
            mac=local.mac,
            node=node.name,
            uid=node.uid,
            epoch=node.epoch,
            vteps=node.vteps,
            ips=local.ips,
            flags=flags,
            since=since,
            rev=table.next_rev,
        )
        self._log(Claimed(row), node.name, ", ".join(why))
        return row

    def _put_groups(self, vni: int, name: str, groups: frozenset[str]) -> None:
        table = self.table(vni)
        before = table.truth.groups.get(name, NONE)
        if groups != before:
            detail = [f"+{group}" for group in sorted(groups - before)] + [f"-{g}" for g in sorted(before - groups)]
            self._log(GroupsChanged(vni, name, groups, table.next_rev), name, ",".join(detail))

    def _drop_row(self, vni: int, mac: bytes, why: str) -> None:
        table = self.tables[vni]
        table.moves.pop(mac, None)
        table.frozen.pop(mac, None)
        self._log(Withdrawn(vni, mac, table.next_rev), table.rows[mac].node, why)

    def _drop_node(self, vni: int, name: str, why: str) -> None:
        table = self.table(vni)
        for mac in [mac for mac, row in table.rows.items() if row.node == name]:
            self._drop_row(vni, mac, why)
        self._put_groups(vni, name, NONE)
        table.acks.pop(name, None)
        if name in table.members:
            self._log(MemberLeft(vni, name, table.next_rev), name, why)

    def _log(self, change: Change | Lapse, node: str, detail: str) -> None:
        vni = change.claim.vni if isinstance(change, Claimed) else change.vni
        table = self.table(vni)
        if isinstance(change, Lapse):
            table.truth.rev = change.rev
        else:
            table.truth.apply(change)
        table.log.append(Logged(change, self.clock.wall(), node, detail))
        for listener in list(self.listeners):
            listener(vni)


_KINDS = {MemberJoined: "join", MemberLeft: "leave", GroupsChanged: "groups", Lapse: "lapse"}


def _log_entry(logged: Logged) -> LogEntry:
    match logged.change:
        case Claimed(claim):
            return LogEntry(claim.rev, "claim", logged.time, claim.mac, logged.node, logged.detail)
        case Withdrawn(_, mac, rev):
            return LogEntry(rev, "withdraw", logged.time, mac, logged.node, logged.detail)
        case change:
            return LogEntry(change.rev, _KINDS[type(change)], logged.time, None, logged.node, logged.detail)
