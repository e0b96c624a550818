"""How the leases stand, out of what each bucket says of the nodes in its own VNIs.

A node has a lease in every bucket that it uses, and whoever reads a bucket hears of it there. The words are put
together by two rules:

- A lease in any bucket is a live node. Its lease elsewhere may have run out because it lost one server of the
  cluster and no other: such a node forwards, and claims where it can; what it has is not deleted there.
- Absence is believed only while every bucket is trusted: a node may be known from the bucket that is away alone.
  So the outage of one server suspends nobody, as the outage of the only one does.
- Whoever has taken a lease back and has none in any bucket has left.

A bucket's last word stands until its next one: a heartbeat that hangs says nothing about anybody. Each change is
told at once; what has not changed is told with the words of bucket 0, once per heartbeat. Pure.
"""

from __future__ import annotations

from vxswitch.model import LeaseState


class Leases:
    """See the head of this file."""

    def __init__(self) -> None:
        self._words: dict[int, LeaseState] = {}

    def add(self, bucket: int) -> None:
        """A bucket is used from now on, and has not said anything: it is not trusted."""
        self._words.setdefault(bucket, LeaseState({}, trusted=False))

    def note(self, bucket: int, word: LeaseState) -> LeaseState | None:
        """What is to be told now that a bucket said this, None if that is nothing new."""
        before = self._words.get(bucket)
        self._words[bucket] = word
        same = (
            before is not None
            and before.trusted == word.trusted
            and before.seconds_left.keys() == word.seconds_left.keys()
            and before.left == word.left
        )
        return None if same and bucket != 0 else self.merged()

    def lives_elsewhere(self, bucket: int, name: str) -> bool:
        """Whether a node has a lease in another bucket, by the last word of one that is trusted."""
        return any(
            word.trusted and word.seconds_left.get(name, 0.0) > 0.0
            for other, word in self._words.items()
            if other != bucket
        )

    def merged(self) -> LeaseState:
        """How the leases stand."""
        left: dict[str, float] = {}
        for word in self._words.values():
            for name, seconds in word.seconds_left.items():
                left[name] = max(seconds, left.get(name, 0.0))
        trusted = all(word.trusted for word in self._words.values())
        gone = frozenset(name for word in self._words.values() for name in word.left if name not in left)
        return LeaseState(left, trusted, gone)
