"""The contract of vxswitch/store/base.py, further: groups, history, digests, acknowledgements, who is heard."""

from __future__ import annotations

import asyncio

import pytest

from tests.store.conftest import World
from tests.store.nodes import FAST, Node, mac
from tests.store.servers import DEADLINE, until
from vxswitch.errors import UsageError
from vxswitch.model import GroupsChanged, LogEntry, Snapshot
from vxswitch.store.base import VniDigest

VNI = 4096
TWO = frozenset({"239.1.1.1", "ff05::1"})


def groups_of(node: Node, name: str) -> frozenset[str]:
    """What a node knows of another one's groups."""
    return node.table(VNI).groups.get(name, frozenset())


# Groups.


async def test_groups_reach_everybody_and_late_comers(anywhere: World) -> None:
    one, two = await anywhere.member("one", VNI), await anywhere.member("two", VNI)
    await two.store.set_groups(VNI, TWO)
    await until(lambda: groups_of(one, "two") == TWO)
    await two.store.set_groups(VNI, frozenset({"239.1.1.1", "0.0.0.0"}))
    await until(lambda: groups_of(one, "two") == {"239.1.1.1", "0.0.0.0"})
    late = await anywhere.member("late", VNI)
    await until(lambda: groups_of(late, "two") == {"239.1.1.1", "0.0.0.0"})
    await two.store.set_groups(VNI, frozenset())
    for node in (one, late):
        await until(lambda node=node: not groups_of(node, "two"))
    revs = [e.rev for e in one.events if isinstance(e, GroupsChanged)]
    assert revs == sorted(set(revs))
    assert len(revs) == 3


async def test_groups_that_are_the_same_take_no_rev(anywhere: World) -> None:
    one = await anywhere.member("one", VNI)
    await one.store.set_groups(VNI, frozenset({"FF05:0::1"}))
    await until(lambda: groups_of(one, "one") == {"ff05::1"})
    rev = (await one.store.digest(VNI)).rev
    await one.store.set_groups(VNI, frozenset({"ff05::1"}))
    await one.attach(VNI, 1)
    assert (await one.store.digest(VNI)).rev == rev + 1


async def test_groups_go_with_their_node(anywhere: World) -> None:
    one, two = await anywhere.member("one", VNI), await anywhere.member("two", VNI)
    await two.store.set_groups(VNI, TWO)
    await until(lambda: groups_of(one, "two") == TWO)
    await two.store.leave(VNI)
    await until(lambda: one.table(VNI).groups == {})
    await two.store.join(VNI)
    await until(lambda: "two" in one.table(VNI).members)
    assert groups_of(one, "two") == frozenset()


async def test_a_restarted_node_has_its_groups_until_it_says_others(anywhere: World) -> None:
    one, two = await anywhere.member("one", VNI), await anywhere.member("two", VNI)
    await two.store.set_groups(VNI, TWO)
    await until(lambda: groups_of(one, "two") == TWO)
    await two.close(leave=True)
    again = await anywhere.member("two", VNI, epoch=2)
    await until(lambda: one.table(VNI).members["two"].epoch == 2)
    await until(lambda: groups_of(again, "two") == TWO)
    assert groups_of(one, "two") == TWO
    await again.store.set_groups(VNI, frozenset())
    await until(lambda: not groups_of(one, "two"))


async def test_groups_are_whole_again_after_a_flush_and_never_missing(anywhere: World) -> None:
    one, two = await anywhere.member("one", VNI), await anywhere.member("two", VNI)
    await two.store.set_groups(VNI, TWO)
    await until(lambda: groups_of(one, "two") == TWO)
    said = len(one.events)
    anywhere.flush()
    late = await anywhere.member("late", VNI)
    await until(lambda: groups_of(late, "two") == TWO)
    await until(lambda: "gen" in one.table(VNI).snapshots and groups_of(one, "two") == TWO)
    told = [e.groups.get("two") for e in one.events[said:] if isinstance(e, Snapshot)]
    told += [e.groups for e in one.events[said:] if isinstance(e, GroupsChanged)]
    assert set(told) == {TWO}


async def test_what_is_no_group_is_a_usage_error(anywhere: World) -> None:
    one = await anywhere.member("one", VNI)
    many = frozenset(f"239.0.{n // 256}.{n % 256}" for n in range(1025))
    for bad in ({"10.0.0.1"}, {"x"}, {"ff02::1%eth0"}, {""}, many):
        with pytest.raises(UsageError):
            await one.store.set_groups(VNI, frozenset(bad))
    await one.store.set_groups(VNI, frozenset(sorted(many)[:1024]))
    await until(lambda: len(groups_of(one, "one")) == 1024)


# History.


async def kinds(node: Node, number: int | None = None) -> list[tuple[str, str | None, str]]:
    """Kind, node and detail of what the log has."""
    entries = await node.store.history(VNI, None if number is None else mac(number))
    return [(entry.kind, entry.node, entry.detail) for entry in entries]


async def test_history_says_who_had_a_mac_and_why(anywhere: World) -> None:
    one, two = await anywhere.member("one", VNI), await anywhere.member("two", VNI)
    await until(lambda: set(one.table(VNI).members) == {"one", "two"})
    await one.attach(VNI, 7)
    await one.attach(VNI, 8)
    await two.attach(VNI, 7, "garp")
    await one.detach(VNI, 7)
    await two.attach(VNI, 7, "na", ips=("10.0.0.7",))
    await two.detach(VNI, 7)
    assert await kinds(one, 7) == [
        ("claim", "one", "attach"),
        ("claim", "two", "garp, from one, contested"),
        ("claim", "two", "na, again"),
        ("withdraw", "two", "released"),
    ]
    entries = await two.store.history(VNI)
    assert [entry.rev for entry in entries] == sorted({entry.rev for entry in entries})
    assert all(entry.time > 1e6 for entry in entries)
    assert [entry.mac for entry in entries][-1] == mac(7)
    assert (await two.store.history(VNI, limit=2)) == entries[-2:]
    assert await two.store.history(VNI, mac(99)) == []


async def test_history_says_who_froze_and_thawed(anywhere: World) -> None:
    one, two = await anywhere.member("one", VNI), await anywhere.member("two", VNI)
    await one.attach(VNI, 7)
    for turn in range(FAST.contested_moves):
        await (two, one)[turn % 2].attach(VNI, 7, "garp")
    await one.store.thaw(VNI, mac(7))
    *_, frozen, thawed = await kinds(one, 7)
    assert frozen == ("claim", "two", "garp, from one, contested, frozen")
    assert thawed == ("claim", "two", "thawed by hand")


async def test_history_of_members(anywhere: World) -> None:
    one, two = await anywhere.member("one", VNI), await anywhere.member("two", VNI)
    await until(lambda: set(one.table(VNI).members) == {"one", "two"})
    await two.attach(VNI, 2)
    await two.store.set_groups(VNI, frozenset({"239.1.1.1"}))
    await until(lambda: groups_of(one, "two"))
    await two.store.set_groups(VNI, frozenset({"ff05::1"}))
    await until(lambda: groups_of(one, "two") == {"ff05::1"})
    await two.store.leave(VNI)
    await until(lambda: set(one.table(VNI).members) == {"one"})
    assert [entry for entry in await kinds(one) if entry[1] == "two"] == [
        ("join", "two", "epoch 1"),
        ("claim", "two", "attach"),
        ("groups", "two", "+239.1.1.1"),
        ("groups", "two", "+ff05::1,-239.1.1.1"),
        ("withdraw", "two", "left"),
        ("groups", "two", "-ff05::1"),
        ("leave", "two", "left"),
    ]


async def test_a_network_that_nobody_knows_has_no_history(anywhere: World) -> None:
    one = await anywhere.member("one", VNI)
    assert await one.store.history(77) == list[LogEntry]()


# Digests.


async def test_all_copies_have_the_digest_of_the_store(anywhere: World) -> None:
    one, two = await anywhere.member("one", VNI), await anywhere.member("two", VNI)
    for number in range(5):
        await (one, two)[number % 2].attach(VNI, number)
    await one.store.set_groups(VNI, TWO)
    await until(lambda: groups_of(two, "one") == TWO)
    digest = await one.store.digest(VNI)
    assert digest.rows == 5
    assert digest.rev > 5
    assert len(digest.digest) == 16
    for node in (one, two):
        await until(lambda node=node: node.store.mirror_digest(VNI) == digest)
    assert one.store.mirror_digest(77) is None
    await two.detach(VNI, 1)
    assert (await one.store.digest(VNI)).digest != digest.digest


# Acknowledgements.


async def pair_at(world: World, rev: int) -> tuple[Node, Node]:
    """Two members that have read as far as ``rev``."""
    one, two = await world.member("one", VNI), await world.member("two", VNI)
    await until(lambda: two.node.name in one.table(VNI).members)
    for number in range(rev - 2):
        await one.attach(VNI, number)
    for node in (one, two):
        await until(lambda node=node: (node.store.mirror_digest(VNI) or VniDigest(0, "", 0)).rev == rev)
    return one, two


async def test_what_was_applied_is_told_by_the_next_heartbeat(anywhere: World) -> None:
    one, two = await pair_at(anywhere, 6)
    assert await one.store.acks(VNI) == {"one": 0, "two": 0}
    one.store.applied(VNI, 3)
    two.store.applied(VNI, 4)
    await until_acks(one, {"one": 3, "two": 4})
    two.store.applied(VNI, 6)
    two.store.applied(77, 6)
    await until_acks(one, {"one": 3, "two": 6})
    await two.close(leave=True)
    assert await one.store.acks(VNI) == {"one": 3}


async def until_acks(node: Node, acks: dict[str, int]) -> None:
    """Poll the acknowledgements."""
    async with asyncio.timeout(DEADLINE):
        while True:
            if await node.store.acks(VNI) == acks:
                return
            await asyncio.sleep(0.02)


async def test_a_restarted_node_has_acknowledged_nothing(anywhere: World) -> None:
    one, two = await pair_at(anywhere, 3)
    two.store.applied(VNI, 3)
    await until_acks(one, {"one": 0, "two": 3})
    await two.close(leave=True)
    again = await anywhere.member("two", VNI, epoch=2)
    await until(lambda: again.table(VNI).snapshots)
    await until_acks(one, {"one": 0, "two": 0})


async def test_what_was_applied_of_a_lost_history_does_not_count(anywhere: World) -> None:
    one, two = await pair_at(anywhere, 6)
    for node in (one, two):
        node.store.applied(VNI, 6)
    await until_acks(one, {"one": 6, "two": 6})
    anywhere.flush()
    for node in (one, two):
        await until(lambda node=node: "gen" in node.table(VNI).snapshots)
    await until_acks(one, {"one": 0, "two": 0})
    one.store.applied(VNI, 1)
    await until_acks(one, {"one": 1, "two": 0})


# Who is heard.


async def test_what_a_node_has_stays_while_anybody_hears_it(anywhere: World) -> None:
    one, two = await anywhere.member("one", VNI), await anywhere.member("two", VNI)
    three = await anywhere.member("three", VNI)
    beat, grace = 0.1, 0.5
    for node in (one, two, three):
        node.store.retime(grace, beat, grace)
    await two.attach(VNI, 2)
    await two.store.set_groups(VNI, TWO)
    await until(lambda: one.owners(VNI) == {2: "two"} and groups_of(one, "two") == TWO)
    three.hears.add("two")
    await two.close(leave=True)
    await until(lambda: one.live() == {"one", "three"})
    beats = one.store.counts.beats + int(2 * grace / beat)
    await until(lambda: one.store.counts.beats > beats)
    assert one.owners(VNI) == {2: "two"}
    three.hears.clear()
    await until(lambda: one.owners(VNI) == {} and set(one.table(VNI).members) == {"one", "three"})
    assert one.table(VNI).groups == {}
    *_, lapse, withdraw, groups, leave = [entry for entry in await kinds(one) if entry[1] == "two"]
    assert (lapse[0], withdraw[0], groups[0], leave[0]) == ("lapse", "withdraw", "groups", "leave")
    assert withdraw[2] == leave[2]
    assert leave[2].startswith("dead, says ")


# Frozen.


async def test_the_frozen_flag_goes_when_its_time_is_over(anywhere: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vxswitch.store.redis_session.INSPECT_BEATS", 2)
    one, two = await anywhere.member("one", VNI), await anywhere.member("two", VNI)
    await one.attach(VNI, 7)
    for turn in range(FAST.contested_moves):
        await (two, one)[turn % 2].attach(VNI, 7, "garp")
    one.ports.clear()
    await until(lambda: mac(7) in one.table(VNI).rows and one.table(VNI).rows[mac(7)].flags == ("frozen",))
    await until(lambda: one.table(VNI).rows[mac(7)].flags == ())
    assert (await kinds(one, 7))[-1] == ("claim", "two", "reassert, again, thawed")
