from __future__ import annotations

from tests.control.world import World
from vxswitch.control.watching import StateWatch


async def test_the_stores_state_and_a_ports_carrier_are_told_once_per_change(world: World) -> None:
    node = await world.node()
    await node.start("red=100")
    watch = StateWatch(node.store, node.ports, node.events.tell)
    watch.look()
    port = node.plane.ports["red/vx-red"]
    with node.events.listening() as listener:
        watch.look()
        world.hub.available = False
        node.beat()
        port.state = "down"
        for _ in range(3):
            watch.look()
        world.hub.available = True
        node.beat()
        port.state = "up"
        watch.look()
        told = await listener.take(0.0)
    states = [(event["event"], event.get("port")) for event in told]
    assert states == [
        ("store.down", None),
        ("port.down", "red/vx-red"),
        ("store.up", None),
        ("port.up", "red/vx-red"),
    ]
    assert told[0]["reason"] == "not reachable" and told[2]["reason"] is None


async def test_a_port_that_comes_or_goes_is_not_told_twice(world: World) -> None:
    node = await world.node()
    await node.start("red=100")
    watch = StateWatch(node.store, node.ports, node.events.tell)
    watch.look()
    await node.attach("red", "c1")
    with node.events.listening() as listener:
        watch.look()
        node.ports.on_gone(node.plane.ports["red/c1/eth0"])
        watch.look()
        assert [event["event"] for event in await listener.take(0.0)] == ["port.up", "port.gone"]
