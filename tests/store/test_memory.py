"""The store in memory under a clock that the test drives: partitions, outages, gaps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from tests.store.nodes import Node, mac, record
from tests.store.servers import until
from vxswitch.errors import StoreUnavailableError
from vxswitch.store.memory import MemoryStore
from vxswitch.store.memory_hub import MemoryHub
from vxswitch.store.rules import LOG_LENGTH, Clock, Rules

VNI = 7


@dataclass
class Simulation:
    """A hub, its nodes, and their time."""

    now: float = 1000.0
    ahead: float = 1e6  # the hub's clock
    nodes: list[Node] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.hub = MemoryHub(Clock(lambda: self.now + self.ahead, lambda: self.now + self.ahead), Rules())

    async def member(self, name: str) -> Node:
        node = await Node(MemoryStore(self.hub, beating=False, clock=lambda: self.now), record(name)).start()
        self.nodes.append(node)
        await node.store.join(VNI)
        return node

    async def run(self, seconds: int, *beating: Node) -> None:
        """Let time pass, a beat of each of these nodes every second."""
        for _ in range(seconds):
            self.now += 1.0
            for node in beating:
                store(node).beat()
        for node in self.nodes:
            await until(store(node)._queue.empty)


def store(node: Node) -> MemoryStore:
    assert isinstance(node.store, MemoryStore)
    return node.store


@pytest.fixture
async def world() -> AsyncIterator[Simulation]:
    simulation = Simulation()
    yield simulation
    for node in simulation.nodes:
        await node.close()


async def test_a_cut_node_keeps_its_table_and_catches_up(world: Simulation) -> None:
    one, two = await world.member("one"), await world.member("two")
    await one.attach(VNI, 1)
    await world.run(5, one, two)
    store(two).cut = True
    await one.attach(VNI, 2)
    await world.run(2, one, two)
    assert two.owners(VNI) == {1: "one"}
    assert two.store.status().state == "down"
    assert two.leases
    assert not two.leases.trusted
    with pytest.raises(StoreUnavailableError):
        await two.attach(VNI, 3)
    store(two).cut = False
    await world.run(1, one, two)
    assert two.owners(VNI) == {1: "one", 2: "one", 3: "two"}
    assert two.table(VNI).snapshots == ["start"]


async def test_who_fell_behind_the_log_takes_a_snapshot(world: Simulation) -> None:
    one, two = await world.member("one"), await world.member("two")
    store(two).cut = True
    for turn in range(LOG_LENGTH + 1):
        await one.attach(VNI, 1 + turn % 2, ips=(f"10.0.{turn // 250}.{turn % 250 + 1}",))
    store(two).cut = False
    await world.run(1, one, two)
    assert two.table(VNI).snapshots == ["start", "gap"]
    assert two.table(VNI).rows == one.table(VNI).rows
    assert two.table(VNI).removed == []


async def test_nobody_is_judged_after_an_outage_of_the_hub(world: Simulation) -> None:
    one, two = await world.member("one"), await world.member("two")
    await world.run(5, one, two)
    assert one.leases
    assert one.leases.trusted
    world.hub.available = False
    await world.run(10, one, two)
    assert not one.leases.trusted
    world.hub.available = True
    await world.run(1, one)
    assert one.live() == {"one"}
    assert not one.leases.trusted
    await world.run(3, one, two)
    assert one.leases.trusted
    assert one.live() == {"one", "two"}


async def test_a_node_paused_past_its_lease_takes_nothing_back(world: Simulation) -> None:
    one, two = await world.member("one"), await world.member("two")
    await one.attach(VNI, 1)
    await world.run(5, one, two)
    await world.run(5, two)
    assert (await one.attach(VNI, 9)).refused == "no_lease"
    assert (await two.attach(VNI, 1, "garp")).refused is None
    await world.run(2, one, two)
    assert two.owners(VNI) == {1: "two", 9: "one"}
    assert store(one).node.epoch == 2


async def test_the_dead_are_deleted_only_after_grace_and_by_who_saw_all_of_it(world: Simulation) -> None:
    one, two = await world.member("one"), await world.member("two")
    await two.attach(VNI, 2)
    await world.run(3, one, two)
    await world.run(60, one)
    assert one.owners(VNI) == {2: "two"}
    three = await world.member("three")
    store(one).cut = True
    await world.run(59, three)
    assert three.owners(VNI) == {2: "two"}
    await world.run(5, three)
    assert three.owners(VNI) == {}


async def test_frozen_macs_thaw_by_time(world: Simulation) -> None:
    one, two = await world.member("one"), await world.member("two")
    await one.attach(VNI, 1)
    for turn in range(5):
        await (two, one)[turn % 2].attach(VNI, 1, "garp")
    assert (await one.attach(VNI, 1, "garp")).refused == "frozen"
    await world.run(1800, one, two)
    moved = await one.attach(VNI, 1, "garp")
    assert moved.refused is None
    assert moved.row is not None
    assert moved.row.flags == ()


async def test_contested_moves_far_apart_freeze_nothing(world: Simulation) -> None:
    one, two = await world.member("one"), await world.member("two")
    await one.attach(VNI, 1)
    for turn in range(20):
        assert (await (two, one)[turn % 2].attach(VNI, 1, "garp")).refused is None
        await world.run(46, one, two)  # the fifth of any five is 184 s after the first
    assert two.table(VNI).rows[mac(1)].flags == ()


async def test_when_the_stores_clock_goes_back_the_dead_do_not_rise(world: Simulation) -> None:
    one, two = await world.member("one"), await world.member("two")
    await one.attach(VNI, 1)
    await two.attach(VNI, 2)
    await world.run(5, one, two)
    world.hub.hear(["two"])
    world.ahead -= 3600.0
    await world.run(1, one)
    assert one.leases
    assert (one.live(), one.leases.trusted) == ({"one", "two"}, False)
    await world.run(3, one)
    assert (one.live(), one.leases.trusted) == ({"one"}, True)
    assert (await one.attach(VNI, 2, "frame")).refused is None
    await two.attach(VNI, 3)
    await world.run(62, one)
    assert two.table(VNI).members.keys() == {"one"}


async def test_when_the_stores_clock_leaps_forward_nobody_is_judged(world: Simulation) -> None:
    one, two = await world.member("one"), await world.member("two")
    await world.run(5, one, two)
    for leap in (2.5, 3600.0):
        world.ahead += leap
        said = len(one.events)
        await world.run(3, one, two)
        await world.run(3, one, two)
        told = [event for event in one.events[said:] if getattr(event, "trusted", False)]
        assert told
        assert all(event.seconds_left.keys() == {"one", "two"} for event in told)
