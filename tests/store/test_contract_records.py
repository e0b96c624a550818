"""The contract of vxswitch/store/base.py about networks and addresses, on every store that has them."""

from __future__ import annotations

import asyncio

import pytest

from tests.store.conftest import World
from tests.store.servers import until
from vxswitch.errors import ConflictError, NotFoundError, StoreUnavailableError, UsageError
from vxswitch.model import NetworkRecord

VNI = 4096

# Networks.


async def test_networks_are_created_once_and_found(anywhere: World) -> None:
    one, two = await anywhere.node("one"), await anywhere.node("two")
    blue = await one.store.create_network(NetworkRecord("blue", 0, ("10.1.0.0/24",), mtu=1400))
    red = await two.store.create_network(NetworkRecord("red", 0))
    assert (blue.vni, red.vni) == (4096, 4097)
    assert await two.store.create_network(NetworkRecord("blue", 0, ("10.1.0.0/24",), mtu=1400)) == blue
    assert await two.store.get_network("blue") == blue
    assert await two.store.get_network("green") is None
    assert sorted(n.name for n in await two.store.networks()) == ["blue", "red"]


async def test_contradicting_networks_are_conflicts(anywhere: World) -> None:
    one = await anywhere.node("one")
    await one.store.create_network(NetworkRecord("blue", 4096))
    for other in (NetworkRecord("blue", 4097), NetworkRecord("blue", 4096, mtu=1400), NetworkRecord("red", 4096)):
        with pytest.raises(ConflictError):
            await one.store.create_network(other)
    assert (await one.store.create_network(NetworkRecord("green", 0))).vni == 4097
    with pytest.raises(UsageError):
        await one.store.create_network(NetworkRecord("bad", 2**24))


async def test_a_network_goes_when_no_other_member_is_left(anywhere: World) -> None:
    one, two = await anywhere.node("one"), await anywhere.node("two")
    blue = await one.store.create_network(NetworkRecord("blue", 0))
    for node in (one, two):
        await node.store.join(blue.vni)
        await node.attach(blue.vni, 1)
    await until(lambda: set(one.table(blue.vni).members) == {"one", "two"})
    with pytest.raises(ConflictError, match="two"):
        await one.store.remove_network("blue")
    two.ports.clear()
    await two.store.leave(blue.vni)
    await one.store.remove_network("blue")
    assert await two.store.networks() == []
    with pytest.raises(NotFoundError):
        await one.store.remove_network("blue")
    await two.store.join(blue.vni)
    await until(lambda: two.table(blue.vni).rows == {} and set(two.table(blue.vni).members) == {"two"})


async def test_after_a_loss_new_networks_wait_until_those_that_there_were_are_back(anywhere: World) -> None:
    one, two = await anywhere.node("one"), await anywhere.node("two")
    red = await one.store.create_network(NetworkRecord("red", 0))
    await until(lambda: two.store.status().state == "up")  # who registers after the loss cannot know of it
    beats = one.store.counts.beats
    anywhere.flush()
    for asked in (NetworkRecord("blue", 0), NetworkRecord("green", red.vni)):  # before it knows of the loss, or after
        with pytest.raises(StoreUnavailableError):
            await two.store.create_network(asked)
    await until(lambda: one.store.counts.beats > beats + 1)
    three = await anywhere.node("three")
    with pytest.raises(StoreUnavailableError, match="has lost its data"):
        await three.store.create_network(NetworkRecord("blue", 0))
    assert await one.store.create_network(red, again=True) == red
    assert await three.store.create_network(NetworkRecord("red", 0)) == red, "which is there"
    with pytest.raises(StoreUnavailableError):
        await three.store.create_network(NetworkRecord("green", red.vni))


# Addresses.


async def test_the_lowest_free_address_and_the_same_again_for_the_same_owner(anywhere: World) -> None:
    one, two = await anywhere.node("one"), await anywhere.node("two")
    assert await one.store.allocate_ip(VNI, "10.1.0.0/24", "one/a") == "10.1.0.1/24"
    assert await two.store.allocate_ip(VNI, "10.1.0.0/24", "two/b") == "10.1.0.2/24"
    assert await one.store.allocate_ip(VNI, "10.1.0.0/24", "one/a") == "10.1.0.1/24"
    assert await one.store.allocate_ip(VNI, "fd00::/64", "one/a") == "fd00::1/64"
    assert await one.store.allocate_ip(VNI + 1, "10.1.0.0/24", "one/c") == "10.1.0.1/24"


async def test_released_addresses_rest_but_not_for_their_last_owner_or_by_name(anywhere: World) -> None:
    one = await anywhere.node("one")
    for owner in "abc":
        await one.store.allocate_ip(VNI, "10.1.0.0/24", owner)
    for owner in "abc":
        await one.store.release_ip(VNI, owner)
    assert await one.store.allocate_ip(VNI, "10.1.0.0/24", "d") == "10.1.0.4/24"
    assert await one.store.allocate_ip(VNI, "10.1.0.0/24", "b") == "10.1.0.2/24"
    await one.store.reserve_ip(VNI, "10.1.0.0/24", "10.1.0.3", "e")

    assert await one.store.allocate_ip(VNI, "10.1.0.0/24", "f") == "10.1.0.5/24"


async def test_an_address_rests_only_for_a_while(anywhere: World) -> None:
    one = await anywhere.node("one")
    await one.store.allocate_ip(VNI, "10.1.0.0/30", "a")
    await one.store.release_ip(VNI, "a")
    assert await one.store.allocate_ip(VNI, "10.1.0.0/30", "b") == "10.1.0.2/30"
    with pytest.raises(ConflictError, match="no free address"):
        await one.store.allocate_ip(VNI, "10.1.0.0/30", "c")

    async def allocate() -> str:
        while True:
            try:
                return await one.store.allocate_ip(VNI, "10.1.0.0/30", "c")
            except ConflictError:
                await asyncio.sleep(0.02)

    assert await asyncio.wait_for(allocate(), 5) == "10.1.0.1/30"


async def test_an_address_of_a_live_owner_is_refused_by_name_and_of_a_dead_one_is_not(anywhere: World) -> None:
    one, two = await anywhere.node("one"), await anywhere.node("two")
    await two.store.reserve_ip(VNI, "10.1.0.0/24", "10.1.0.7/24", "two/a")
    await two.store.reserve_ip(VNI, "10.1.0.0/24", "10.1.0.7", "two/a")
    with pytest.raises(ConflictError, match="two/a on two"):
        await one.store.reserve_ip(VNI, "10.1.0.0/24", "10.1.0.7", "one/a")
    await two.close(leave=True)
    await one.store.reserve_ip(VNI, "10.1.0.0/24", "10.1.0.7", "one/a")
    assert await one.store.allocate_ip(VNI, "10.1.0.0/24", "one/a") == "10.1.0.7/24"


async def test_addresses_that_the_dead_hold_are_given_out_when_nothing_else_is_left(anywhere: World) -> None:
    one, two = await anywhere.member("one", VNI), await anywhere.member("two", VNI)
    await two.store.allocate_ip(VNI, "10.1.0.0/31", "two/a")
    await one.store.allocate_ip(VNI, "10.1.0.0/31", "one/a")
    await two.close(leave=False)
    with pytest.raises(ConflictError):
        await one.store.allocate_ip(VNI, "10.1.0.0/31", "one/b")
    await until(lambda: "two" not in one.table(VNI).members)
    assert await one.store.allocate_ip(VNI, "10.1.0.0/31", "one/b") == "10.1.0.0/31"


async def test_addresses_that_make_no_sense_are_usage_errors(anywhere: World) -> None:
    one = await anywhere.node("one")
    for subnet, address in (("10.1.0.0/24", "10.2.0.1"), ("10.1.0.0/24", "10.1.0.0"), ("10.1.0.1/24", "10.1.0.1")):
        with pytest.raises(UsageError):
            await one.store.reserve_ip(VNI, subnet, address, "a")
    with pytest.raises(UsageError):
        await one.store.allocate_ip(VNI, "nonsense", "a")
