from __future__ import annotations

import asyncio

import pytest

from tests.control.world import World
from vxswitch.errors import ConflictError, StoreUnavailableError, UsageError
from vxswitch.store.memory import MemoryStore
from vxswitch.store.static import StaticStore

RED = {"name": "red", "vni": 100, "subnets": ["10.1.0.0/24", "fd00:1::/64"]}


async def test_automatic_addresses_are_the_lowest_free_of_each_family(world: World) -> None:
    one, two = await world.node("n1"), await world.node("n2", ["192.0.2.2"])
    for node in (one, two):
        await node.start(RED)
    assert (await one.attach("red", "c1", ips=["auto"]))["ips"] == ["10.1.0.1/24", "fd00:1::1/64"]
    assert (await two.attach("red", "c1", ips=["auto"]))["ips"] == ["10.1.0.2/24", "fd00:1::2/64"]
    assert (await one.attach("red", "c2", ips=[]))["ips"] == ["10.1.0.3/24", "fd00:1::3/64"]  # no word: as auto


async def test_a_named_address_is_reserved_and_refused_to_others(world: World) -> None:
    one, two = await world.node("n1"), await world.node("n2", ["192.0.2.2"])
    for node in (one, two):
        await node.start(RED)
    await one.attach("red", "c1", ips=["10.1.0.1/24"])
    assert (await two.attach("red", "c1", ips=["auto"]))["ips"][0] == "10.1.0.2/24"
    with pytest.raises(ConflictError, match=r"10\.1\.0\.1"):
        await two.attach("red", "c2", ips=["10.1.0.1/24"])
    assert "red/c2/eth0" not in two.ports.entries


async def test_addresses_outside_the_subnets_and_networks_without_any_are_the_users_word(world: World) -> None:
    node = await world.node()
    await node.start(RED, "blue=200")
    assert (await node.attach("red", "c1", ips=["172.16.0.1/16"]))["ips"] == ["172.16.0.1/16"]
    assert (await node.attach("blue", "c2", ips=["10.1.0.1/24"]))["ips"] == ["10.1.0.1/24"]
    assert (await node.attach("blue", "c3", ips=[]))["ips"] == []  # no word, nothing to take from
    with pytest.raises(UsageError, match="has no subnet"):
        await node.attach("blue", "c4", ips=["auto"])


async def test_static_stores_allocate_nothing(world: World) -> None:
    node = await world.node(store=StaticStore())
    await node.start(RED)
    with pytest.raises(UsageError, match="static:"):
        await node.attach("red", "c1", ips=["auto"])
    assert (await node.attach("red", "c1", ips=["10.1.0.7/24"]))["ips"] == ["10.1.0.7/24"]
    assert (await node.attach("red", "c2", ips=[]))["ips"] == []


async def test_without_the_store_a_named_address_works_and_is_reserved_later(world: World) -> None:
    one, two = await world.node("n1"), await world.node("n2", ["192.0.2.2"])
    for node in (one, two):
        await node.start(RED)
    world.hub.available = False
    assert (await one.attach("red", "c1", ips=["10.1.0.1/24"]))["ips"] == ["10.1.0.1/24"]
    with pytest.raises(StoreUnavailableError, match="give --ip CIDR"):
        await one.attach("red", "c2", ips=["auto"])
    world.hub.available = True
    await one.networks.catch_up()
    assert (await two.attach("red", "c1", ips=["auto"]))["ips"][0] == "10.1.0.2/24"


async def test_a_store_that_hangs_holds_nobody_up_for_long(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vxswitch.control.patience.deadline.__defaults__", (0.05,))
    node = await world.node()
    await node.start(RED)

    async def hang(*args: object) -> str:
        await asyncio.Event().wait()
        raise AssertionError

    assert isinstance(node.store, MemoryStore)
    node.store.allocate_ip = hang  # type: ignore[method-assign,assignment]
    with pytest.raises(StoreUnavailableError, match="has not answered in time"):
        await node.attach("red", ips=["auto"])
    assert (await node.attach("red", "c2", ips=["10.1.0.9/24"]))["ips"] == ["10.1.0.9/24"]


async def test_a_detach_without_the_store_is_told_later(world: World) -> None:
    node = await world.node()
    await node.start(RED)
    await node.attach("red", ips=["auto"])
    await world.spread()
    world.hub.available = False
    await node.attaching.detach("red", "/run/netns/c1", "eth0")
    world.hub.available = True
    await node.networks.catch_up()
    await world.spread()
    assert len(world.hub.table(100).rows) == 1
    assert (await node.attach("red", "c2", ips=["auto"]))["ips"][0] == "10.1.0.2/24"  # .1 rests


async def test_an_address_taken_by_name_in_an_outage_and_by_another_node_too_is_told(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    one, two = await world.node("n1"), await world.node("n2", ["192.0.2.2"])
    for node in (one, two):
        await node.start(RED)
    world.hub.available = False
    await one.attach("red", "c1", ips=["10.1.0.1/24"])
    world.hub.available = True
    await two.attach("red", "c1", ips=["10.1.0.1/24"])
    await one.networks.catch_up()
    assert "port red/c1/eth0: address 10.1.0.1" in caplog.text
