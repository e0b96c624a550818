from __future__ import annotations

import asyncio

from tests.control.world import Time, World, record
from vxswitch.control.events import LISTENERS, Events
from vxswitch.model import LeaseState, MemberJoined, MemberLeft

LONG = 5.0  # seconds


def words(events: list[dict[str, object]]) -> list[object]:
    return [event["event"] for event in events]


async def test_who_listens_hears_what_happens_from_then_on() -> None:
    events = Events(Time(5.0))
    events.tell("port.up", port="before")
    with events.listening() as one, events.listening() as two:
        events.tell("port.up", port="a")
        for listener in (one, two):
            assert await listener.take(LONG) == [{"time": 5.0, "event": "port.up", "port": "a"}]
    events.tell("port.up", port="after")
    assert await one.take(0.0) == []


async def test_a_slow_listener_is_told_how_many_it_missed_and_nobody_else_suffers() -> None:
    events = Events(Time(), length=3)
    with events.listening() as slow, events.listening() as quick:
        heard = []
        for number in range(10):
            events.tell("row.claimed", number=number)
            heard += await quick.take(LONG)
        assert [event["number"] for event in heard] == list(range(10))
        *kept, last = await slow.take(LONG)
        assert [event["number"] for event in kept] == [0, 1, 2]
        assert (last["event"], last["count"]) == ("monitor.missed", 7)
        events.tell("row.claimed", number=10)
        assert words(await slow.take(LONG)) == ["row.claimed"]


async def test_waiting_ends_with_an_event_with_patience_or_with_the_switch() -> None:
    events = Events(Time())
    with events.listening() as listener:
        assert await listener.take(0.0) == []
        waiting = asyncio.ensure_future(listener.take(LONG))
        await asyncio.sleep(0)
        events.tell("store.down")
        assert words(await waiting) == ["store.down"]
        waiting = asyncio.ensure_future(listener.take(LONG))
        await asyncio.sleep(0)
        events.close()
        assert await waiting == [] and listener.closed
    with events.listening() as late:
        assert late.closed and await late.take(LONG) == []


async def test_listeners_are_bounded_by_who_lets_them_in() -> None:
    events = Events(Time())
    listeners = [events.listening() for _ in range(LISTENERS)]
    for listener in listeners:
        assert not events.full
        listener.__enter__()
    assert events.full
    listeners[0].__exit__(None, None, None)
    assert not events.full


async def test_rows_are_told_as_they_are_claimed_move_and_go(world: World) -> None:
    one, two, three = [await world.node(f"n{i}", (f"192.0.2.{i}",)) for i in (1, 2, 3)]
    for node in (one, two, three):
        await node.start("red=100")
    await world.spread()
    with three.events.listening() as listener:
        await two.attach("red", mac="02:00:00:00:00:42")
        await world.spread()
        await two.attaching.detach("red", "/run/netns/c1", "eth0")
        await world.spread()
        told = await listener.take(LONG)
    assert [(e["event"], e["mac"], e["node"]) for e in told if e["event"].startswith("row.")] == [
        ("row.claimed", "02:00:00:00:00:42", "n2"),
        ("row.withdrawn", "02:00:00:00:00:42", "n2"),
    ]


async def test_a_move_and_a_freeze_name_both_nodes(world: World) -> None:
    one, two, three = [await world.node(f"n{i}", (f"192.0.2.{i}",)) for i in (1, 2, 3)]
    for node in (one, two, three):
        await node.start("red=100")
    await world.spread()
    mac = bytes.fromhex("020000000042")
    with three.events.listening() as listener:
        for turn in range(8):
            node = (one, two)[turn % 2]
            table = node.networks.by_name["red"].table
            assert table is not None
            world.time.pass_by(2.0)
            for each in world.nodes:
                each.beat()
            table.learn(mac, node.plane.ports["red/vx-red"], world.time())
            await world.spread()
        told = [e for e in await listener.take(LONG) if e["event"].startswith("row.")]
    assert told[0]["event"] == "row.claimed" and told[0]["node"] == "n1" and told[0]["was"] is None
    assert (told[1]["event"], told[1]["was"], told[1]["node"]) == ("row.moved", "n1", "n2")
    assert words(told).count("row.frozen") == 1


async def test_peers_are_told_as_they_join_lapse_and_leave(world: World) -> None:
    node = await world.node()
    await node.start("red=100")
    other = record("b", "192.0.2.2")
    with node.events.listening() as listener:
        node.reconciler.apply(MemberJoined(100, other, 50))
        for left, passed in (({"b": 1.0}, 0.0), ({}, 1.0), ({}, 61.0), ({"b": 1.0}, 1.0)):
            world.time.pass_by(passed)
            node.reconciler.apply(LeaseState(left, trusted=True))
        node.reconciler.apply(MemberLeft(100, "b", 51))
        told = await listener.take(LONG)
    assert words(told) == ["peer.joined", "peer.suspended", "peer.gone", "peer.live", "peer.left"]
    assert all(event["node"] == "b" for event in told)


async def test_ports_are_told_with_the_reason_why_they_went(world: World) -> None:
    node = await world.node()
    await node.start("red=100")
    with node.events.listening() as listener:
        await node.attach("red", "c1")
        await node.attach("red", "c2")
        node.ports.on_gone(node.plane.ports["red/c1/eth0"])
        await node.attaching.detach("red", "/run/netns/c2", "eth0")
        told = [event for event in await listener.take(LONG) if event["event"].startswith("port.")]
    assert words(told) == ["port.added", "port.added", "port.gone", "port.removed"]
    assert "vanished" in told[2]["reason"] and told[3]["port"] == "red/c2/eth0"


async def test_a_table_that_is_read_anew_is_told_with_the_reason(world: World) -> None:
    node = await world.node()
    await node.start("red=100")
    await world.spread()
    with node.events.listening() as listener:
        world.hub.flush()
        node.beat()
        await world.spread()
        told = [e for e in await listener.take(LONG) if e["event"] == "table.resync"]
    assert [(event["network"], event["reason"]) for event in told] == [("red", "gen")]
