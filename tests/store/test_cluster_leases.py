"""Leases out of the words of several buckets."""

from __future__ import annotations

from vxswitch.model import LeaseState
from vxswitch.store.cluster_leases import Leases


def word(trusted: bool = True, **left: float) -> LeaseState:
    return LeaseState(left, trusted)


def leases(*words: LeaseState) -> Leases:
    found = Leases()
    for bucket, said in enumerate(words):
        found.note(bucket, said)
    return found


def test_a_lease_in_any_bucket_is_a_live_node() -> None:
    assert leases(word(a=1.0), word(a=2.0, b=0.5), word()).merged() == word(a=2.0, b=0.5)


def test_who_took_his_lease_back_has_left_unless_another_bucket_knows_better() -> None:
    gone = LeaseState({}, True, frozenset("a"))
    assert leases(gone, word(b=1.0)).merged() == LeaseState({"b": 1.0}, True, frozenset("a"))
    assert leases(gone, word(a=1.0)).merged() == word(a=1.0)
    assert leases(word(), word()).note(1, gone) == gone


def test_absence_is_believed_while_every_bucket_is_trusted() -> None:
    found = leases(word(a=1.0), word(b=1.0))
    assert found.note(1, word(trusted=False)) == word(trusted=False, a=1.0)
    assert found.note(1, word()) == word(a=1.0)


def test_a_bucket_that_has_said_nothing_yet_is_not_trusted() -> None:
    found = leases(word(a=1.0))
    found.add(5)
    assert not found.merged().trusted
    assert found.note(5, word(b=1.0)) == word(a=1.0, b=1.0)
    found.add(5)
    assert found.merged().trusted


def test_a_node_that_lost_one_bucket_is_known_to_live_by_another() -> None:
    found = leases(word(a=1.0), word(b=1.0), word(trusted=False, c=1.0))
    assert found.lives_elsewhere(1, "a")
    assert not found.lives_elsewhere(0, "a")
    assert not found.lives_elsewhere(0, "c")


def test_changes_are_told_at_once_and_the_rest_with_bucket_0() -> None:
    found = leases(word(a=1.0), word(a=1.0, b=1.0))
    assert found.note(1, word(a=0.9, b=0.9)) is None
    assert found.note(1, word(a=0.9)) == word(a=1.0)
    assert found.note(0, word(a=0.8)) == word(a=0.9)
