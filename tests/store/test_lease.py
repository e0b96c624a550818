"""Who may judge others: only who has held its own lease for long enough."""

from __future__ import annotations

from vxswitch.store.lease import OwnLease
from vxswitch.store.rules import Rules

RULES = Rules(lease=3.0, beat=1.0, grace=60.0)


def held(until: int) -> OwnLease:
    """A lease that was taken at 0 and renewed every second."""
    lease = OwnLease(RULES)
    for second in range(until + 1):
        lease.renewed(float(second), anew=second == 0)
    return lease


def test_nobody_is_judged_in_the_first_lease_period() -> None:
    assert not OwnLease(RULES).trusted(100.0)
    assert not held(2).trusted(2.9)
    assert held(3).trusted(3.0)


def test_a_lost_beat_begins_anew() -> None:
    lease = held(10)
    lease.lost()
    assert not lease.trusted(10.0)
    lease.renewed(11.0, anew=False)
    assert not lease.trusted(13.9)
    lease.renewed(13.0, anew=False)
    assert lease.trusted(14.0)


def test_a_pause_longer_than_the_lease_begins_anew() -> None:
    lease = held(10)
    assert not lease.trusted(13.1)
    lease.renewed(14.0, anew=False)
    assert not lease.trusted(14.0)


def test_a_lease_taken_anew_begins_anew() -> None:
    lease = held(10)
    lease.renewed(11.0, anew=True)
    assert not lease.trusted(11.0)


def test_only_a_whole_grace_period_allows_to_reap() -> None:
    assert not held(59).may_reap(59.0)
    assert held(60).may_reap(60.0)
    assert not held(60).may_reap(64.0)


def test_a_grace_shorter_than_the_lease_is_no_shortcut() -> None:
    lease = OwnLease(Rules(lease=3.0, grace=0.0))
    lease.renewed(0.0, anew=True)
    assert not lease.may_reap(1.0)


def test_what_the_store_has_lost_is_given_up_only_while_it_answers() -> None:
    lease = held(10)
    assert lease.may_give_up(10.0)
    lease.lost()
    assert not lease.may_give_up(10.0)
    lease.renewed(20.0, anew=True)
    assert not lease.may_give_up(20.0 + RULES.lease)  # nobody else had more time than that
    for second in range(21, 21 + int(RULES.come_back) + 1):
        lease.renewed(float(second), anew=False)
    assert lease.may_give_up(20.0 + RULES.come_back)


def test_heartbeats_that_were_never_answered_explain_an_epoch_ahead() -> None:
    lease = OwnLease(RULES)
    lease.asks()
    assert not lease.answered(1)  # nothing was lost: another start of this node
    lease.asks()
    lease.asks()
    lease.asks()
    assert lease.answered(2)
    lease.asks()
    assert not lease.answered(1)  # told once
    lease.asks()
    lease.asks()
    assert not lease.answered(2)  # more than could be ours


def test_a_leap_of_the_stores_clock_begins_anew() -> None:
    for leap, judged in ((0.9, True), (-0.9, True), (1.1, False), (-3600.0, False)):
        lease = held(9)
        lease.clocks(9.0, 9.0, 5000.0)
        lease.clocks(10.0, 10.0, 5001.0 + leap)
        lease.renewed(10.0, anew=False)
        assert lease.trusted(10.0) is judged


def test_a_slow_answer_is_no_leap() -> None:
    lease = held(9)
    lease.clocks(8.0, 9.0, 5000.0)
    lease.clocks(10.0, 12.0, 5003.4)  # between 2 and 4 s later by ours, 3.4 s by theirs
    lease.renewed(12.0, anew=False)
    assert lease.trusted(12.0)
    lease.clocks(13.0, 13.0, 5007.5)
    lease.renewed(13.0, anew=False)
    assert not lease.trusted(13.0)
