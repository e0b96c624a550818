"""Poisoned values in every key: whatever else writes into them, nothing is raised out, and tables heal."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from itertools import count
from typing import Any

import pytest
import redis

from tests.store.conftest import RedisWorld, redis_world
from tests.store.nodes import Node, mac
from tests.store.servers import Server, granted, until
from tests.store.test_redis_faults import WHOLE, pair, whole_again
from vxswitch.errors import StoreUnavailableError
from vxswitch.model import NetworkRecord
from vxswitch.store.rules import Rules

VNI = 4096
VNI_KEYS = ("meta", "fdb", "log", "members", "moves", "groups", "acks")
BUCKET_KEYS = ("nodes", "lease", "heard")
LISTENS = frozenset({"239.1.1.1", "ff05::1"})
TYPES = ("string", "hash", "list", "zset", "stream", "set")


def poison(admin: Any, key: str, kind: str) -> bool:
    """Make a key into another type; False if that is the type it has."""
    if admin.type(key) == kind:
        return False
    admin.delete(key)
    match kind:
        case "string":
            admin.set(key, "{not json")
        case "hash":
            admin.hset(key, "field", "value")
        case "list":
            admin.rpush(key, "a")
        case "zset":
            admin.zadd(key, {"a": 1})
        case "stream":
            admin.xadd(key, {"op": "claim"})
        case "set":
            admin.sadd(key, "a")
    return True


_fresh = count(1)


async def healed(one: Node, two: Node) -> None:
    """A change goes through again and reaches everybody, and nothing that worked was removed on the way."""
    number = next(_fresh)
    ips = (f"10.{number // 65536}.{number // 256 % 256}.{number % 256}",)
    await granted(lambda: one.attach(VNI, 3, ips=ips))
    for node in (one, two):
        await until(lambda node=node: mac(3) in node.table(VNI).rows and node.table(VNI).rows[mac(3)].ips == ips)
    await whole_again(one, two)
    assert one.table(VNI).rows[mac(3)].ips == ips


async def listening(one: Node, two: Node) -> None:
    """Groups that are told reach everybody."""
    await two.store.set_groups(VNI, LISTENS)
    for node in (one, two):
        await until(lambda node=node: node.table(VNI).groups == {"two": LISTENS})


@pytest.fixture
async def brisk(shared_server: Server) -> AsyncIterator[RedisWorld]:
    """Nodes that beat often, so that healing is quick."""
    world = redis_world(shared_server, Rules(lease=1.0, beat=0.05, grace=60.0))
    yield world
    await world.close()


@pytest.mark.parametrize("name", VNI_KEYS)
async def test_a_key_of_a_network_of_another_type(brisk: RedisWorld, name: str) -> None:
    one, two = await pair(brisk)
    for kind in TYPES:
        if poison(brisk.server.admin, brisk.key(VNI, name), kind):
            await healed(one, two)
            if name == "acks":
                assert set(await one.store.acks(VNI)) == {"one", "two"}
    await listening(one, two)


@pytest.mark.parametrize("name", BUCKET_KEYS)
async def test_a_key_of_all_nodes_of_another_type(brisk: RedisWorld, name: str) -> None:
    one, two = await pair(brisk)
    for kind in TYPES:
        if poison(brisk.server.admin, getattr(brisk.keys, name), kind):
            await healed(one, two)


async def test_keys_of_one_node_of_another_type(brisk: RedisWorld) -> None:
    one, two = await pair(brisk)
    for number, kind in enumerate(TYPES, VNI + 1):
        poison(brisk.server.admin, brisk.keys.wake("one"), kind)
        poison(brisk.server.admin, brisk.keys.joined("one"), kind)
        await one.store.join(number)
        await until(lambda number=number: one.table(number).snapshots)
        await healed(one, two)


BAD_ROWS = {
    "json": (mac(9).hex(":"), '{"node": "x"}'),
    "ten megabytes": (mac(9).hex(":"), "x" * 10_000_000),
    "not a MAC": ("nonsense", "1 1 1.000000 1 u n 10.0.0.1:4789 - -"),
    "group MAC": ("01:00:5e:00:00:01", "1 1 1.000000 1 u n 10.0.0.1:4789 - -"),
    "multicast VTEP": (mac(9).hex(":"), "1 1 1.000000 1 u n 239.0.0.1:4789 - -"),
    "any VTEP": (mac(9).hex(":"), "1 1 1.000000 1 u n 0.0.0.0:4789 - -"),
    "port 0": (mac(9).hex(":"), "1 1 1.000000 1 u n 10.0.0.1:0 - -"),
    "name for a VTEP": (mac(9).hex(":"), "1 1 1.000000 1 u n evil.example:4789 - -"),
    "bad address": (mac(9).hex(":"), "1 1 1.000000 1 u n 10.0.0.1:4789 999.0.0.1 -"),
    "leading zeros": (mac(9).hex(":"), "1 001 1.000000 1 u n 10.0.0.1:4789 - -"),
    "huge numbers": (mac(9).hex(":"), f"1 {'9' * 40} 1.000000 1 u n 10.0.0.1:4789 - -"),
    "binary": (mac(9).hex(":"), "1 1 1.000000 1 u n \udcff:4789 - -"),
    "empty": (mac(9).hex(":"), ""),
    "in the place of a good one": (mac(1).hex(":"), "garbage"),
}


async def test_rows_that_make_no_sense(brisk: RedisWorld) -> None:
    one, two = await pair(brisk)
    for number, (what, (field, value)) in enumerate(BAD_ROWS.items()):
        raw = value.encode("utf-8", "surrogateescape")
        brisk.server.admin.hset(brisk.key(VNI, "fdb"), field, raw)
        reader = await brisk.member(f"reader{number}", VNI)
        await until(lambda reader=reader: reader.table(VNI).snapshots)
        await healed(one, two)
        await until(reader.has(VNI, {**WHOLE, 3: "one"}))
        assert reader.store.counts.poisoned > 0, what
        assert all(set(node.owners(VNI)) == {1, 2, 3} for node in (one, two)), what


async def test_a_row_forged_past_the_scripts_goes_with_the_lease_that_its_owner_does_not_have(
    shared: RedisWorld,
) -> None:
    one, two = await pair(shared)
    shared.server.admin.hset(shared.key(VNI, "fdb"), mac(9).hex(":"), "1 1 1.000000 1 u evil 192.0.2.1:4789 - -")
    shared.server.admin.hset(shared.key(VNI, "fdb"), mac(8).hex(":"), "garbage")
    three = await shared.member("three", VNI)
    await until(lambda: three.owners(VNI) == {**WHOLE, 9: "evil"})
    assert "evil" not in three.live()
    for node in (one, two, three):
        await until(node.has(VNI, WHOLE))


BAD_META = {
    "rev of letters": {"rev": "many"},
    "rev beyond numbers": {"rev": "9" * 30},
    "rev of the past": {"rev": "1"},
    "rev of the future": {"rev": "100000"},
    "no gen": {"gen": ""},
    "long gen": {"gen": "f" * 1000},
    "digest of letters": {"digest": "zzzz"},
    "schema of letters": {"schema": "many"},
}


async def test_meta_that_makes_no_sense(brisk: RedisWorld) -> None:
    one, two = await pair(brisk)
    for fields in BAD_META.values():
        brisk.server.admin.hset(brisk.key(VNI, "meta"), mapping=fields)
        await healed(one, two)


async def test_keys_of_a_network_deleted(brisk: RedisWorld) -> None:
    one, two = await pair(brisk)
    for name in VNI_KEYS:
        brisk.server.admin.delete(brisk.key(VNI, name))
        await healed(one, two)
    await listening(one, two)


BAD_ENTRIES: dict[str, dict[str, str]] = {
    "nothing known": {"a": "b"},
    "unknown operation": {"op": "dance", "key": "", "val": "", "dig": "0" * 16},
    "bad digest": {"op": "withdraw", "key": mac(1).hex(":"), "val": "", "dig": "no"},
    "forged withdrawal": {"op": "withdraw", "key": mac(1).hex(":"), "val": "", "dig": "0" * 16},
    "row of no sense": {"op": "claim", "key": mac(1).hex(":"), "val": "garbage", "dig": "0" * 16},
    "member of no sense": {"op": "join", "key": "evil", "val": "garbage", "dig": "0" * 16},
    "big": {"op": "claim", "key": mac(1).hex(":"), "val": "x" * 10_000_000, "dig": "0" * 16},
}


@pytest.mark.parametrize("where", ["next", "by time"])
async def test_log_entries_that_make_no_sense(brisk: RedisWorld, where: str) -> None:
    one, two = await pair(brisk)
    admin = brisk.server.admin
    for what, entry in BAD_ENTRIES.items():
        known = one.store.counts.poisoned + two.store.counts.poisoned
        rev = int(admin.hget(brisk.key(VNI, "meta"), "rev"))
        with contextlib.suppress(redis.ResponseError):  # a change went before it
            admin.xadd(brisk.key(VNI, "log"), entry, id=f"{rev + 1}-1" if where == "next" else "*")
            await healed(one, two)
            assert one.store.counts.poisoned + two.store.counts.poisoned > known, what


async def test_members_nodes_and_leases_that_make_no_sense(brisk: RedisWorld) -> None:
    one, two = await pair(brisk)
    admin = brisk.server.admin
    admin.hset(brisk.key(VNI, "members"), mapping={"evil": "garbage", "x y": "1 1 u x 10.0.0.1:4789 -"})
    admin.hset(brisk.keys.nodes, mapping={"one": "garbage", "evil": "garbage"})
    admin.zadd(brisk.keys.lease, {"evil": float("inf"), "x y\n": 5, "two": float("-inf")})
    await healed(one, two)
    await until(lambda: one.live() == {"one", "two"})
    assert set(one.table(VNI).members) == {"one", "two"}


BAD_GROUPS = {
    "of nobody": ("evil", "239.0.0.1"),
    "no group": ("one", "10.0.0.1"),
    "not sorted": ("one", "239.0.0.2,239.0.0.1"),
    "garbage": ("one", '{"groups": 1}'),
    "ten megabytes": ("one", "x" * 10_000_000),
    "binary": ("one", b"\xff\xfe"),
    "in the place of good ones": ("two", "239.0.0.9"),
}


async def test_groups_that_make_no_sense(brisk: RedisWorld) -> None:
    one, two = await pair(brisk)
    await listening(one, two)
    for number, (what, (name, text)) in enumerate(BAD_GROUPS.items()):
        brisk.server.admin.hset(brisk.key(VNI, "groups"), name, text)
        reader = await brisk.member(f"listener{number}", VNI)
        await until(lambda reader=reader: reader.table(VNI).snapshots)
        await healed(one, two)
        for node in (one, two, reader):
            await until(lambda node=node: node.table(VNI).groups == {"two": LISTENS})
        assert reader.store.counts.poisoned > 0, what


async def test_who_was_heard_and_what_was_told_that_make_no_sense(brisk: RedisWorld) -> None:
    one, two = await pair(brisk)
    admin = brisk.server.admin
    admin.zadd(brisk.keys.heard, {"evil": float("inf"), "two": float("-inf"), "x y": 5})
    admin.hset(brisk.key(VNI, "acks"), mapping={"one": "many", "evil": "7", "two": "9" * 40})
    assert await one.store.acks(VNI) == {}
    one.hears.add("two")
    await healed(one, two)


async def test_history_that_makes_no_sense_is_left_out(brisk: RedisWorld) -> None:
    one, _ = await pair(brisk)
    admin = brisk.server.admin
    key = brisk.key(VNI, "log")
    (last, _), *_ = admin.xrevrange(key, count=1)
    rev = int(last.split("-")[0])
    for entry in BAD_ENTRIES.values():
        admin.xadd(key, entry, id=f"{rev}-*")
    admin.xadd(
        key, {"op": "leave", "key": "two", "val": "", "dig": "", "at": "soon", "why": b"\xff"}, id=f"{rev + 1}-1"
    )
    with contextlib.suppress(StoreUnavailableError):
        *_, entry = await one.store.history(VNI)
        assert (entry.kind, entry.node, entry.time, entry.detail) == ("leave", "two", 0.0, "")
    admin.delete(key)
    admin.set(key, "x")
    with pytest.raises(StoreUnavailableError, match="WRONGTYPE"):
        await one.store.history(VNI)


async def test_a_later_layout_is_left_alone(shared: RedisWorld) -> None:
    one, two = await pair(shared)
    shared.server.admin.hset(shared.key(VNI, "meta"), "schema", "2")
    with pytest.raises(StoreUnavailableError, match="VXSCHEMA"):
        await one.attach(VNI, 3)
    assert shared.server.admin.hget(shared.key(VNI, "meta"), "schema") == "2"
    assert two.owners(VNI) == WHOLE


BAD_NETWORKS = {
    "not json": "{",
    "another name": '{"name":"red","vni":7}',
    "VNI 0": '{"name":"blue","vni":0}',
    "a list": "[]",
    "bad subnet": '{"name":"blue","vni":7,"subnets":["nonsense"]}',
    "bad mode": '{"name":"blue","vni":7,"learning":"always"}',
    "MTU 1": '{"name":"blue","vni":7,"mtu":1}',
    "binary": b"\xff\xfe",
}


async def test_networks_that_make_no_sense(shared: RedisWorld) -> None:
    one = await shared.node("one")
    await one.store.create_network(NetworkRecord("good", 4097))
    for what, value in BAD_NETWORKS.items():
        poisoned = one.store.counts.poisoned
        shared.server.admin.hset(shared.keys.networks, "blue", value)
        assert [network.name for network in await one.store.networks()] == ["good"], what
        assert await one.store.get_network("blue") is None, what
        assert one.store.counts.poisoned > poisoned, what
        await one.store.remove_network("blue")
        assert (await one.store.create_network(NetworkRecord("blue", 7))).vni == 7, what
        await one.store.remove_network("blue")


@pytest.mark.parametrize("kind", TYPES)
async def test_keys_of_networks_and_addresses_of_another_type(shared: RedisWorld, kind: str) -> None:
    one = await shared.node("one")
    admin = shared.server.admin
    for key in (shared.keys.networks, shared.keys.vnis, shared.key(VNI, "ipam")):
        poison(admin, key, kind)
    await one.store.networks()
    assert (await one.store.create_network(NetworkRecord("blue", 0))).vni == 4096
    assert await one.store.allocate_ip(VNI, "10.1.0.0/24", "a") == "10.1.0.1/24"
    admin.hset(shared.keys.vnis, mapping={"next": "-5", "4097": "gone"})
    assert (await one.store.create_network(NetworkRecord("red", 0))).vni == 4097
    admin.hset(
        shared.key(VNI, "ipam"), mapping={"a:0a010002": "garbage", "r:0a010003": "garbage", "o:a": "x=y garbage"}
    )
    assert await one.store.allocate_ip(VNI, "10.1.0.0/24", "b") == "10.1.0.3/24"
    await one.store.release_ip(VNI, "a")
