"""Several nodes over one store: which networks snoop, what is told, and what comes of it elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.control.world import Node, World
from vxswitch.config import Mcast
from vxswitch.control.elsewhere import TELLS
from vxswitch.errors import StoreUnavailableError
from vxswitch.fdb import LocalPort, Peer
from vxswitch.store.memory import MemoryStore
from vxswitch.store.static import StaticStore
from vxswitch.wire.multicast import JOINED, LEFT, REPORT, ROUTER, Message

G, H = bytes((239, 1, 2, 3)), bytes((239, 9, 9, 9))
KEYS = ["network", "vni", "group", "ports", "vteps", "nodes", "source", "age"]


@pytest.fixture
async def three(world: World) -> list[Node]:
    """Three nodes with the host's port each, that know what is listened to: nothing."""
    nodes = [await world.node(f"n{n}", [f"192.0.2.{n}"]) for n in (1, 2, 3)]
    for node in nodes:
        await node.start("red=100")
    await later(world, 3.5)
    return nodes


async def later(world: World, seconds: float = 0.0) -> None:
    """Time passes, half a second at once; every node beats, tells, and hears the others."""
    for _ in range(max(2, round(seconds * 2))):
        world.time.pass_by(0.5 if seconds else 0.0)
        for node in world.nodes:
            if isinstance(node.store, MemoryStore):
                node.beat()
            node.groups.tick()
            await node.groups.tell()
        await world.spread()


def port(node: Node) -> LocalPort:
    return node.plane.ports["red/vx-red"]


def says(node: Node, *records: tuple[bytes, int]) -> None:
    known = node.fdb.tables[100].groups
    assert known is not None
    known.hear(port(node), Message(REPORT, 4, records=records))


def vteps(node: Node, group: bytes) -> list[str]:
    known = node.fdb.tables[100].groups
    peers: tuple[Peer, ...] = node.fdb.tables[100].flood if known is None else known.audience(group).peers
    return [str(peer.node) for peer in peers]


async def test_a_member_is_known_elsewhere_until_it_leaves(world: World, three: list[Node]) -> None:
    one, two, three_ = three
    assert vteps(one, G) == []
    says(two, (G, JOINED))
    await later(world)
    assert (vteps(one, G), vteps(three_, G), vteps(one, H)) == (["n2"], ["n2"], [])
    says(two, (G, LEFT))
    assert vteps(one, G) == ["n2"]
    await later(world, 4.0)  # more than one station may be behind the host's port: they were asked
    assert vteps(one, G) == []


async def test_a_node_that_starts_lets_everything_through_here_and_elsewhere(world: World, three: list[Node]) -> None:
    four = await world.node("n4", ["192.0.2.4"])
    await four.start("red=100")
    await world.spread()
    assert vteps(three[0], G) == ["n4"]  # nothing told yet
    await later(world)
    assert vteps(three[0], G) == ["n4"]  # "all"
    await later(world, 3.5)
    assert vteps(three[0], G) == [] and vteps(four, G) == []


async def test_a_router_elsewhere_gets_everything(world: World, three: list[Node]) -> None:
    known = three[2].fdb.tables[100].groups
    assert known is not None
    known.hear(port(three[2]), Message(ROUTER, 4))
    await later(world)
    assert vteps(three[0], G) == vteps(three[1], H) == ["n3"]


async def test_a_node_that_does_not_snoop_gets_everything(world: World, three: list[Node]) -> None:
    three[1].groups.reconfigure(Mcast(snooping="off"))
    await later(world)
    assert three[1].fdb.tables[100].groups is None
    assert vteps(three[0], G) == ["n2"]
    three[1].groups.reconfigure(Mcast())
    await later(world)
    await later(world, 3.5)
    assert vteps(three[0], G) == []


async def test_a_node_that_leaves_and_comes_back(world: World, three: list[Node]) -> None:
    one, two, _ = three
    says(two, (G, JOINED))
    await later(world)
    await two.joining.remove("red")
    await later(world)
    assert vteps(one, G) == []
    await two.start("red=100")
    await later(world)
    assert vteps(one, G) == ["n2"]
    await later(world, 3.5)
    assert vteps(one, G) == []  # what was behind its port was forgotten with the port


async def test_a_lost_store_forgets_nothing_that_is_still_so(world: World, three: list[Node]) -> None:
    one, two, _ = three
    says(two, (G, JOINED))
    await later(world)
    world.hub.flush()
    await later(world, 3.0)
    assert vteps(one, G) == ["n2"]


async def test_what_could_not_be_told_is_told_later(world: World, three: list[Node], monkeypatch: Any) -> None:
    one, two, _ = three
    given = two.store.set_groups

    async def refuse(vni: int, groups: frozenset[str]) -> None:
        raise StoreUnavailableError("away")

    says(two, (G, JOINED))
    monkeypatch.setattr(two.store, "set_groups", refuse)
    await later(world)
    assert vteps(one, G) == []
    monkeypatch.setattr(two.store, "set_groups", given)
    await later(world)
    assert vteps(one, G) == ["n2"]


async def test_only_changes_are_told(world: World, three: list[Node], monkeypatch: Any) -> None:
    told: list[frozenset[str]] = []

    async def note(vni: int, groups: frozenset[str]) -> None:
        told.append(groups)

    monkeypatch.setattr(three[0].store, "set_groups", note)
    await later(world, 10.0)
    for _ in range(50):
        says(three[0], (G, JOINED))
        await later(world, 1.0)
    assert told == [{TELLS, "239.1.2.3"}]


@pytest.mark.parametrize(
    ("section", "network", "learning", "snoops"),
    [
        ("auto", None, "control", True),
        ("auto", None, "flood", False),
        ("auto", "on", "flood", True),
        ("off", None, "control", False),
        ("off", "auto", "control", True),
        ("on", "off", "control", False),
    ],
)
async def test_which_networks_snoop(world: World, section: Any, network: str, learning: str, snoops: bool) -> None:
    node = await world.node()
    await node.start({"name": "red", "vni": 100, "learning": learning, "snooping": network})
    node.groups.reconfigure(Mcast(snooping=section))
    node.groups.tick()
    assert (node.fdb.tables[100].groups is not None) == snoops


async def test_many_networks_take_turns(world: World) -> None:
    """No tick looks at more than a batch, and none is forgotten, though some always have something to do."""
    node = await world.node()
    await node.start(*(f"n{n}={n + 1}" for n in range(150)))
    for _ in range(8):
        node.groups.tick()
        for vni in range(1, 61):
            known = node.fdb.tables[vni].groups
            if known is not None:
                known.hear(node.plane.ports[f"n{vni - 1}/vx-n{vni - 1}"], Message(REPORT, 4, records=((G, JOINED),)))
    assert len(node.groups.by_vni) == 150
    world.time.pass_by(1.0)
    node.plane.said.clear()
    for _ in range(8):
        node.groups.tick()
    assert len({port for port, _ in node.plane.said}) == 150


async def test_without_a_store_nothing_is_told_and_static_vteps_get_everything(world: World) -> None:
    node = await world.node(store=StaticStore())
    await node.start({"name": "red", "vni": 100, "snooping": "on"}, peers=["192.0.2.9"])
    await later(world, 3.5)
    await later(world, 3.5)
    known = node.fdb.tables[100].groups
    assert known is not None
    ports, peers = known.audience(G)
    assert ports == () and [str(peer.vtep) for peer in peers] == ["192.0.2.9:4789"]


async def test_what_is_shown(world: World, three: list[Node]) -> None:
    one, two, _ = three
    says(two, (G, JOINED))
    says(one, (H, JOINED))
    await later(world, 1.5)
    rows = one.groups.view("red")
    assert all(list(row) == KEYS for row in rows) and one.groups.view("blue") == [] and one.groups.view() == rows
    assert [row["group"] for row in rows] == ["0.0.0.0", "::", "239.1.2.3", "239.9.9.9"]
    empty = {"network": "red", "vni": 100, "ports": [], "vteps": [], "nodes": [], "source": None, "age": None}
    assert rows[0] == empty | {"group": "0.0.0.0"}
    assert rows[2] == empty | {"group": "239.1.2.3", "vteps": ["192.0.2.2:4789"], "nodes": ["n2"], "source": "store"}
    assert rows[3] == empty | {"group": "239.9.9.9", "ports": ["red/vx-red"], "source": "snooped", "age": 1.5}


async def test_the_task_tells_soon_and_not_too_often(tmp_path: Path, world: World, three: list[Node]) -> None:
    import asyncio

    one, two, _ = three
    told = 0
    given = two.store.set_groups

    async def count(vni: int, groups: frozenset[str]) -> None:
        nonlocal told
        told += 1
        await given(vni, groups)

    two.store.set_groups = count  # type: ignore[method-assign]
    task = asyncio.create_task(two.groups.run())
    try:
        for n in range(200):
            says(two, (G, JOINED if n % 2 else LEFT), (H, JOINED))
            await asyncio.sleep(0)
        async with asyncio.timeout(5):
            while vteps(one, H) != ["n2"]:
                await asyncio.sleep(0.01)
                await one.hear()
        assert told < 5
    finally:
        task.cancel()
