"""The contract of vxswitch/store/base.py: in memory, on Valkey 9 behind sentinels, and on a Cluster of Redis 7."""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.store.conftest import World
from tests.store.nodes import FAST, mac
from tests.store.servers import granted, until
from vxswitch.errors import NotFoundError, UsageError
from vxswitch.model import Claimed, MemberJoined, Snapshot, Vtep
from vxswitch.store.base import LocalMac

VNI = 4096


# Who is there.


async def test_a_snapshot_comes_first_and_then_changes(anywhere: World) -> None:
    one = await anywhere.member("one", VNI)
    await one.attach(VNI, 1, ips=("10.1.0.1",))
    await until(one.has(VNI, {1: "one"}))
    two = await anywhere.member("two", VNI)
    await until(two.has(VNI, {1: "one"}))
    await two.attach(VNI, 2)
    await until(one.has(VNI, {1: "one", 2: "two"}))
    assert isinstance(next(e for e in two.events if getattr(e, "vni", None) == VNI), Snapshot)
    assert two.table(VNI).snapshots == ["start"]
    assert two.table(VNI).rows[mac(1)].ips == ("10.1.0.1",)


async def test_members_are_told_to_each_other_with_their_records(anywhere: World) -> None:
    one = await anywhere.member("one", VNI)
    two = await anywhere.member("two", VNI)
    for node in (one, two):
        await until(lambda node=node: set(node.table(VNI).members) == {"one", "two"})
    assert one.table(VNI).members["two"].vteps == two.node.vteps
    await two.store.leave(VNI)
    await until(lambda: set(one.table(VNI).members) == {"one"})


async def test_a_new_record_of_a_member_is_told(anywhere: World) -> None:
    one = await anywhere.member("one", VNI)
    two = await anywhere.node("two", address="192.0.2.1")
    await two.store.join(VNI)
    await until(lambda: "two" in one.table(VNI).members)
    await two.close()
    again = await anywhere.node("two", epoch=2, address="192.0.2.2")
    await again.store.join(VNI)
    await until(lambda: one.table(VNI).members["two"].vteps == (Vtep("192.0.2.2"),))
    assert any(isinstance(e, MemberJoined) and e.node.epoch == 2 for e in one.events)


async def test_leases_are_told_of_fellow_members_once_they_can_be_trusted(anywhere: World) -> None:
    one = await anywhere.member("one", VNI)
    await anywhere.member("two", VNI)
    await until(lambda: one.leases and not one.leases.trusted)
    await until(lambda: one.leases and one.leases.trusted and one.live() == {"one", "two"})
    assert one.leases
    assert all(0 < left <= FAST.lease for left in one.leases.seconds_left.values())


async def test_timers_change_from_the_next_heartbeat_on(anywhere: World) -> None:
    one = await anywhere.member("one", VNI)
    await anywhere.member("two", VNI)
    await until(lambda: one.leases and one.leases.trusted and one.live() == {"one", "two"})
    one.store.retime(60.0, FAST.beat, 120.0)
    await until(lambda: one.leases and one.leases.seconds_left["one"] > 10 * FAST.lease)
    assert one.leases and not one.leases.trusted, "our own lease has not been held for as long as others' now last"


async def test_who_closes_with_leave_is_out_at_once_and_keeps_rows_and_membership(anywhere: World) -> None:
    one, two = await anywhere.member("one", VNI), await anywhere.member("two", VNI)
    await two.attach(VNI, 2)
    await until(one.has(VNI, {2: "two"}))
    await until(lambda: one.live() == {"one", "two"})
    beats = one.store.counts.beats
    await two.close(leave=True)
    await until(lambda: one.live() == {"one"})
    assert one.store.counts.beats <= beats + 1
    assert one.departed() == {"two"}  # it said so itself: no answer of its outvotes that
    assert one.owners(VNI) == {2: "two"}
    assert set(one.table(VNI).members) == {"one", "two"}
    again = await anywhere.node("two", epoch=2)
    await again.store.join(VNI)
    await until(lambda: one.live() == {"one", "two"} and one.departed() == set())


async def test_who_dies_is_out_after_its_lease_and_deleted_after_grace(anywhere: World) -> None:
    one, two = await anywhere.member("one", VNI), await anywhere.member("two", VNI)
    await two.attach(VNI, 2)
    await until(lambda: one.live() == {"one", "two"})
    await two.close(leave=False)
    await until(lambda: one.live() == {"one"})
    assert one.owners(VNI) == {2: "two"} and one.departed() == set()
    await until(lambda: one.owners(VNI) == {} and set(one.table(VNI).members) == {"one"})


async def test_a_restart_within_grace_loses_no_row(anywhere: World) -> None:
    one, two = await anywhere.member("one", VNI), await anywhere.member("two", VNI)
    await two.attach(VNI, 2)
    await until(one.has(VNI, {2: "two"}))
    await two.close(leave=True)
    again = await anywhere.node("two", epoch=2)
    again.ports = two.ports
    await again.store.join(VNI)
    await until(lambda: one.table(VNI).rows[mac(2)].epoch >= 2)
    assert one.table(VNI).removed == []


async def test_a_restart_releases_what_is_not_there_any_more(anywhere: World) -> None:
    one, two = await anywhere.member("one", VNI), await anywhere.member("two", VNI)
    for number in (2, 3):
        await two.attach(VNI, number)
    await until(one.has(VNI, {2: "two", 3: "two"}))
    await two.close(leave=True)
    again = await anywhere.node("two", epoch=2)
    again.ports = {VNI: {mac(3): two.ports[VNI][mac(3)]}}
    await again.store.join(VNI)
    await until(one.has(VNI, {3: "two"}))


# Claims.


async def test_the_later_claim_with_good_evidence_wins(anywhere: World) -> None:
    one, two = await anywhere.member("one", VNI), await anywhere.member("two", VNI)
    first = await one.attach(VNI, 7)
    second = await two.attach(VNI, 7, "garp")
    assert first.refused is None
    assert second.refused is None
    assert first.row and second.row and second.row.rev > first.row.rev
    for node in (one, two):
        await until(node.has(VNI, {7: "two"}))


async def test_a_claim_that_changes_nothing_takes_no_rev(anywhere: World) -> None:
    one = await anywhere.member("one", VNI)
    first, again = await one.attach(VNI, 1), await one.attach(VNI, 1)
    assert first == again
    changed = await one.attach(VNI, 1, ips=("10.0.0.9",))
    assert first.row and changed.row
    assert changed.row.rev == first.row.rev + 1
    assert changed.row.since == first.row.since


async def test_a_plain_frame_waits_for_the_hold_down(anywhere: World) -> None:
    one, two = await anywhere.member("one", VNI), await anywhere.member("two", VNI)
    await one.attach(VNI, 7)
    await two.attach(VNI, 7, "garp")
    held = await one.attach(VNI, 7, "frame")
    assert held.refused == "hold_down"
    assert held.row is not None
    assert held.row.node == "two"
    assert one.store.counts.refused["hold_down"] == 1
    assert (await granted(lambda: one.attach(VNI, 7, "frame"))).row is not None


async def test_a_claim_without_new_evidence_takes_nothing_from_the_living(anywhere: World) -> None:
    one, two = await anywhere.member("one", VNI), await anywhere.member("two", VNI)
    await two.attach(VNI, 7, "garp")
    refused = await one.attach(VNI, 7, "reassert")
    assert refused.refused == "moved"
    assert refused.row is not None and refused.row.node == "two"
    assert (await one.attach(VNI, 8, "reassert")).refused is None


async def test_sticky_rows_do_not_move(anywhere: World) -> None:
    one, two = await anywhere.member("one", VNI), await anywhere.member("two", VNI)
    await one.attach(VNI, 7, flags=("sticky", "gateway"))
    assert (await two.attach(VNI, 7)).refused == "sticky"
    await until(two.has(VNI, {7: "one"}))
    assert two.table(VNI).rows[mac(7)].flags == ("sticky", "gateway")


async def test_contested_moves_freeze_and_thaw(anywhere: World) -> None:
    one, two = await anywhere.member("one", VNI), await anywhere.member("two", VNI)
    await one.attach(VNI, 7)
    for turn in range(FAST.contested_moves):
        result = await (two if turn % 2 == 0 else one).attach(VNI, 7, "garp")
        assert result.refused is None
    assert result.row is not None
    assert "frozen" in result.row.flags
    loser, winner = (one, two) if result.row.node == "two" else (two, one)
    assert (await loser.attach(VNI, 7, "garp")).refused == "frozen"
    kept = await winner.attach(VNI, 7)
    assert kept.row is not None
    assert "frozen" in kept.row.flags
    await loser.store.thaw(VNI, mac(7))
    assert (await loser.attach(VNI, 7, "garp")).refused is None
    with pytest.raises(NotFoundError):
        await loser.store.thaw(VNI, mac(7))


async def test_orderly_moves_freeze_nothing_and_leave_nothing_stuck(anywhere: World) -> None:
    nodes = [await anywhere.member(name, VNI) for name in ("one", "two", "three")]
    chance = random.Random(5)
    at = chance.choice(nodes)
    await at.attach(VNI, 7)
    for _ in range(60):
        to = chance.choice(nodes)
        if chance.random() < 0.5:  # the old port goes first, or is found to be gone a moment later
            await at.detach(VNI, 7)
            assert (await to.attach(VNI, 7)).refused is None
        else:
            assert (await to.attach(VNI, 7, "garp")).refused is None
            if to is not at:
                await at.detach(VNI, 7)
        at = to
    for node in nodes:
        await until(node.has(VNI, {7: at.node.name}))
        assert node.table(VNI).rows[mac(7)].flags == ()


async def test_release_never_touches_another_owners_row(anywhere: World) -> None:
    one, two = await anywhere.member("one", VNI), await anywhere.member("two", VNI)
    await one.attach(VNI, 7)
    await two.attach(VNI, 7, "attach")
    await one.detach(VNI, 7)
    await two.attach(VNI, 8)
    await until(one.has(VNI, {7: "two", 8: "two"}))
    await two.detach(VNI, 7)
    await until(one.has(VNI, {8: "two"}))


async def test_a_full_table_refuses(anywhere: World) -> None:
    one = await anywhere.member("one", VNI)
    results = await one.store.claim([LocalMac(VNI, mac(n), "frame") for n in range(FAST.max_rows + 1)])
    assert [r.refused for r in results] == [None] * FAST.max_rows + ["full"]
    assert (await one.attach(VNI, 0)).refused is None


async def test_claims_of_many_networks_in_one_call_keep_their_order(anywhere: World) -> None:
    one = await anywhere.node("one")
    vnis = [1, 2, 1, 16777215, 1]
    for vni in set(vnis):
        await one.store.join(vni)
    results = await one.store.claim([LocalMac(vni, mac(n), "frame") for n, vni in enumerate(vnis)])
    assert [(r.row.vni, r.row.mac) for r in results if r.row] == [(vni, mac(n)) for n, vni in enumerate(vnis)]


async def test_leaving_releases_the_rows(anywhere: World) -> None:
    one, two = await anywhere.member("one", VNI), await anywhere.member("two", VNI)
    await two.attach(VNI, 2)
    await one.attach(VNI, 1)
    await until(one.has(VNI, {1: "one", 2: "two"}))
    two.ports.clear()
    await two.store.leave(VNI)
    await until(one.has(VNI, {1: "one"}))


async def test_what_cannot_be_a_row_is_a_usage_error(anywhere: World) -> None:
    one = await anywhere.member("one", VNI)
    bad = [
        LocalMac(VNI, b"\x01\x00\x5e\x00\x00\x01", "frame"),
        LocalMac(VNI, bytes(6), "frame"),
        LocalMac(VNI, b"\x02\x03", "frame"),
        LocalMac(0, mac(1), "frame"),
        LocalMac(VNI, mac(1), "frame", ips=("10.0.0.1/24",)),
        LocalMac(VNI, mac(1), "frame", flags=("two words",)),
    ]
    for local in bad:
        with pytest.raises(UsageError):
            await one.store.claim([local])


# Epochs and names.


async def test_a_newer_start_fences_the_older(anywhere: World) -> None:
    old = await anywhere.member("one", VNI)
    await old.attach(VNI, 1)
    new = await anywhere.member("one", VNI, epoch=5)
    await until(lambda: (new.store.status().state, old.store.status().state) == ("up", "degraded"))
    assert (await old.attach(VNI, 2)).refused == "fenced"
    await old.store.release([(VNI, mac(1))])
    reason = old.store.status().reason
    assert reason
    assert "fenced" in reason
    assert (await new.attach(VNI, 3)).refused is None


async def test_another_machine_with_the_same_name_is_refused_while_the_first_lives(anywhere: World) -> None:
    one = await anywhere.member("one", VNI)
    await one.attach(VNI, 1)
    other = await anywhere.member("one", VNI, uid="other")
    await until(lambda: f"node name in use by VTEP {one.node.vteps[0]}" in str(other.store.status().reason))
    assert other.store.status().state == "degraded"
    assert (await other.attach(VNI, 2)).refused in ("fenced", "no_lease")
    assert one.store.status().state == "up"
    await one.close()
    await until(lambda: other.store.status().state == "up")
    await until(other.has(VNI, {2: "one"}))


# When everything is lost.


async def test_after_a_flush_nothing_that_works_is_removed_and_the_table_is_whole_again(anywhere: World) -> None:
    one, two = await anywhere.member("one", VNI), await anywhere.member("two", VNI)
    for number in range(5):
        await one.attach(VNI, number)
        await two.attach(VNI, 10 + number)
    whole = dict.fromkeys(range(5), "one") | {10 + n: "two" for n in range(5)}
    for node in (one, two):
        await until(node.has(VNI, whole))
    anywhere.flush()
    three = await anywhere.member("three", VNI)
    await until(three.has(VNI, whole))
    for node in (one, two):
        await until(lambda node=node: "gen" in node.table(VNI).snapshots and node.owners(VNI) == whole)
        assert node.table(VNI).removed == []


async def test_after_a_flush_rows_of_the_dead_go_when_they_do_not_come_back(anywhere: World) -> None:
    one, two = await anywhere.member("one", VNI), await anywhere.member("two", VNI)
    await one.attach(VNI, 1)
    await two.attach(VNI, 2)
    await until(one.has(VNI, {1: "one", 2: "two"}))
    await two.close(leave=False)
    anywhere.flush()
    await until(lambda: "gen" in one.table(VNI).snapshots)
    assert one.owners(VNI) == {1: "one", 2: "two"}
    await until(one.has(VNI, {1: "one"}))
    assert set(one.table(VNI).members) == {"one"}


async def test_after_a_flush_what_a_node_has_stays_while_only_the_store_does_not_hear_it(anywhere: World) -> None:
    one, two, three = [await anywhere.member(name, VNI) for name in ("one", "two", "three")]
    for number, node in enumerate((one, two, three), 1):
        await node.attach(VNI, number)
    await until(one.has(VNI, {1: "one", 2: "two", 3: "three"}))
    one.hears.update(("two", "three"))
    await two.close(leave=False)  # its frames go on, for all that one knows
    anywhere.flush()
    three.ports.clear()
    await three.store.leave(VNI)  # whose news the store loses, or not; it has a lease, and is heard
    await until(one.has(VNI, {1: "one", 2: "two"}))
    await asyncio.sleep(FAST.come_back)
    assert one.owners(VNI) == {1: "one", 2: "two"} and set(one.table(VNI).members) == {"one", "two"}
    one.hears.clear()
    await until(one.has(VNI, {1: "one"}))
    assert set(one.table(VNI).members) == {"one"}


async def test_events_of_one_network_come_in_rev_order(anywhere: World) -> None:
    one, two = await anywhere.member("one", VNI), await anywhere.member("two", VNI)
    for turn in range(40):
        node = (one, two)[turn % 2]
        await node.attach(VNI, turn % 7, "attach")
        await node.detach(VNI, turn % 7)
    await one.attach(VNI, 19)
    await until(lambda: mac(19) in two.table(VNI).rows)
    revs = [e.claim.rev for e in two.events if isinstance(e, Claimed)]
    assert revs == sorted(revs)
    assert two.owners(VNI) == {19: "one"}


# Looked into.


async def test_a_network_is_read_anew_on_request(anywhere: World) -> None:
    one = await anywhere.member("one", VNI)
    await one.attach(VNI, 1)
    await until(one.has(VNI, {1: "one"}))
    await one.store.resync(VNI)
    await until(lambda: one.table(VNI).snapshots == ["start", "asked"])
    assert one.table(VNI).removed == [] and one.owners(VNI) == {1: "one"}


async def test_the_stores_clock_is_measured_against_ours(anywhere: World) -> None:
    """Both are this machine's, so the difference is what the measurement errs by."""
    one = await anywhere.member("one", VNI)
    await until(lambda: one.store.status().offset is not None)
    assert abs(one.store.status().offset or 0.0) < 1.0
