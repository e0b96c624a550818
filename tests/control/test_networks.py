from __future__ import annotations

import asyncio
import logging

import pytest

from tests.control.world import Node, World
from vxswitch import config
from vxswitch.control.state import StateDir
from vxswitch.errors import ConflictError, StoreUnavailableError, VxswitchError
from vxswitch.model import NetworkRecord
from vxswitch.store.static import StaticStore


def state_of(node: Node, name: str) -> tuple[str, bool]:
    network = node.networks.by_name[name]
    return network.state, network.settled.is_set()


# -- with a store ----------------------------------------------------------------------------------------------------


async def test_a_network_with_a_vni_is_recorded_joined_and_up(world: World) -> None:
    node = await world.node()
    await node.start("red=100")
    assert state_of(node, "red") == ("up", True)
    assert (await node.store.get_network("red")) == NetworkRecord("red", 100)
    assert world.hub.table(100).members.keys() == {"n1"}
    assert node.fdb.tables[100].mtu == 1450
    assert node.taps.host_mtu == {"red": 1450}


async def test_two_nodes_find_each_other(world: World) -> None:
    one, two = await world.node("n1"), await world.node("n2", ["192.0.2.2"])
    await one.start("red=100")
    await two.start("red=100")
    await world.spread()
    assert [p.node for p in one.fdb.tables[100].flood] == ["n2"]
    assert [p.node for p in two.fdb.tables[100].flood] == ["n1"]


async def test_without_a_vni_the_record_tells_or_the_store_allocates(world: World) -> None:
    one, two = await world.node("n1"), await world.node("n2", ["192.0.2.2"])
    await one.start("red=100", "blue")
    await two.start("red", "blue")
    assert two.networks.by_name["red"].vni == 100
    assert one.networks.by_name["blue"].vni == two.networks.by_name["blue"].vni == 4096


async def test_what_the_cluster_agrees_on_comes_from_the_record(world: World) -> None:
    one, two = await world.node("n1"), await world.node("n2", ["192.0.2.2"])
    await one.start({"name": "red", "vni": 100, "mtu": 1300, "subnets": ["10.1.0.0/24"], "learning": "flood"})
    await two.start({"name": "red", "unknown": "drop"})
    settings, table = two.networks.by_name["red"].settings, two.fdb.tables[100]
    assert (settings.subnets, settings.mtu, settings.learning) == (("10.1.0.0/24",), 1300, "flood")
    assert (table.mtu, table.learning, table.unknown) == (1300, "flood", "drop")
    assert table.on_local is None


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("red=200", "has VNI 100 in the store, not 200"),
        ({"name": "red", "vni": 100, "mtu": 1400}, "has MTU 1300 in the store, not 1400"),
        ("blue=100", "VNI 100 is in use by network red"),
    ],
)
async def test_a_contradiction_at_the_start_ends_it(world: World, asked: object, words: str) -> None:
    one, two = await world.node("n1"), await world.node("n2", ["192.0.2.2"])
    await one.start({"name": "red", "vni": 100, "mtu": 1300})
    with pytest.raises(ConflictError, match=words) as refused:
        await two.start(asked)  # type: ignore[arg-type]
    assert refused.value.exit_code == 2
    assert two.plane.ports == {}  # nothing half-started


async def test_without_the_store_a_known_vni_forwards_and_an_unknown_one_is_pending(world: World) -> None:
    world.hub.available = False
    node = await world.node()
    await node.start("red=100", "blue")
    assert state_of(node, "red") == ("up", False) and state_of(node, "blue") == ("pending", False)
    assert node.fdb.tables.keys() == {100} and len(node.plane.ports) == 1
    with pytest.raises(StoreUnavailableError, match="pending"):
        node.networks.forwarding("blue")
    world.hub.available = True
    node.beat()
    await node.settle()
    assert state_of(node, "red") == ("up", True) and state_of(node, "blue") == ("up", True)
    assert world.hub.table(100).members.keys() == {"n1"}


async def test_a_contradiction_found_later_is_shown_and_forwarding_goes_on(world: World) -> None:
    other = await world.node("n2", ["192.0.2.2"])
    await other.start("red=200")
    world.hub.available = False
    node = await world.node("n1")
    await node.start("red=100")
    world.hub.available = True
    node.beat()
    await node.settle()
    network = node.networks.by_name["red"]
    assert network.state == "conflict" and "has VNI 200" in (network.reason or "")
    assert 100 in node.fdb.tables and 100 not in world.hub.tables
    assert node.ports.view()[0]["state"] == "conflict"
    with pytest.raises(ConflictError):
        node.networks.forwarding("red")
    await other.joining.remove("red")
    await node.settle()
    assert state_of(node, "red") == ("up", True)


async def test_the_run_loop_settles_what_is_left(world: World) -> None:
    world.hub.available = False
    node = await world.node()
    await node.start("red=100")
    task = asyncio.create_task(node.networks.run())
    try:
        world.hub.available = True
        node.beat()
        async with asyncio.timeout(5):
            await node.networks.by_name["red"].settled.wait()
    finally:
        task.cancel()


async def test_a_store_that_lost_its_records_is_told_again(world: World) -> None:
    node = await world.node()
    await node.start("red=100")
    task = asyncio.create_task(node.networks.run())
    try:
        await asyncio.sleep(0)
        world.hub.flush()
        node.beat()
        node.networks.poke()
        async with asyncio.timeout(5):
            while "red" not in world.hub.records.networks:  # noqa: ASYNC110 - the hub tells nobody of its records
                await asyncio.sleep(0.01)
        assert state_of(node, "red") == ("up", True)
    finally:
        task.cancel()


async def test_a_record_that_others_made_meanwhile_is_a_conflict_and_forwarding_goes_on(world: World) -> None:
    node = await world.node()
    await node.start("red=100")
    world.hub.flush()
    other = await world.node("n2", ["192.0.2.2"])
    await other.start("blue=100")
    node.beat()
    assert await node.networks.catch_up()
    assert node.networks.by_name["red"].state == "conflict" and 100 in node.fdb.tables
    assert world.hub.table(100).members.keys() == {"n2"}, "the two networks stay apart"
    await other.joining.remove("blue")
    world.hub.records.closed_until = 0.0
    await node.settle()
    assert state_of(node, "red") == ("up", True) and world.hub.table(100).members.keys() == {"n1"}


async def test_catching_up_is_put_off_while_the_store_does_not_answer(world: World) -> None:
    node = await world.node()
    await node.start("red=100")
    world.hub.available = False
    assert not await node.networks.catch_up()
    assert state_of(node, "red") == ("up", True)


async def test_a_store_of_our_own_that_is_coming_up_is_waited_for(world: World) -> None:
    world.hub.available = False
    node = await world.node()
    get, asked = node.store.get_network, 0

    async def coming_up(name: str) -> NetworkRecord | None:
        nonlocal asked
        asked += 1
        if asked == 3:
            world.hub.available = True
            node.beat()
        return await get(name)

    node.store.get_network = coming_up  # type: ignore[method-assign]
    await node.networks.start([node.wanted("blue")], [], 5.0, insist=True)
    assert node.networks.by_name["blue"].vni == 4096 and asked == 3


async def test_macs_are_announced_from_the_moment_of_joining(world: World) -> None:
    world.hub.available = False
    node = await world.node()
    await node.start("red=100")
    assert node.announcer.backlog == 0  # the table itself is the journal
    world.hub.available = True
    node.beat()
    await node.settle()
    await world.spread()
    host_mac = node.ports.entries["red/vx-red"].record.mac_bytes
    assert world.hub.table(100).rows.keys() == {host_mac}
    assert node.fdb.tables[100].rows[host_mac].rev is not None


async def test_two_networks_of_one_vni_on_one_node_are_refused(world: World) -> None:
    node = await world.node(store=StaticStore())
    with pytest.raises(ConflictError, match="is network 'red'"):
        await node.start("red=100", "blue=100")


# -- without a store -------------------------------------------------------------------------------------------------


async def test_static_networks_are_up_and_settled_at_once(world: World) -> None:
    node = await world.node(store=StaticStore())
    await node.start("red=100", peers=["192.0.2.2"])
    assert state_of(node, "red") == ("up", True)
    table = node.fdb.tables[100]
    assert (table.learning, [str(p.vtep) for p in table.flood]) == ("flood", ["192.0.2.2:4789"])
    assert table.on_local is None


# -- MTU -------------------------------------------------------------------------------------------------------------


async def test_an_mtu_that_the_record_changes_reaches_table_and_host_port(world: World) -> None:
    other = await world.node("n2", ["192.0.2.2"])
    await other.start({"name": "red", "vni": 100, "mtu": 1300})
    world.hub.available = False
    node = await world.node("n1")
    await node.start("red=100")
    assert node.taps.host_mtu == {"red": 1450}
    world.hub.available = True
    node.beat()
    await node.settle()
    assert node.fdb.tables[100].mtu == 1300
    assert node.taps.followed == [(None, "vx-red", 1450, 1300)]


async def test_networks_without_an_mtu_of_their_own_follow_the_underlay(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    node = await world.node("n1")
    await node.start("red=100", {"name": "blue", "vni": 200, "mtu": 1400})
    await node.attach("red", "c1")
    node.mtu = 1350
    await node.networks.resize()
    await node.networks.resize()
    assert {vni: table.mtu for vni, table in node.fdb.tables.items()} == {100: 1350, 200: 1400}
    assert node.taps.followed == [(None, "vx-red", 1450, 1350), ("/run/netns/c1", "eth0", 1450, 1350)]
    assert "network red: its MTU is 1350 now, was 1450" in caplog.text
    assert "network blue: MTU 1400 is more than the underlay carries (1350)" in caplog.text
    node.taps.fails = VxswitchError("may not enter")
    node.mtu = 1450
    await node.networks.resize()
    assert "red/c1/eth0 keeps its MTU, not 1450: may not enter" in caplog.text


async def test_host_ports_can_be_left_out(world: World) -> None:
    node = await world.node(host_port=False)
    await node.start("red=100")
    assert node.plane.ports == {}


def test_defaults_are_the_configurations() -> None:
    assert config.Networks(learning="control").host_port


async def test_a_corrupt_networks_file_is_moved_aside(world: World, caplog: pytest.LogCaptureFixture) -> None:
    state = StateDir(world.directory / "n1")
    state.write("networks", [{"name": "red", "vni": 0}])
    state.close()
    node = await world.node()
    with caplog.at_level(logging.ERROR):
        await node.start("blue=200")
    assert node.networks.by_name.keys() == {"blue"}
    assert (node.state.path / "networks.corrupt").exists() and "networks.json" in caplog.text


async def test_where_the_record_says_auto_each_node_has_its_own_mtu(world: World) -> None:
    one, two = await world.node("n1"), await world.node("n2", ["192.0.2.2"])
    two.mtu = 1380
    await one.start({"name": "red", "vni": 100}, {"name": "blue", "vni": 200})
    await two.start({"name": "red", "vni": 100, "mtu": 1300}, {"name": "blue", "vni": 200})
    assert [table.mtu for table in one.fdb.tables.values()] == [1450, 1450]
    assert [table.mtu for table in two.fdb.tables.values()] == [1300, 1380]
