"""One VNI as this node has read it: the rows and members at one rev, with their digest.

Changes arrive in rev order (``apply``), or all at once (``load``). The digest is computed here from the decoded
values, so that it proves what is in memory, not what was received; ``digest_after`` tells it before a change is
believed.

When the store's history broke (it was flushed, or a stale replica was promoted) a snapshot lacks rows whose owners
only have not come back yet. ``load`` then keeps them: the Snapshot that it returns still has them, with revs beyond
its own, and ``give_up`` withdraws those that nobody claimed again in time. Kept rows are never part of the digest.
Pure: the clock is handed in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

from vxswitch.model import (
    Claim,
    Claimed,
    Event,
    MemberJoined,
    MemberLeft,
    NodeRecord,
    Snapshot,
    Withdrawn,
)
from vxswitch.store.codec import member_digest, row_digest

# Snapshot reasons after which owners must be given time to come back.
BROKEN_HISTORY = frozenset({"gen", "rev", "digest", "poison"})

Change = Claimed | Withdrawn | MemberJoined | MemberLeft


class Mark(NamedTuple):
    """A point in a VNI's history, and the digest of the rows and members at it."""

    gen: str
    rev: int
    digest: int


class Mirror:
    """See the head of this file. ``watched`` counts, over all VNIs, the rows and memberships of each node."""

    def __init__(self, vni: int, watched: Counter[str]) -> None:
        self.vni = vni
        self.gen = ""
        self.rev = 0
        self.digest = 0
        self.rows: dict[bytes, Claim] = {}
        self.members: dict[str, NodeRecord] = {}
        self.loaded = False
        self._watched = watched
        self._kept_rows: dict[bytes, Claim] = {}
        self._kept_members: dict[str, NodeRecord] = {}
        self._kept_until = 0.0

    def load(
        self,
        mark: Mark,
        rows: Iterable[Claim],
        members: Iterable[NodeRecord],
        reason: str,
        keep_until: float,
    ) -> Snapshot:
        """Everything anew; ``keep_until``: the monotonic time until which absent owners are waited for."""
        if reason in BROKEN_HISTORY:
            self._kept_rows |= self.rows
            self._kept_members |= self.members
            self._kept_until = keep_until
        self.drop()
        for claim in rows:
            self._put_row(claim)
        for node in members:
            self._put_member(node)
        self.gen, self.rev, self.digest = mark
        self.loaded = True
        return Snapshot(
            vni=self.vni,
            rev=self.rev,
            rows=(*self.rows.values(), *(self._vouch(row) for row in self._kept_rows.values())),
            members=(*self.members.values(), *self._kept_members.values()),
            reason=reason,
        )

    def drop(self) -> None:
        """Forget rows and members (not the kept ones), as before the first ``load``."""
        for row in self.rows.values():
            self._unwatch(row.node)
        for name in self.members:
            self._unwatch(name)
        self.rows, self.members, self.digest, self.loaded = {}, {}, 0, False

    def digest_after(self, change: Change) -> int:
        """The digest as it would be after this change."""
        match change:
            case Claimed(claim):
                return self.digest ^ self._row_digest(claim.mac) ^ row_digest(claim)
            case Withdrawn(mac=mac):
                return self.digest ^ self._row_digest(mac)
            case MemberJoined(node=node):
                return self.digest ^ self._member_digest(node.name) ^ member_digest(node)
            case MemberLeft(node=name):
                return self.digest ^ self._member_digest(name)

    def apply(self, change: Change) -> None:
        """One change, which takes its rev."""
        self.digest = self.digest_after(change)
        match change:
            case Claimed(claim):
                self._take_row(claim.mac)
                self._put_row(claim)
                self.rev = claim.rev
            case Withdrawn(mac=mac, rev=rev):
                self._take_row(mac)
                self.rev = rev
            case MemberJoined(node=node, rev=rev):
                self._take_member(node.name)
                self._put_member(node)
                self.rev = rev
            case MemberLeft(node=name, rev=rev):
                self._take_member(name)
                self.rev = rev

    def give_up(self, now: float) -> list[Event]:
        """Withdraw what was kept and not claimed again, once its time is over."""
        if now < self._kept_until or not (self._kept_rows or self._kept_members):
            return []
        events: list[Event] = [Withdrawn(self.vni, mac, self.rev) for mac in self._kept_rows]
        events += [MemberLeft(self.vni, name, self.rev) for name in self._kept_members]
        self._kept_rows, self._kept_members = {}, {}
        return events

    def _vouch(self, row: Claim) -> Claim:
        return row if row.rev > self.rev else replace(row, rev=self.rev + 1)

    def _row_digest(self, mac: bytes) -> int:
        return row_digest(self.rows[mac]) if mac in self.rows else 0

    def _member_digest(self, name: str) -> int:
        return member_digest(self.members[name]) if name in self.members else 0

    def _put_row(self, claim: Claim) -> None:
        self.rows[claim.mac] = claim
        self._watched[claim.node] += 1
        self._kept_rows.pop(claim.mac, None)

    def _take_row(self, mac: bytes) -> None:
        old = self.rows.pop(mac, None)
        if old is not None:
            self._unwatch(old.node)
        self._kept_rows.pop(mac, None)

    def _put_member(self, node: NodeRecord) -> None:
        self.members[node.name] = node
        self._watched[node.name] += 1
        self._kept_members.pop(node.name, None)

    def _take_member(self, name: str) -> None:
        if self.members.pop(name, None) is not None:
            self._unwatch(name)
        self._kept_members.pop(name, None)

    def _unwatch(self, name: str) -> None:
        self._watched[name] -= 1
        if not self._watched[name]:
            del self._watched[name]
