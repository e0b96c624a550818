"""One VNI as this node has read it: the rows, members and groups at one rev, with their digest.

Changes arrive in rev order (``apply``), or all at once (``load``). The digest is computed here from the decoded
values, so that it proves what is in memory, not what was received; ``digest_after`` tells it before a change is
believed.

When the store's history broke (it was flushed, or a stale replica was promoted) a snapshot lacks rows whose owners
only have not come back yet. ``load`` then keeps them: the Snapshot that it returns still has them, with revs beyond
its own, and ``give_up`` withdraws those that nobody claimed again in time. Whoever has only just come back is given as
much time again, and so is whoever is cut off from the store alone. Kept rows are never part of the digest. Pure: the
clock is handed in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from vxswitch.model import (
    Claim,
    Claimed,
    Event,
    GroupsChanged,
    MemberJoined,
    MemberLeft,
    NodeRecord,
    Snapshot,
    Withdrawn,
)
from vxswitch.store.base import VniDigest
from vxswitch.store.codec import member_digest, row_digest
from vxswitch.store.groups import NONE, groups_digest

# Snapshot reasons after which owners must be given time to come back.
BROKEN_HISTORY = frozenset({"gen", "rev", "digest", "poison"})

Change = Claimed | Withdrawn | MemberJoined | MemberLeft | GroupsChanged


class Mark(NamedTuple):
    """A point in a VNI's history, and the digest of the rows, members and groups at it."""

    gen: str
    rev: int
    digest: int


class Mirror:
    """See the head of this file. ``watched`` counts, over all VNIs, the rows and memberships of each node.

    A node without groups is not in ``groups``; ``frozen`` are the MACs of rows with that flag.
    """

    def __init__(self, vni: int, watched: Counter[str]) -> None:
        self.vni = vni
        self.gen = ""
        self.rev = 0
        self.digest = 0
        self.rows: dict[bytes, Claim] = {}
        self.members: dict[str, NodeRecord] = {}
        self.groups: dict[str, frozenset[str]] = {}
        self.frozen: set[bytes] = set()
        self.loaded = False
        self._watched = watched
        self._kept_rows: dict[bytes, Claim] = {}
        self._kept_members: dict[str, NodeRecord] = {}
        self._kept_groups: dict[str, frozenset[str]] = {}
        self._kept_until = 0.0
        self._returned: set[str] = set()  # members since that time began

    def load(
        self,
        mark: Mark,
        rows: dict[bytes, Claim],
        members: dict[str, NodeRecord],
        groups: dict[str, frozenset[str]],
        reason: str,
        keep_until: float,
    ) -> Snapshot:
        """Everything anew; ``keep_until``: the monotonic time until which absent owners are waited for.

        The dicts are the mirror's from now on. No step of this is done per row in Python code: a table of 16384 rows
        takes a few milliseconds.
        """
        if reason in BROKEN_HISTORY:
            self._kept_rows |= self.rows
            self._kept_groups |= self.groups
            self._keep_members()
            self._kept_until = keep_until
            self._returned.clear()
        self._clear()
        self.rows, self.members, self.groups = rows, members, groups
        self.frozen = {row.mac for row in rows.values() if "frozen" in row.flags}
        self._watched.update(self._named())
        self._kept_rows = {mac: row for mac, row in self._kept_rows.items() if mac not in rows}
        self._kept_groups = {name: theirs for name, theirs in self._kept_groups.items() if name not in groups}
        for name in self._kept_members.keys() & members.keys():
            self._drop_kept(name)
        self.gen, self.rev, self.digest = mark
        self.loaded = True
        return Snapshot(
            vni=self.vni,
            rev=self.rev,
            rows=(*self.rows.values(), *(self._vouch(row) for row in self._kept_rows.values())),
            members=(*self.members.values(), *self._kept_members.values()),
            reason=reason,
            groups={**self._kept_groups, **self.groups},
        )

    def broken_by(self, mark: Mark) -> str | None:
        """Why tables with this mark do not continue what was read, whatever they were read for; None if they may."""
        if not self.loaded:
            return None
        if mark.gen != self.gen:
            return "gen"
        if mark.rev < self.rev:
            return "rev"
        return "digest" if mark.rev == self.rev and mark.digest != self.digest else None

    def drop(self) -> None:
        """Forget everything."""
        self._clear()
        self._kept_rows, self._kept_groups = {}, {}
        for name in list(self._kept_members):
            self._drop_kept(name)

    def _clear(self) -> None:
        """Forget rows and members (not the kept ones), as before the first ``load``."""
        for name, times in self._named().items():
            self._unwatch(name, times)
        self.rows, self.members, self.groups, self.frozen, self.digest, self.loaded = {}, {}, {}, set(), 0, False

    @property
    def summary(self) -> VniDigest:
        """Rev, digest and number of rows."""
        return VniDigest(self.rev, f"{self.digest:016x}", len(self.rows))

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
            case GroupsChanged(node=name, groups=groups):
                return self.digest ^ groups_digest(name, self.groups.get(name, NONE)) ^ groups_digest(name, groups)

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
            case GroupsChanged(node=name, groups=groups, rev=rev):
                self._put_groups(name, groups)
                self.rev = rev

    @property
    def keeps(self) -> bool:
        """Whether anything is kept."""
        return bool(self._kept_rows or self._kept_members or self._kept_groups)

    def give_up(self, now: float, patience: float, cut_off: Callable[[str], bool]) -> list[Event]:
        """Withdraw what was kept and not claimed again, once its time is over.

        Spared for ``patience`` seconds more: what members have who came back since, and what nodes have that are
        ``cut_off``: heard, but not by the store.
        """
        if now < self._kept_until or not self.keeps:
            return []
        owners = {row.node for row in self._kept_rows.values()} | self._kept_members.keys() | self._kept_groups.keys()
        spared = self._returned | {name for name in owners - self.members.keys() if cut_off(name)}
        self._kept_until = now + patience
        self._returned = set()
        macs = [mac for mac, row in self._kept_rows.items() if row.node not in spared]
        silent = [name for name in self._kept_groups if name not in spared]
        left = [name for name in self._kept_members if name not in spared]
        for mac in macs:
            del self._kept_rows[mac]
        for name in silent:
            del self._kept_groups[name]
        for name in left:
            self._drop_kept(name)
        return [
            *(Withdrawn(self.vni, mac, self.rev) for mac in macs),
            *(GroupsChanged(self.vni, name, NONE, self.rev) for name in silent),
            *(MemberLeft(self.vni, name, self.rev) for name in left),
        ]

    def _keep_members(self) -> None:
        """Kept members stay watched: their leases are asked for, and nobody takes them for dead meanwhile."""
        for name, node in self.members.items():
            if name not in self._kept_members:
                self._watched[name] += 1
            self._kept_members[name] = node

    def _drop_kept(self, name: str) -> None:
        if self._kept_members.pop(name, None) is not None:
            self._unwatch(name)

    def _vouch(self, row: Claim) -> Claim:
        return row if row.rev > self.rev else replace(row, rev=self.rev + 1)

    def _row_digest(self, mac: bytes) -> int:
        return row_digest(self.rows[mac]) if mac in self.rows else 0

    def _member_digest(self, name: str) -> int:
        return member_digest(self.members[name]) if name in self.members else 0

    def _put_row(self, claim: Claim) -> None:
        self.rows[claim.mac] = claim
        if "frozen" in claim.flags:
            self.frozen.add(claim.mac)
        self._watched[claim.node] += 1
        self._kept_rows.pop(claim.mac, None)

    def _take_row(self, mac: bytes) -> None:
        old = self.rows.pop(mac, None)
        if old is not None:
            self._unwatch(old.node)
            self.frozen.discard(mac)
        self._kept_rows.pop(mac, None)

    def _put_member(self, node: NodeRecord) -> None:
        self.members[node.name] = node
        self._watched[node.name] += 1
        if self.keeps:
            self._returned.add(node.name)
        self._drop_kept(node.name)

    def _take_member(self, name: str) -> None:
        if self.members.pop(name, None) is not None:
            self._unwatch(name)
        self._drop_kept(name)

    def _put_groups(self, name: str, groups: frozenset[str]) -> None:
        self._kept_groups.pop(name, None)
        if groups:
            self.groups[name] = groups
        else:
            self.groups.pop(name, None)

    def _named(self) -> Counter[str]:
        """The nodes of rows and members, how often each."""
        return Counter([*(row.node for row in self.rows.values()), *self.members])

    def _unwatch(self, name: str, times: int = 1) -> None:
        self._watched[name] -= times
        if not self._watched[name]:
            del self._watched[name]
