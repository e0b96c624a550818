from __future__ import annotations

import pytest

from tests.control.test_drift import HERE, THERE, two_nodes
from tests.control.world import Node, World
from vxswitch.control.commands import Commands
from vxswitch.control.views import Views
from vxswitch.control.why import Why
from vxswitch.errors import NotFoundError, UsageError


def asking(node: Node) -> Why:
    return Why(node.rooms, Views(node.rooms), Commands(node.rooms))


async def test_another_nodes_row_with_its_claim_owner_history_and_way(world: World) -> None:
    one, _ = await two_nodes(world)
    (told,) = await asking(one).tell(THERE, None)
    assert (told["network"], told["vni"], told["mac"]) == ("red", 100, THERE)
    assert (told["row"]["hop"], told["row"]["vtep"], told["row"]["node"]) == ("remote", "192.0.2.2:4789", "n2")
    assert told["row"]["silent"] is None and told["row"]["held"] == 0.0
    assert (told["claim"]["node"], told["claim"]["since"]) == ("n2", 1000.0)
    assert told["claim"]["rev"] == told["row"]["rev"] == told["history"][-1]["rev"]
    assert (told["owner"]["node"], told["owner"]["state"]) == ("n2", "live")
    assert told["port"] is None and not told["waiting"]
    assert [(entry["kind"], entry["node"]) for entry in told["history"]] == [("claim", "n2")]
    assert told["trace"] == [{"stage": "lookup", "verdict": "ok", "detail": "here"}]
    _, src, dst, _, port = one.plane.traced[-1]
    assert dst == bytes.fromhex(THERE.replace(":", "")) and port is not None and src == port.mac


async def test_our_own_row_with_its_port(world: World) -> None:
    one, _ = await two_nodes(world)
    world.time.pass_by(7.0)
    (told,) = await asking(one).tell(HERE, "red")
    assert (told["port"]["id"], told["port"]["state"]) == ("red/c1/eth0", "up")
    assert told["owner"] == {"node": "n1", "vtep": "192.0.2.1:4789", "state": "self"}
    assert (told["row"]["held"], told["row"]["silent"]) == (7.0, 7.0)


async def test_a_mac_that_moved_tells_where_it_was(world: World) -> None:
    one, two = await two_nodes(world)
    await two.attaching.detach("red", "/run/netns/c1", "eth0")
    await world.spread()
    await one.attach("red", "c2", mac=THERE)
    await world.spread()
    (told,) = await asking(one).tell(THERE, None)
    assert [(entry["kind"], entry["node"]) for entry in told["history"]] == [
        ("claim", "n2"),
        ("withdraw", "n2"),
        ("claim", "n1"),
    ]
    assert all(entry["time"] == 1000.0 for entry in told["history"])


async def test_a_mac_that_is_gone_still_has_a_history_where_it_is_asked_for(world: World) -> None:
    one, two = await two_nodes(world)
    await two.attaching.detach("red", "/run/netns/c1", "eth0")
    await world.spread()
    with pytest.raises(NotFoundError, match="name one"):
        await asking(one).tell(THERE, None)
    (told,) = await asking(one).tell(THERE, "red")
    assert told["row"] is told["claim"] is told["owner"] is None
    assert [entry["kind"] for entry in told["history"]] == ["claim", "withdraw"]


async def test_without_the_store_all_but_the_history_is_told(world: World) -> None:
    one, _ = await two_nodes(world)
    world.hub.available = False
    (told,) = await asking(one).tell(THERE, None)
    assert told["history"] == [] and "not reachable" in told["history_reason"]
    assert told["row"]["node"] == "n2"


async def test_nonsense_is_refused(world: World) -> None:
    one, _ = await two_nodes(world)
    with pytest.raises(UsageError):
        await asking(one).tell("nonsense", None)
    with pytest.raises(NotFoundError):
        await asking(one).tell(HERE, "nosuch")
