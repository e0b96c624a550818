from __future__ import annotations

import asyncio

import pytest

from tests.control.test_drift import two_nodes
from tests.control.world import World
from vxswitch.control.barrier import propagated
from vxswitch.control.patience import deadline
from vxswitch.errors import StoreUnavailableError

LONG, SHORT = 10.0, 0.2  # seconds


async def test_it_is_passed_when_every_live_node_has_come_as_far(world: World) -> None:
    one, two = await two_nodes(world)
    waiting = asyncio.ensure_future(propagated(one.rooms, 100, deadline(LONG)))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    two.beat()
    done = await waiting
    assert done.laggards == {} and done.rev == world.hub.table(100).truth.rev


async def test_a_node_that_does_not_come_along_is_named(world: World) -> None:
    one, two = await two_nodes(world)
    two.beat()
    reached = world.hub.acks(100)["n2"]
    two.store.cut = True  # type: ignore[attr-defined]
    await one.attach("red", "c9")
    await world.spread()
    done = await propagated(one.rooms, 100, deadline(SHORT))
    assert done.laggards == {"n2": reached} and done.rev > reached


async def test_a_dead_node_holds_up_nobody_for_longer_than_its_lease(world: World) -> None:
    one, two = await two_nodes(world)
    two.store.cut = True  # type: ignore[attr-defined]
    for _ in range(5):
        world.time.pass_by(world.hub.rules.beat)
        one.beat()
        await one.hear()
    assert (await propagated(one.rooms, 100, deadline(SHORT))).laggards == {}


async def test_a_store_that_comes_back_empty_begins_anew(world: World) -> None:
    one, _ = await two_nodes(world)
    waiting = asyncio.ensure_future(propagated(one.rooms, 100, deadline(LONG)))
    await asyncio.sleep(0.05)
    before = world.hub.table(100).truth.rev
    world.hub.available = False
    await asyncio.sleep(0.15)
    world.hub.flush()
    world.hub.available = True
    for node in world.nodes:
        for _ in range(2):
            node.beat()
            await node.settle()
    await world.spread()
    for node in world.nodes:
        node.beat()
    done = await waiting
    assert done.laggards == {} and 0 <= done.rev <= before


async def test_our_own_tables_count_too(world: World) -> None:
    one, two = await two_nodes(world)
    two.beat()
    one.reconciler.mirrors[100].rev = 1
    assert (await propagated(one.rooms, 100, deadline(SHORT))).laggards == {"n1": 1}


async def test_a_store_that_is_away_cannot_tell(world: World) -> None:
    one, _ = await two_nodes(world)
    world.hub.available = False
    with pytest.raises(StoreUnavailableError):
        await propagated(one.rooms, 100, deadline(SHORT))
