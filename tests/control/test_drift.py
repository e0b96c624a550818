from __future__ import annotations

from tests.control.world import Node, World
from vxswitch.control.drift import drifts
from vxswitch.fdb import Peer, Table
from vxswitch.model import Vtep, format_mac

HERE, THERE = "02:00:00:00:00:01", "02:00:00:00:00:02"


async def two_nodes(world: World) -> tuple[Node, Node]:
    one, two = [await world.node(f"n{i}", (f"192.0.2.{i}",)) for i in (1, 2)]
    for node in (one, two):
        await node.start("red=100")
    await one.attach("red", mac=HERE)
    await two.attach("red", mac=THERE)
    await world.spread()
    return one, two


def table(node: Node) -> Table:
    found = node.networks.by_name["red"].table
    assert found is not None
    return found


def raw(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def found(node: Node) -> dict[str, str]:
    return {format_mac(d.mac): d.what for d in drifts(node.rooms, table(node), node.reconciler.mirrors[100])}


async def test_there_is_none_when_all_is_well(world: World) -> None:
    one, two = await two_nodes(world)
    assert found(one) == found(two) == {}


async def test_each_kind_is_found_and_mended(world: World) -> None:
    one, _ = await two_nodes(world)
    rows, stranger = table(one), Peer(Vtep.parse("192.0.2.99"))
    peer = rows.rows[raw(THERE)].hop
    assert peer is not None

    rows.withdraw(raw(THERE))
    assert found(one) == {THERE: "missing"}
    rows.install(raw(THERE), stranger, "claimed", 0.0, node="n2", rev=1)
    assert found(one) == {THERE: "elsewhere"}
    rows.install(raw(THERE), peer, "claimed", 0.0, node="n2", rev=1)
    assert found(one) == {THERE: "rev"}
    one.reconciler.mend(100, raw(THERE))
    assert found(one) == {}

    rows.install(raw("02:00:00:00:00:99"), peer, "claimed", 0.0, node="n2", rev=7)
    assert found(one) == {"02:00:00:00:00:99": "extra"}
    one.reconciler.mend(100, raw("02:00:00:00:00:99"))
    assert found(one) == {}

    on_local, rows.on_local = rows.on_local, None
    rows.withdraw(raw(HERE))
    rows.install(raw("02:00:00:00:00:77"), one.plane.ports["red/c1/eth0"], "learned", 0.0)
    rows.on_local = on_local
    assert found(one) == {HERE: "not here", "02:00:00:00:00:77": "unclaimed"}
    for mac in (HERE, "02:00:00:00:00:77"):
        one.reconciler.mend(100, raw(mac))
    assert found(one) == {HERE: "not here"}  # the claim is under way
    await world.spread()
    assert found(one) == {} and raw("02:00:00:00:00:77") in one.reconciler.mirrors[100].rows


async def test_what_is_under_way_waits_or_is_static_is_none(world: World) -> None:
    one, two = await two_nodes(world)
    table(one).learn(raw("02:00:00:00:00:55"), one.plane.ports["red/c1/eth0"], 0.0)
    assert found(one) == {}  # its claim has not left yet
    stranger = one.fdb.peer(Vtep.parse("192.0.2.99"))
    table(one).install(raw(THERE), stranger, "static", 0.0)
    assert found(one) == {}
    two.fdb.tables[100].learning = "flood"
    two.fdb.tables[100].rows.clear()
    assert found(two) == {}


async def test_rows_of_a_node_that_cannot_be_reached_wait(world: World) -> None:
    one, _ = await two_nodes(world)
    row = table(one).rows[raw(THERE)]
    peer = row.hop
    assert peer is not None
    one.peers.remotes["n2"].peer = None
    extra = found(one)
    assert extra[THERE] == "extra"
    for mac in extra:
        one.reconciler.mend(100, raw(mac))
    assert found(one) == {} and raw(THERE) not in table(one).rows
