"""This node's own lease as it looks back on it: how long it has been renewed without a break.

Others are judged by their leases only while our own could be renewed for one whole lease period: an outage or a
pause of the store stops every lease at once, and says nothing about the nodes; so does a leap of the store's clock (set
by hand, or another server's after a failover). Rows of the dead are deleted only by a node whose own lease was renewed
for the whole grace period: then the dead one had the same store for as long.

A heartbeat that was not answered may be carried out all the same, even late: a store that was stopped and goes on does
what it finds in its sockets. Each of ours that registers us anew takes an epoch, so the store's may be ahead of ours by
as many as there were unanswered ones; that is no newer start of this node. Pure: the (monotonic) clock is handed in.
"""

from __future__ import annotations

from vxswitch.store.rules import Rules


class OwnLease:
    """See the head of this file."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self._since: float | None = None
        self._last = 0.0
        self._unanswered = 0
        self._ahead: tuple[float, float] | None = None  # the store's clock less ours, and how far that may be wrong

    def asks(self) -> None:
        """A heartbeat is being sent."""
        self._unanswered += 1

    def answered(self, ahead: int = 0) -> bool:
        """One was answered; the store's epoch is ``ahead`` of ours: whether our own lost heartbeats explain that."""
        explained = 0 < ahead < self._unanswered
        self._unanswered = 0
        return explained

    def clocks(self, sent: float, now: float, theirs: float) -> None:
        """The store's time as it stood somewhere between ``sent`` and ``now``: has it leapt by a beat or more?"""
        before, self._ahead = self._ahead, (theirs - (sent + now) / 2, (now - sent) / 2)
        if before is not None and abs(self._ahead[0] - before[0]) > self.rules.beat + self._ahead[1] + before[1]:
            self._since = None

    def renewed(self, now: float, *, anew: bool) -> None:
        """A heartbeat succeeded; ``anew``: the lease had run out, or was never held."""
        if self._since is None or anew or now - self._last > self.rules.lease:
            self._since = now
        self._last = now

    def lost(self) -> None:
        """A heartbeat failed, or the connection is gone."""
        self._since = None

    def trusted(self, now: float) -> bool:
        """Whether others may be judged by their leases."""
        return self._held_for(now) >= self.rules.lease

    def may_give_up(self, now: float) -> bool:
        """Whether others had the time to come back to a store that lost its data: only where it answers all along."""
        return self._held_for(now) >= self.rules.come_back

    def may_reap(self, now: float) -> bool:
        """Whether rows of nodes that have been dead for the grace period may be deleted by us."""
        return self._held_for(now) >= max(self.rules.grace, self.rules.lease)

    def _held_for(self, now: float) -> float:
        if self._since is None or now - self._last > self.rules.lease:
            return -1.0
        return now - self._since
