"""RedisStore's own memory: what was asked for while the store was away, other processes, and large tables."""

from __future__ import annotations

import asyncio
import signal
import sys

import pytest

from tests.store.conftest import RedisWorld, redis_world
from tests.store.nodes import Node, mac
from tests.store.servers import DEADLINE, PASSWORD, USER, Server, granted, until
from tests.store.test_redis_faults import WHOLE, pair
from vxswitch.errors import StoreUnavailableError
from vxswitch.model import NetworkRecord
from vxswitch.store import redis_history
from vxswitch.store.base import LocalMac
from vxswitch.store.redis_snapshot import SLICE, fetch
from vxswitch.store.rules import Rules

VNI = 4096


async def test_calls_wait_for_the_first_attempt_to_connect(shared: RedisWorld) -> None:
    one = await shared.node("one")
    assert one.store.status().state == "down"
    assert await one.store.networks() == []
    assert one.store.status().state == "up"


async def test_a_membership_given_up_while_the_store_was_away_is_given_up_in_it(world: RedisWorld) -> None:
    one, two = await pair(world)
    world.server.signal(signal.SIGSTOP)
    await until(lambda: two.store.status().state == "down")
    two.ports.clear()
    await two.store.leave(VNI)
    world.server.signal(signal.SIGCONT)
    await until(lambda: set(one.table(VNI).members) == {"one"} and one.owners(VNI) == {1: "one"})
    assert world.server.admin.smembers(world.keys.joined("two")) == set()


async def test_a_port_that_went_while_the_store_was_away_is_released(world: RedisWorld) -> None:
    one, two = await pair(world)
    world.server.signal(signal.SIGSTOP)
    await until(lambda: two.store.status().state == "down")
    with pytest.raises(StoreUnavailableError):
        await two.detach(VNI, 2)
    world.server.signal(signal.SIGCONT)
    await until(one.has(VNI, {1: "one"}))


async def test_networks_that_an_earlier_start_joined_are_left_after_grace(shared: RedisWorld) -> None:
    one = await shared.member("one", VNI)
    two = await shared.node("two")
    for vni in (VNI, VNI + 1):
        await two.store.join(vni)
    await until(lambda: set(one.table(VNI).members) == {"one", "two"})
    await two.close(leave=True)
    again = await shared.node("two", epoch=2)
    await again.store.join(VNI + 1)
    await until(lambda: set(one.table(VNI).members) == {"one"})
    assert shared.server.admin.smembers(shared.keys.joined("two")) == {str(VNI + 1)}


async def test_leaving_at_once_after_joining_leaves_nothing_behind(shared: RedisWorld) -> None:
    one = await shared.node("one")
    for _ in range(5):
        await one.store.join(VNI)
        await one.store.leave(VNI)
    await one.store.networks()
    await until(lambda: not shared.server.admin.hexists(shared.key(VNI, "members"), "one"))
    await one.store.join(VNI)
    await until(lambda: one.table(VNI).snapshots and "one" in one.table(VNI).members)


async def test_a_removed_network_leaves_no_key(shared: RedisWorld) -> None:
    one = await shared.node("one")
    blue = await one.store.create_network(NetworkRecord("blue", 0))
    await one.store.join(blue.vni)
    await one.attach(blue.vni, 1)
    await one.store.allocate_ip(blue.vni, "10.1.0.0/24", "a")
    one.ports.clear()
    await one.store.remove_network("blue")
    pattern = shared.key(blue.vni, "*").replace("{", "[{]").replace("}", "[}]")
    assert list(shared.server.admin.scan_iter(pattern)) == []


async def test_frozen_macs_thaw_by_time(shared_server: Server) -> None:
    world = redis_world(shared_server, Rules(lease=1.0, beat=0.2, freeze=0.5))
    one, two = await world.member("one", VNI), await world.member("two", VNI)
    await one.attach(VNI, 1)
    for turn in range(5):
        await (two, one)[turn % 2].attach(VNI, 1, "garp")
    assert (await one.attach(VNI, 1, "garp")).refused == "frozen"
    moved = await granted(lambda: one.attach(VNI, 1, "garp"))
    assert moved.row is not None
    assert moved.row.flags == ()
    await world.close()


PAUSED = """
import asyncio, sys
from vxswitch.model import NodeRecord, Vtep
from vxswitch.store.base import LocalMac
from vxswitch.store.redis import RedisStore
from vxswitch.store.redis_connect import Endpoint
from vxswitch.store.rules import Rules

async def main() -> None:
    path, user, password, cluster, vni = sys.argv[1:]
    macs = [LocalMac(int(vni), bytes.fromhex(mac), "attach") for mac in ("020000000007", "020000000008")]
    endpoint = Endpoint("x", path=path, username=user, password=password)
    store = RedisStore(endpoint, cluster, Rules(lease=1.0, beat=0.2, grace=20.0))
    await store.start(NodeRecord("paused", "u", 1, (Vtep("192.0.2.1"),)), lambda _: macs)
    await store.join(int(vni))
    async for event in store.events():
        pass

asyncio.run(main())
"""


async def test_a_process_paused_past_its_lease_and_resumed_takes_nothing_back(shared_server: Server) -> None:
    world = redis_world(shared_server, Rules(lease=1.0, beat=0.2, grace=20.0))
    one = await world.member("one", VNI)
    cluster = world.keys.nodes.partition("{")[2].partition("/")[0]
    arguments = (str(shared_server.path), USER, PASSWORD.replace(" ", "_"), cluster, str(VNI))
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", PAUSED, *arguments)
    try:
        await until(one.has(VNI, {7: "paused", 8: "paused"}))
        await until(lambda: one.leases and one.leases.trusted and "paused" in one.live())
        process.send_signal(signal.SIGSTOP)
        await until(lambda: one.leases and one.leases.trusted and "paused" not in one.live())
        assert (await one.attach(VNI, 7, "garp")).refused is None
        process.send_signal(signal.SIGCONT)
        await until(lambda: "paused" in one.live() and one.table(VNI).rows[mac(8)].epoch == 2)
        assert one.owners(VNI) == {7: "one", 8: "paused"}
    finally:
        process.kill()
        await process.wait()
        await world.close()


async def test_a_large_table_is_read_without_holding_up_the_loop(server: Server) -> None:
    world = redis_world(server, Rules(lease=3.0, beat=0.5))
    one = await world.member("one", VNI)
    count = 4000
    for start in range(0, count, 512):
        macs = [LocalMac(VNI, mac(n), "frame", (f"10.0.{n // 256}.{n % 256}",)) for n in range(start, start + 512)]
        assert all(result.refused is None for result in await one.store.claim(macs))
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    session = one.store._session  # type: ignore[attr-defined]
    counting = asyncio.create_task(count_turns())
    tables = await fetch(session.command, one.store._state, VNI)  # type: ignore[attr-defined]
    counting.cancel()
    assert tables is not None
    assert tables.is_sound()
    assert len(tables.rows) >= count
    assert turns >= count // SLICE
    await world.close()


async def test_history_is_read_page_by_page_from_its_end(shared: RedisWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_history, "PAGE", 8)
    one = await shared.member("one", VNI)
    for turn in range(30):
        await one.attach(VNI, 1 + turn % 3, ips=(f"10.0.0.{turn + 1}",))
    entries = await one.store.history(VNI)
    assert [entry.rev for entry in entries] == list(range(1, 32))
    assert await one.store.history(VNI, mac(2)) == [entry for entry in entries if entry.mac == mac(2)]
    assert await one.store.history(VNI, mac(2), limit=9) == [entry for entry in entries if entry.mac == mac(2)][1:]
    assert await one.store.history(VNI, limit=20) == entries[-20:]
    shared.server.admin.xtrim(shared.key(VNI, "log"), maxlen=10, approximate=False)
    assert await one.store.history(VNI) == entries[-10:]


async def test_calls_while_the_connection_breaks_are_unavailable_never_another_error(world: RedisWorld) -> None:
    one, two = await pair(world)

    async def work(node: Node) -> int:
        failed = 0
        for turn in range(200):
            try:
                await node.store.claim([LocalMac(VNI, mac(3 + turn % 5), "attach")])
                await node.store.release([(VNI, mac(3 + turn % 5))])
                await node.store.allocate_ip(VNI, "10.1.0.0/24", node.node.name)
                await node.store.get_network("blue")
            except StoreUnavailableError:
                failed += 1
                await asyncio.sleep(0.01)
        return failed

    working = [asyncio.create_task(work(node)) for node in (one, two)]
    for _ in range(3):
        await until(lambda: one.store.status().state == "up")
        world.server.admin.client_kill_filter(user=USER)
        await until(lambda: one.store.status().state != "up")
    async with asyncio.timeout(DEADLINE):
        assert sum([await task for task in working]) > 0
    for node in (one, two):
        await until(node.has(VNI, WHOLE))
