from __future__ import annotations

import pytest

from tests.control.world import Node, World, vtep
from vxswitch.errors import ConflictError, NotFoundError, StoreUnavailableError, UsageError
from vxswitch.store.static import StaticStore


def state_of(node: Node, name: str) -> tuple[str, bool]:
    network = node.networks.by_name[name]
    return network.state, network.settled.is_set()


async def test_static_networks_need_a_vni(world: World) -> None:
    node = await world.node(store=StaticStore())
    await node.start()
    with pytest.raises(UsageError, match="give --vni"):
        await node.joining.create(node.wanted("red"), may_exist=False)
    with pytest.raises(NotFoundError):
        await node.joining.ensure("red")


# -- commands --------------------------------------------------------------------------------------------------------


async def test_create_joins_and_is_remembered_over_a_restart(world: World) -> None:
    node = await world.node()
    await node.start("red=100")
    await node.joining.create(node.wanted({"name": "blue", "subnets": ["10.2.0.0/24"]}), may_exist=False)
    vni = node.networks.by_name["blue"].vni
    await node.close()
    world.nodes.remove(node)
    again = await world.node()
    await again.start("red=100")
    assert again.networks.by_name["blue"].vni == vni
    assert again.networks.by_name["blue"].settings.subnets == ("10.2.0.0/24",)
    assert not again.networks.by_name["blue"].configured


async def test_create_again_is_a_success_only_if_asked_and_equal(world: World) -> None:
    node = await world.node()
    await node.start()
    await node.joining.create(node.wanted("red=100"), may_exist=False)
    with pytest.raises(ConflictError, match="--may-exist"):
        await node.joining.create(node.wanted("red=100"), may_exist=False)
    assert (await node.joining.create(node.wanted("red"), may_exist=True)).vni == 100
    with pytest.raises(ConflictError, match="vni 100, not 200"):
        await node.joining.create(node.wanted("red=200"), may_exist=True)


async def test_create_contradicting_the_store_leaves_nothing(world: World) -> None:
    one, two = await world.node("n1"), await world.node("n2", ["192.0.2.2"])
    await one.start("red=100")
    await two.start()
    with pytest.raises(ConflictError):
        await two.joining.create(two.wanted("red=200"), may_exist=False)
    assert (two.networks.by_name, two.fdb.tables, two.plane.ports) == ({}, {}, {})


async def test_create_without_the_store_works_locally_and_follows(world: World) -> None:
    node = await world.node()
    await node.start()
    world.hub.available = False
    green = await node.joining.create(node.wanted("green=300"), may_exist=False)
    grey = await node.joining.create(node.wanted("grey"), may_exist=False)
    assert (green.state, grey.state) == ("up", "pending") and 300 in node.fdb.tables
    world.hub.available = True
    await node.settle()
    assert state_of(node, "green") == state_of(node, "grey") == ("up", True)


async def test_a_network_that_only_the_store_knows_is_joined_on_demand(world: World) -> None:
    one, two = await world.node("n1"), await world.node("n2", ["192.0.2.2"])
    await one.start("red=100")
    await two.start()
    assert (await two.joining.ensure("red")).vni == 100
    assert world.hub.table(100).members.keys() == {"n1", "n2"}
    with pytest.raises(NotFoundError, match="network create nosuch"):
        await two.joining.ensure("nosuch")
    world.hub.available = False
    with pytest.raises(StoreUnavailableError):
        await two.joining.ensure("other")


async def test_remove_takes_ports_rows_and_the_record_of_the_last_member(world: World) -> None:
    one, two = await world.node("n1"), await world.node("n2", ["192.0.2.2"])
    await one.start("red=100")
    await two.start("red=100")
    await world.spread()
    assert await one.joining.remove("red") is False  # n2 is a member still
    await world.spread()
    assert (one.fdb.tables, one.plane.ports) == ({}, {}) and one.taps.forgotten
    assert world.hub.table(100).members.keys() == {"n2"}
    assert all(row.node == "n2" for row in world.hub.table(100).rows.values())
    assert await two.joining.remove("red") is True
    assert await two.store.networks() == []
    with pytest.raises(NotFoundError):
        await two.joining.remove("red")


async def test_purge_leaves_no_rows_and_no_taps_but_remembers(world: World) -> None:
    node = await world.node()
    await node.start("red=100")
    await node.joining.create(node.wanted("blue=200"), may_exist=False)
    await world.spread()
    await node.joining.purge()
    await world.spread()
    assert not world.hub.table(100).rows and not world.hub.table(200).rows
    assert len(node.taps.forgotten) == 2
    assert [item["name"] for item in node.state.read("networks")] == ["blue"]


# -- SIGHUP ----------------------------------------------------------------------------------------------------------


async def test_reload_adds_removes_and_changes_networks(world: World) -> None:
    node = await world.node()
    await node.start("red=100", "blue=200")
    wanted = [
        node.wanted({"name": "red", "vni": 100, "unknown": "drop", "antispoof": "off", "vlan": "carry"}),
        node.wanted("green=300"),
    ]
    assert await node.joining.reload(wanted, node.networks.defaults, []) == []
    await node.settle()
    red = node.fdb.tables[100]
    assert (red.unknown, red.antispoof, red.vlan) == ("drop", "off", "carry")
    assert node.networks.by_name.keys() == {"red", "green"} and 200 not in node.fdb.tables
    assert state_of(node, "green") == ("up", True)


async def test_reload_names_what_cannot_change(world: World) -> None:
    node = await world.node()
    await node.start("red=100")
    asked = node.wanted({"name": "red", "vni": 101, "mtu": 1300, "learning": "flood"})
    refused = await node.joining.reload([asked], node.networks.defaults, [])
    assert refused == ["networks.red.vni", "networks.red.mtu", "networks.red.learning"]
    assert node.fdb.tables.keys() == {100} and node.fdb.tables[100].learning == "control"


async def test_reload_leaves_networks_of_commands_alone(world: World) -> None:
    node = await world.node()
    await node.start("red=100")
    await node.joining.create(node.wanted("blue=200"), may_exist=False)
    await node.joining.reload([], node.networks.defaults, [])
    assert node.networks.by_name.keys() == {"blue"}


async def test_reload_changes_peers_of_all_and_of_one_network(world: World) -> None:
    node = await world.node(store=StaticStore())
    await node.start("red=100", "blue=200", peers=["192.0.2.8"])
    blue = node.wanted({"name": "blue", "vni": 200, "peers": ["192.0.2.7:8472"]})
    await node.joining.reload([node.wanted("red=100"), blue], node.networks.defaults, [vtep("192.0.2.9")])
    flooded = {t.name: [str(p.vtep) for p in t.flood] for t in node.fdb.tables.values()}
    assert flooded == {"red": ["192.0.2.9:4789"], "blue": ["192.0.2.9:4789", "192.0.2.7:8472"]}


async def test_a_new_network_that_cannot_be_is_named_and_left_out(world: World) -> None:
    node = await world.node()
    await node.start("red=100")
    refused = await node.joining.reload([node.wanted("red=100"), node.wanted("blue=100")], node.networks.defaults, [])
    assert len(refused) == 1 and "networks.blue" in refused[0] and "VNI 100" in refused[0]
    assert node.networks.by_name.keys() == {"red"} and 100 in node.fdb.tables
