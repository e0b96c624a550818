"""The scripts as the server sees them: every key declared, one slot, no right beyond the documented ones."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.store.conftest import RedisWorld, redis_world
from tests.store.nodes import FAST, mac
from tests.store.servers import BINARIES, Server, until
from vxswitch.errors import ConflictError, UsageError
from vxswitch.model import NetworkRecord
from vxswitch.store import redis_scripts
from vxswitch.store.redis_connect import Link, ServerRefusedError
from vxswitch.store.redis_scripts import THAW, TYPES, Keys, Run, Script, run_all

VNI = 4096


async def everything(world: RedisWorld) -> None:
    """Have every script run at least once."""
    one, two = await world.node("one"), await world.node("two")
    blue = await one.store.create_network(NetworkRecord("blue", 0))
    for node in (one, two):
        await node.store.join(blue.vni)
    await one.attach(blue.vni, 1)
    for turn in range(FAST.contested_moves):
        await (two, one)[turn % 2].attach(blue.vni, 1, "garp")
    await one.store.thaw(blue.vni, mac(1))
    await one.store.set_groups(blue.vni, frozenset({"239.1.1.1"}))
    await until(lambda: one.table(blue.vni).groups)
    one.store.applied(blue.vni, 1)
    two.hears.add("one")
    assert set(await one.store.acks(blue.vni)) == {"one", "two"}
    assert (await one.store.history(blue.vni, limit=1))[0].kind == "groups"
    assert (await one.store.digest(blue.vni)).rows == 1
    await one.store.release([(blue.vni, mac(1))])
    await one.store.allocate_ip(blue.vni, "10.1.0.0/24", "a")
    await one.store.reserve_ip(blue.vni, "10.1.0.0/24", "10.1.0.9", "a")
    await one.store.release_ip(blue.vni, "a")
    world.server.admin.hset(world.key(blue.vni, "fdb"), mac(9).hex(":"), "garbage")
    world.server.admin.hset(world.key(blue.vni, "meta"), "digest", "0" * 16)
    await until(lambda: any("poison" in node.table(blue.vni).snapshots for node in (one, two)))
    await two.close(leave=True)
    await until(lambda: set(one.table(blue.vni).members) == {"one"})
    await one.store.leave(blue.vni)
    await one.store.clear_vni(blue.vni)  # type: ignore[attr-defined]
    await one.store.remove_network("blue")


async def test_no_right_beyond_the_documented_ones_is_asked_for(server: Server) -> None:
    world = redis_world(server)
    await everything(world)
    await world.close()
    assert server.admin.acl_log() == []
    known = {script.sha for script in vars(redis_scripts).values() if isinstance(script, Script)}
    unused = {sha for sha, there in zip(known, server.admin.script_exists(*known), strict=True) if not there}
    assert unused <= {TYPES.sha, redis_scripts.CHECK.sha, redis_scripts.KEEP.sha}


@pytest.fixture(params=sorted(BINARIES))
def cluster_node(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """A server in cluster mode that has all slots: it refuses keys of two slots, and keys that are not declared."""
    server = Server(request.param, tmp_path, extra="cluster-enabled yes\n")
    server.admin.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
    yield server
    server.kill()


@pytest.fixture
async def clustered(cluster_node: Server) -> AsyncIterator[RedisWorld]:
    """Nodes on a server in cluster mode."""
    admin = cluster_node.admin
    await until(lambda: admin.execute_command("CLUSTER INFO")["cluster_state"] == "ok")
    world = redis_world(cluster_node)
    yield world
    await world.close()


async def test_every_key_is_declared_and_of_one_slot(clustered: RedisWorld) -> None:
    await everything(clustered)


async def test_scripts_touch_declared_keys_only(server: Server, tmp_path: Path) -> None:
    seen = tmp_path / "monitor"
    with seen.open("wb") as out:
        monitor = await asyncio.create_subprocess_exec("redis-cli", "-s", str(server.path), "monitor", stdout=out)
        world = redis_world(server)
        try:
            await until(lambda: seen.stat().st_size)
            await everything(world)
            server.admin.echo("the end")
            await until(lambda: b"the end" in seen.read_bytes())
        finally:
            await world.close()
            monitor.kill()
            await monitor.wait()
    declared: list[str] = []
    inside = 0
    for line in seen.read_text("utf-8", "replace").splitlines():
        words = re.findall(r'"([^"]*)"', line)
        if "EVALSHA" in words[:1]:
            declared = words[3 : 3 + int(words[2])]
        elif " lua]" in line and words[0].upper() != "TIME":
            assert words[1] in declared, line
            inside += 1
    assert inside > 100


async def test_what_the_server_lacks_is_loaded_and_order_is_kept(server: Server) -> None:
    link = await Link.open(server.endpoint(), FAST)
    key = "vx:{c/0}:x"
    sources = [f"redis.call('HSET', KEYS[1], 'last', {n}) return {n}" for n in range(3)]
    scripts = [Script(source, redis_scripts.hashlib.sha1(source.encode()).hexdigest()) for source in sources]
    for _ in range(2):
        assert await run_all(link, [Run(script, [key], []) for script in scripts]) == [0, 1, 2]
        assert server.admin.hget(key, "last") == "2"
        server.admin.script_flush()
    await link.close()


async def test_one_failing_script_leaves_the_others_their_answers(shared_server: Server) -> None:
    link = await Link.open(shared_server.endpoint(), FAST)
    keys = Keys("c").of_vni(VNI)
    fine = Run(THAW, keys, ["nobody", "u", 1, "0" * 16, "x"])
    broken = Run(Script("error('no')", redis_scripts.hashlib.sha1(b"error('no')").hexdigest()), keys, [])
    first, second, third = await run_all(link, [fine, broken, fine])
    assert (first, third) == (0, 0)
    assert isinstance(second, ServerRefusedError)
    await link.close()


@pytest.mark.parametrize("cluster", ["", "two words", "a/b", "a}b", "a*", "-a", "a" * 64])
def test_cluster_names_that_cannot_stand_in_a_key(cluster: str) -> None:
    with pytest.raises(UsageError):
        Keys(cluster)


def test_keys_of_one_cluster_match_its_pattern_only() -> None:
    assert Keys("a").of_vni(7)[2] == "vx:{a/0}:7:meta"
    assert not Keys("a.b").nodes.startswith("vx:{a/")


async def test_two_nodes_that_create_the_same_network_agree(shared: RedisWorld) -> None:
    one, two = await shared.node("one"), await shared.node("two")
    wanted = NetworkRecord("blue", 0)
    records = [await node.store.create_network(wanted) for node in (one, two)]
    assert records[0] == records[1]
    with pytest.raises(ConflictError):
        await two.store.create_network(NetworkRecord("green", records[0].vni))
