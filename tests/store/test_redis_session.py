"""Heartbeats: what they cost, whose turn it is, and many nodes at once."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from tests.store.conftest import RedisWorld, redis_world
from tests.store.nodes import FAST, Node, record
from tests.store.servers import Server, until
from vxswitch.model import NetworkRecord
from vxswitch.store import redis_session
from vxswitch.store.base import VniDigest
from vxswitch.store.codec import encode_member
from vxswitch.store.redis import RedisStore
from vxswitch.store.redis_connect import Link
from vxswitch.store.redis_scripts import BEAT, JOIN, run
from vxswitch.store.redis_session import COMPARED, _next_of
from vxswitch.store.rules import Rules

VNI = 4096
EMPTY = VniDigest(0, "", 0)


def test_turns_reach_everything() -> None:
    things = list(range(100))
    seen: set[int] = set()
    for turn in range(4):
        part = _next_of(things, turn, 32)
        assert len(part) == 32
        seen.update(part)
    assert seen == set(things)
    assert _next_of(things[:5], 7, 32) == things[:5]


async def beat_for(world: RedisWorld, link: Link, name: str, lease_ms: int) -> None:
    """A heartbeat of a node that is only a name."""
    node = record(name)
    caller = [name, node.uid, 1]
    keys = [*world.keys.node, world.keys.heard, world.keys.loss, world.keys.vnis]
    await run(link, BEAT, keys, [*caller, "10.0.0.1:4789", "1", lease_ms, 0, 0, 0, 0, 0])
    keys = [*world.keys.of_vni(VNI), world.keys.joined(name)]
    await run(link, JOIN, keys, [*caller, "0" * 16, encode_member(node), VNI, "="])


@pytest.mark.parametrize("count", [40, 200])
async def test_leases_of_many_members_are_all_known_and_who_lapses_is_known_at_once(
    shared: RedisWorld, count: int
) -> None:
    one = await shared.member("one", VNI)
    link = await Link.open(shared.server.endpoint(), FAST)
    names = {f"n{number}" for number in range(count)}
    for name in sorted(names):
        await beat_for(shared, link, name, 60_000)
    await until(lambda: one.live() == names | {"one"} and one.leases and one.leases.trusted)
    said = len(one.events)
    await beat_for(shared, link, "n7", 1)
    await until(lambda: one.live() == names - {"n7"} | {"one"})
    wrong = [e for e in one.events[said:] if getattr(e, "trusted", False) and len(e.seconds_left) < count]
    assert wrong == []
    await link.close()


async def test_more_networks_than_one_beat_compares_are_compared_in_turn(
    shared: RedisWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_session, "COMPARED", 4)
    one = await shared.node("one")
    vnis = range(5000, 5000 + 10)
    for vni in vnis:
        await one.store.join(vni)
    await until(lambda: all(one.table(vni).snapshots for vni in vnis))
    for vni in vnis:
        shared.server.admin.hset(shared.key(vni, "meta"), "digest", "0123456789abcdef")
    await until(lambda: all(len(one.table(vni).snapshots) > 1 for vni in vnis))
    assert COMPARED == 32


async def test_revs_are_told_when_they_change_some_in_each_beat(
    shared: RedisWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_session, "TOLD", 4)
    one = await shared.node("one")
    vnis = range(5000, 5000 + 10)
    for vni in vnis:
        await one.store.join(vni)
    await until(lambda: all((one.store.mirror_digest(vni) or EMPTY).rev == 1 for vni in vnis))
    state, admin = one.store._state, shared.server.admin  # type: ignore[attr-defined]
    beats = one.store.counts.beats
    for vni in vnis:
        one.store.applied(vni, 1)
    await until(lambda: not state.untold)
    assert one.store.counts.beats - beats >= 3
    assert [admin.hgetall(shared.key(vni, "acks")) for vni in vnis] == [{"one": "1"}] * 10
    for vni in vnis:
        one.store.applied(vni, 1)
        one.store.applied(vni, 500)
    assert not state.untold, "no further than what was read, and that has been told"
    admin.flushall()
    await until(lambda: all("gen" in one.table(vni).snapshots for vni in vnis))
    await until(lambda: not state.untold)
    assert await one.store.acks(5000) == {"one": 0}, "a rev of the history that was lost"


async def test_all_networks_are_whole_soon_after_a_flush(world: RedisWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_session, "COMPARED", 4)
    one, two = await world.node("one"), await world.node("two")
    vnis = range(5000, 5000 + 50)
    for vni in vnis:
        for node in (one, two):
            await node.store.join(vni)
        await one.attach(vni, 1)
    await until(lambda: all(two.owners(vni) == {1: "one"} for vni in vnis))
    beats = two.store.counts.beats
    world.server.admin.flushall()
    await until(lambda: all(set(two.table(vni).snapshots) >= {"start", "gen"} for vni in vnis))
    await until(lambda: all(world.server.admin.hlen(world.key(vni, "fdb")) for vni in vnis))
    assert two.store.counts.beats - beats < 10
    assert all(two.table(vni).snapshots == ["start", "gen"] for vni in vnis), "read once, when all is there"
    assert all(two.table(vni).removed == [] for vni in vnis)


async def test_who_notices_a_loss_tells_all_others(world: RedisWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rules, "spread", 0.1)
    one = await world.member("one", VNI)
    await one.attach(VNI, 1)
    seldom = Node(
        RedisStore(
            world.server.endpoint(), world.keys.nodes[4:].partition("/")[0], replace(FAST, beat=30.0, lease=90.0)
        ),
        record("two"),
    )
    world.nodes.append(await seldom.start())
    await seldom.store.join(VNI)
    await seldom.attach(VNI, 2)
    await until(seldom.has(VNI, {1: "one", 2: "two"}))
    world.server.admin.flushall()
    await until(
        lambda: set(world.server.admin.hkeys(world.key(VNI, "fdb"))) == {"02:00:00:00:00:01", "02:00:00:00:00:02"}
    )
    await until(lambda: seldom.table(VNI).snapshots[-1] == "gen" and seldom.table(VNI).removed == [])
    assert float(world.server.admin.hget(world.keys.vnis, "closed")) / 1000 > world.server.admin.time()[0]


async def test_networks_are_made_again_when_the_time_to_come_back_is_over(shared: RedisWorld) -> None:
    one = await shared.node("one")
    admin = shared.server.admin
    for mark in (
        admin.time()[0] * 1000 - 1,
        admin.time()[0] * 1000 + 10**9,
        "nonsense",
    ):  # over, absurd, no time at all
        admin.hset(shared.keys.vnis, "closed", mark)
        assert await one.store.create_network(NetworkRecord(f"net{str(mark)[-9:]}", 0))


async def test_a_lease_that_is_given_back_stays_so_in_all_networks(shared: RedisWorld) -> None:
    one, two = await shared.node("one"), await shared.node("two")
    vnis = range(5000, 5000 + COMPARED + 5)
    for vni in vnis:
        for node in (one, two):
            await node.store.join(vni)
    await until(lambda: one.live() == {"one", "two"})
    await until(lambda: all(set(one.table(vni).members) == {"one", "two"} for vni in vnis))
    await two.close(leave=True)
    for vni in vnis:
        (_, last), *_ = shared.server.admin.xrevrange(shared.key(vni, "log"), count=1)
        assert (last["op"], last["key"]) == ("lapse", "two")
    await until(lambda: one.live() == {"one"})


async def test_a_beat_is_one_call_and_few_commands(server: Server) -> None:
    world = redis_world(server)
    one = await world.member("one", VNI)
    await until(lambda: one.leases and one.leases.trusted)
    beats = [0]
    process = await asyncio.create_subprocess_exec(
        "redis-cli", "-s", str(server.path), "monitor", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    lines: list[str] = []
    try:
        while beats[0] < 6:
            line = (await asyncio.wait_for(process.stdout.readline(), 5)).decode()
            lines.append(line)
            beats[0] += "evalsha" in line.lower()
    finally:
        process.kill()
        await process.wait()
    first = next(at for at, line in enumerate(lines) if "evalsha" in line.lower())
    calls = [line for line in lines[first:] if " lua]" not in line]
    inside = [line for line in lines[first:] if " lua]" in line]
    assert all(any(word in line.lower() for word in ("evalsha", "xread", "info", "smembers")) for line in calls)
    assert sum("evalsha" in line.lower() for line in calls) == 6
    assert len(inside) <= 6 * 10
    await world.close()
