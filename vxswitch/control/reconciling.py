"""What the reconciler keeps of each network, and what it needs of others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from vxswitch.fdb import LocalPort
from vxswitch.model import Claim


@dataclass(slots=True)
class Mirror:
    """One network as the store has it. ``unplaced``: MACs whose node is no VTEP that we could reach.

    ``snapshot``: the rev of the last one. A rev of ours that it has come past without our row is of a lost history.
    ``answered``: MACs about which the answer to a claim told something since the last snapshot began to be applied.
    ``later``: MACs that were ours later than that snapshot, of a store that lost data, has them with another node.
    """

    rows: dict[bytes, Claim] = field(default_factory=dict)
    rev: int = 0
    snapshot: int = 0
    unplaced: set[bytes] = field(default_factory=set)
    answered: set[bytes] = field(default_factory=set)
    later: set[bytes] = field(default_factory=set)

    def overtaken(self, mac: bytes, rev: int) -> bool:
        """The answer to a claim of our own has told something later already.

        Only where there was one: a row that is kept over a broken history has a rev of that history, and no say.
        """
        return mac in self.answered and mac in self.rows and rev < self.rows[mac].rev

    def compare(self, fresh: Mapping[bytes, Claim], uid: str) -> None:
        """Before a snapshot of a broken history is applied: what was ours (``uid``) later. Revs say nothing of that."""
        ours = [claim for claim in self.rows.values() if claim.uid == uid and claim.mac in fresh]
        self.later = {c.mac for c in ours if fresh[c.mac].uid != uid and fresh[c.mac].since < c.since}


class Announces(Protocol):
    """What the reconciler asks of the announcer."""

    def announce(self, vni: int, mac: bytes, *, seen: bool = False) -> None:
        """Claim a MAC that still stands behind a local port; ``seen``: it came here later than to any other node."""
        ...

    def release(self, vni: int, mac: bytes) -> None:
        """Give back a MAC that is not here."""
        ...

    def moved_away(self, vni: int, mac: bytes) -> None:
        """Another node has claimed a MAC that only happened to stand behind a local port."""
        ...

    def pending(self, vni: int, mac: bytes) -> bool:
        """A claim or release of the MAC is under way."""
        ...

    def gives_way(self, vni: int, mac: bytes) -> bool:
        """Another node's claim was read; false: one of ours is still to decide."""
        ...

    def crossed(self, vni: int, mac: bytes) -> None:
        """Something was read of a MAC while a claim of ours is under way: its answer may be the older one."""
        ...


class KnowsPorts(Protocol):
    """What the reconciler asks about local ports."""

    def given(self, vni: int, mac: bytes) -> LocalPort | None:
        """The live port that this MAC was given to."""
        ...

    def expects(self, vni: int, mac: bytes) -> bool:
        """A port with this MAC is recorded, but waits for its TAP."""
        ...


class KnowsGroups(Protocol):
    """Who is told what other nodes listen to."""

    def told(self, vni: int, node: str, groups: frozenset[str]) -> None:
        """All the multicast groups of a node; none: it has left."""
        ...

    def told_all(self, vni: int, groups: Mapping[str, frozenset[str]]) -> None:
        """All the multicast groups of all nodes."""
        ...

    def forget(self, vni: int) -> None:
        """We left the network."""
        ...
