"""What other nodes say, kept by group."""

from __future__ import annotations

from vxswitch.control.elsewhere import TELLS, Elsewhere

G, H, ALL4 = bytes((239, 1, 2, 3)), bytes((239, 9, 9, 9)), bytes(4)


def test_groups_come_and_go_with_what_a_node_tells() -> None:
    elsewhere = Elsewhere()
    assert elsewhere.tell("a", {TELLS, "239.1.2.3"}) == {G}
    assert elsewhere.tell("b", {TELLS, "239.1.2.3", "239.9.9.9"}) == {G, H}
    assert elsewhere.listeners(G) == {"a", "b"} and elsewhere.listeners(H) == {"b"}
    assert elsewhere.tell("b", {TELLS, "239.9.9.9"}) == {G}
    assert elsewhere.listeners(G) == {"a"}
    assert elsewhere.tell("a", {TELLS}) == {G}
    assert set(elsewhere.groups) == {H} and elsewhere.tellers == {"a", "b"}


def test_a_node_that_tells_nothing_is_none_that_wants_nothing() -> None:
    elsewhere = Elsewhere()
    elsewhere.tell("a", {TELLS, "239.1.2.3"})
    elsewhere.tell("old", {"239.1.2.3"})
    assert elsewhere.tellers == {"a"}
    assert elsewhere.tell("a", ()) == {G} and elsewhere.tellers == frozenset()


def test_those_who_want_all_are_listeners_of_no_group_in_particular() -> None:
    elsewhere = Elsewhere()
    elsewhere.tell("a", {TELLS, "0.0.0.0", "::"})
    assert elsewhere.listeners(ALL4) == elsewhere.listeners(bytes(16)) == {"a"}


def test_all_at_once_forgets_who_is_not_there() -> None:
    elsewhere = Elsewhere()
    elsewhere.tell("a", {TELLS, "239.1.2.3"})
    elsewhere.tell("b", {TELLS})
    assert elsewhere.tell_all({"b": {TELLS, "239.1.2.3"}, "c": {TELLS, "239.9.9.9"}}) == {G, H}
    assert elsewhere.listeners(G) == {"b"} and elsewhere.tellers == {"b", "c"}


def test_words_that_are_no_groups_are_ignored() -> None:
    elsewhere = Elsewhere()
    words = {TELLS, "", "10.0.0.1", "ff02::1", "224.0.0.9", "239.1.2.3.4", "x" * 10_000, "ff0e::1%eth0", "ff0e::1"}
    elsewhere.tell("a", words)
    assert {group.hex() for group in elsewhere.groups} <= {"ff0e" + "0" * 27 + "1"}
    assert elsewhere.tellers == {"a"}
