"""A VNI in memory: the digest follows every change, and what a broken history took is kept for a while."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import reduce
from operator import xor
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.store.nodes import mac, record
from vxswitch.model import Claim, Claimed, GroupsChanged, MemberJoined, MemberLeft, NodeRecord, Vtep, Withdrawn
from vxswitch.store.base import deaf
from vxswitch.store.codec import decode_row, encode_row, member_digest, row_digest
from vxswitch.store.groups import groups_digest
from vxswitch.store.mirror import BROKEN_HISTORY, Change, Mark, Mirror

VNI = 7


def claim(number: int, owner: str, rev: int) -> Claim:
    return Claim(VNI, mac(number), owner, f"uid-{owner}", 1, (Vtep("10.0.0.1"),), since=1.0, rev=rev)


def fresh() -> Mirror:
    return Mirror(VNI, Counter())


def load(mirror: Mirror, reason: str, *rows: Claim, rev: int = 100, members: tuple[NodeRecord, ...] = ()) -> set[bytes]:
    """Load rows at a rev, kept until 10; the MACs in the snapshot."""
    digest = reduce(xor, [*map(row_digest, rows), *map(member_digest, members)], 0)
    event = mirror.load(
        Mark("gen", rev, digest),
        {row.mac: row for row in rows},
        {node.name: node for node in members},
        {},
        reason,
        10.0,
    )
    assert (event.rev, event.reason) == (rev, reason)
    return {row.mac for row in event.rows}


def changes(draws: list[tuple[int, int, str]]) -> list[Change]:
    kinds: dict[int, type[Change]] = {0: Claimed, 1: Withdrawn, 2: MemberJoined, 3: MemberLeft, 4: GroupsChanged}
    made: list[Change] = []
    for rev, (kind, number, name) in enumerate(draws, 1):
        match kinds[kind].__name__:
            case "Claimed":
                made.append(Claimed(claim(number, name, rev)))
            case "Withdrawn":
                made.append(Withdrawn(VNI, mac(number), rev))
            case "MemberJoined":
                made.append(MemberJoined(VNI, record(name, epoch=number + 1), rev))
            case "MemberLeft":
                made.append(MemberLeft(VNI, name, rev))
            case _:
                made.append(GroupsChanged(VNI, name, frozenset(f"239.0.0.{n}" for n in range(number)), rev))
    return made


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 5), st.sampled_from(["one", "two", "three"]))))
def test_the_digest_is_that_of_the_contents_whatever_happened(draws: list[tuple[int, int, str]]) -> None:
    mirror = fresh()
    for change in changes(draws):
        foretold = mirror.digest_after(change)
        mirror.apply(change)
        contents = [*map(row_digest, mirror.rows.values()), *map(member_digest, mirror.members.values())]
        contents += [groups_digest(name, groups) for name, groups in mirror.groups.items()]
        assert mirror.digest == foretold == reduce(xor, contents, 0)
    assert mirror.rev == len(draws)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 5), st.sampled_from(["one", "two", "three"]))))
def test_watched_counts_rows_and_memberships(draws: list[tuple[int, int, str]]) -> None:
    watched: Counter[str] = Counter()
    mirror = Mirror(VNI, watched)
    for change in changes(draws):
        mirror.apply(change)
    assert watched == Counter([row.node for row in mirror.rows.values()] + list(mirror.members))
    mirror.drop()
    assert watched == Counter()


@pytest.mark.parametrize("reason", sorted(BROKEN_HISTORY))
def test_a_broken_history_keeps_rows_and_members_until_their_time_is_over(reason: str) -> None:
    mirror = fresh()
    load(mirror, "start", claim(1, "one", 5), claim(2, "two", 200), members=(record("one"),))
    assert load(mirror, reason, rev=50) == {mac(1), mac(2)}
    assert mirror.rows == {}
    assert mirror.digest == 0
    assert mirror.give_up(9.9, 5.0, deaf) == []
    gone = [Withdrawn(VNI, mac(1), 50), Withdrawn(VNI, mac(2), 50), MemberLeft(VNI, "one", 50)]
    assert mirror.give_up(10.0, 5.0, deaf) == gone
    assert mirror.give_up(20.0, 5.0, deaf) == []


@pytest.mark.parametrize("reason", ["start", "gap", "trimmed"])
def test_a_whole_history_keeps_nothing(reason: str) -> None:
    mirror = fresh()
    load(mirror, "start", claim(1, "one", 5))
    assert load(mirror, reason) == set()


def test_kept_rows_stand_beyond_the_rev_of_their_snapshot() -> None:
    mirror = fresh()
    load(mirror, "start", claim(1, "one", 5), claim(2, "two", 900))
    event = mirror.load(Mark("new", 50, 0), {}, {}, {}, "gen", 10.0)
    assert {row.mac: row.rev for row in event.rows} == {mac(1): 51, mac(2): 900}


def test_what_is_claimed_or_withdrawn_again_is_kept_no_more() -> None:
    mirror = fresh()
    load(mirror, "start", claim(1, "one", 5), claim(2, "two", 6), claim(3, "one", 7), members=(record("one"),))
    load(mirror, "gen", rev=1)
    mirror.apply(Claimed(claim(1, "one", 2)))
    mirror.apply(Withdrawn(VNI, mac(2), 3))
    mirror.apply(MemberJoined(VNI, record("one"), 4))
    assert mirror.give_up(10.0, 5.0, deaf) == [], "who has just come back has as much time again to claim"
    assert mirror.give_up(14.9, 5.0, deaf) == []
    assert mirror.give_up(15.0, 5.0, deaf) == [Withdrawn(VNI, mac(3), 4)]
    assert list(mirror.rows) == [mac(1)]


def test_what_those_have_who_are_heard_is_kept_until_they_are_silent_or_back() -> None:
    mirror, some, heard = fresh(), frozenset({"239.0.0.1"}), {"one", "two"}
    members = {name: record(name) for name in ("one", "two", "three")}
    rows = {mac(number): claim(number, name, number) for number, name in enumerate(members, 1)}
    mirror.load(Mark("old", 5, 0), rows, members, {"one": some, "three": some}, "start", 0)
    mirror.load(Mark("new", 1, 0), {}, {}, {}, "gen", 10.0)
    assert mirror.give_up(10.0, 5.0, heard.__contains__) == [
        Withdrawn(VNI, mac(3), 1),
        GroupsChanged(VNI, "three", frozenset(), 1),
        MemberLeft(VNI, "three", 1),
    ]
    heard.remove("two")
    mirror.apply(MemberJoined(VNI, record("one"), 2))
    assert mirror.give_up(15.0, 5.0, heard.__contains__) == [Withdrawn(VNI, mac(2), 2), MemberLeft(VNI, "two", 2)]
    assert mirror.give_up(20.0, 5.0, heard.__contains__) == [
        Withdrawn(VNI, mac(1), 2),
        GroupsChanged(VNI, "one", frozenset(), 2),
    ], "heard, and yet back without them"


def test_kept_members_are_watched_until_they_are_kept_no_more() -> None:
    """Else nobody would ask for their leases, and they would be taken for dead."""
    watched: Counter[str] = Counter()
    mirror = Mirror(VNI, watched)
    load(mirror, "start", claim(1, "one", 5), members=(record("one"), record("two"), record("three")))
    load(mirror, "poison", rev=1)
    load(mirror, "gen", rev=1)
    assert watched == Counter({"one": 1, "two": 1, "three": 1})
    mirror.apply(MemberJoined(VNI, record("one"), 2))
    mirror.apply(MemberLeft(VNI, "two", 3))
    assert watched == Counter({"one": 1, "three": 1})
    mirror.give_up(10.0, 5.0, deaf)
    assert watched == Counter({"one": 1})
    load(mirror, "gen", rev=1)
    mirror.drop()
    assert watched == Counter()


def test_tables_tell_by_themselves_whether_they_continue_what_was_read() -> None:
    mirror = fresh()
    assert mirror.broken_by(Mark("other", 1, 0)) is None
    load(mirror, "start", claim(1, "one", 5))
    assert mirror.broken_by(Mark("gen", 100, mirror.digest)) is None
    assert mirror.broken_by(Mark("gen", 101, 7)) is None
    assert mirror.broken_by(Mark("other", 200, mirror.digest)) == "gen"
    assert mirror.broken_by(Mark("gen", 99, 7)) == "rev"
    assert mirror.broken_by(Mark("gen", 100, 7)) == "digest"


def test_a_second_flush_keeps_what_the_first_one_took() -> None:
    mirror = fresh()
    load(mirror, "start", claim(1, "one", 5))
    load(mirror, "gen")
    assert load(mirror, "gen") == {mac(1)}
    assert load(mirror, "gap") == {mac(1)}


def test_groups_are_kept_like_rows() -> None:
    mirror, some = fresh(), frozenset({"239.0.0.1"})
    mirror.load(
        Mark("old", 5, 0), {}, {"one": record("one"), "two": record("two")}, {"one": some, "two": some}, "start", 0
    )
    event = mirror.load(Mark("new", 1, 0), {}, {}, {}, "gen", 10.0)
    assert event.groups == {"one": some, "two": some}
    assert mirror.groups == {}
    mirror.apply(GroupsChanged(VNI, "one", frozenset({"239.0.0.2"}), 2))
    assert mirror.load(Mark("new", 2, 0), {}, {}, {"one": some}, "gap", 10.0).groups == {"one": some, "two": some}
    assert GroupsChanged(VNI, "two", frozenset(), 2) in mirror.give_up(10.0, 5.0, deaf)
    assert mirror.load(Mark("new", 2, 0), {}, {}, {"one": some}, "gap", 10.0).groups == {"one": some}


def test_frozen_rows_are_known() -> None:
    mirror = fresh()
    frozen = replace(claim(1, "one", 5), flags=("sticky", "frozen"))
    load(mirror, "start", frozen, claim(2, "one", 6))
    assert mirror.frozen == {mac(1)}
    mirror.apply(Claimed(replace(frozen, flags=("sticky",), rev=7)))
    assert mirror.frozen == set()
    mirror.apply(Claimed(replace(frozen, rev=8)))
    mirror.apply(Withdrawn(VNI, mac(1), 9))
    assert mirror.frozen == set()


def test_loading_a_large_table_is_cheap_beside_decoding_it() -> None:
    """Decoding pauses for the loop between slices, loading does not: it must not need to."""
    texts = {mac(n).hex(":").encode(): encode_row(claim(n, f"node{n % 50}", n + 1)).encode() for n in range(16384)}
    began = process_time()
    rows = {row.mac: row for row in (decode_row(VNI, key, text) for key, text in texts.items())}
    decoded = process_time()
    mirror = fresh()
    for reason in ("start", "gap"):
        mirror.load(Mark("gen", 16384, 0), dict(rows), {}, {}, reason, 10.0)
    loaded = (process_time() - decoded) / 2
    assert len(mirror.rows) == 16384
    assert loaded < (decoded - began) / 4
