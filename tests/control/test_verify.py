from __future__ import annotations

from typing import Any

import pytest

from tests.control.test_drift import THERE, raw, table, two_nodes
from tests.control.world import Node, World
from vxswitch.control.verify import Verify
from vxswitch.errors import NotFoundError, StoreUnavailableError, UsageError
from vxswitch.store.static import StaticStore

SHORT = 0.2  # seconds: nothing that differs here comes right by itself


async def agreed(world: World) -> tuple[Node, Node]:
    """Two nodes that have said how far they have come."""
    one, two = await two_nodes(world)
    for node in (one, two):
        node.beat()
    await world.spread()
    return one, two


async def check(node: Node, name: str | None = "red") -> dict[str, Any]:
    (found,) = await Verify(node.rooms, SHORT).check(name)
    return found


async def test_all_four_agree(world: World) -> None:
    one, _ = await agreed(world)
    found = await check(one)
    assert found["same"] and found["reasons"] == [] and found["drift"] == []
    assert (found["digest"], found["rev"], found["rows"]) == (
        found["store_digest"],
        found["store_rev"],
        found["store_rows"],
    )
    assert found["peers"] == {"n2": {"rev": found["rev"], "same": True}}


async def test_a_node_that_took_its_lease_back_takes_a_rev_and_differs_from_nobody(world: World) -> None:
    one, two = await agreed(world)
    three = await world.node("n3", ("192.0.2.3",))
    await three.start("red=100")
    await world.spread()
    for _ in range(5):  # longer than a lease: from now on leases are believed
        world.time.pass_by(world.hub.rules.beat)
        for node in world.nodes:
            node.beat()
    await world.spread()
    await three.close()
    world.nodes.remove(three)
    for node in (one, two):
        node.beat()
    await world.spread()
    for node in (one, two):
        node.beat()
    found = await check(one)
    assert found["same"], found["reasons"]
    assert found["peers"].keys() == {"n2"}


async def test_a_peer_that_lags_is_named(world: World) -> None:
    one, two = await agreed(world)
    two.store.cut = True  # type: ignore[attr-defined]
    await one.attach("red", "c3", mac="02:00:00:00:00:03")
    await world.spread()
    one.beat()
    found = await check(one)
    assert not found["same"] and found["peers"]["n2"]["same"] is False
    assert found["reasons"] == [f"node n2 has read to rev {found['peers']['n2']['rev']}"]


async def test_a_store_that_is_away_is_no_agreement(world: World) -> None:
    one, _ = await agreed(world)
    world.hub.available = False
    found = await check(one)
    assert not found["same"] and found["store_digest"] is None and "not reachable" in found["reasons"][0]
    with pytest.raises(StoreUnavailableError):
        await Verify(one.rooms, SHORT).repair("red")


async def test_a_drift_inside_the_process_is_shown_and_repaired(world: World) -> None:
    one, _ = await agreed(world)
    table(one).withdraw(raw(THERE))
    found = await check(one)
    assert not found["same"] and found["drifted"] == 1
    assert found["drift"][0] | {"copy": ""} == {"mac": THERE, "what": "missing", "table": None, "copy": ""}

    hearing(one)
    (repaired,) = await Verify(one.rooms, SHORT).repair("red")
    assert repaired["same"], repaired["reasons"]
    assert repaired["claimed_again"] == 2  # the container's, and the host's own
    row = table(one).rows[raw(THERE)]
    assert row.source == "claimed" and row.node == "n2"


def hearing(node: Node) -> None:
    """What the events task does in a switch: apply what comes while a repair waits for it."""
    apply = node.store.resync

    async def resync(vni: int) -> None:
        await apply(vni)
        await node.hear()

    node.store.resync = resync  # type: ignore[method-assign]


async def test_a_copy_that_lost_a_row_gets_it_back(world: World) -> None:
    """The mirror and the table agree with each other, and neither with the store."""
    one, _ = await agreed(world)
    mirror = one.store._mirrors[100]  # type: ignore[attr-defined]
    lost = mirror.rows.pop(raw(THERE))
    mirror.digest ^= 1
    del one.reconciler.mirrors[100].rows[raw(THERE)]
    table(one).withdraw(raw(THERE))
    found = await check(one)
    assert not found["same"] and "digests differ" in found["reasons"][0]
    hearing(one)
    (repaired,) = await Verify(one.rooms, SHORT).repair("red")
    assert repaired["same"], repaired["reasons"]
    assert [(c["mac"], c["what"], c["copy"]) for c in repaired["changed"]] == [(THERE, "claimed", "n2")]
    assert table(one).rows[raw(THERE)].rev == lost.rev


async def test_a_repair_takes_nothing_from_another_node(world: World) -> None:
    one, two = await agreed(world)
    rows = table(one)
    on_local, rows.on_local = rows.on_local, None
    rows.install(raw(THERE), one.plane.ports["red/c1/eth0"], "learned", 0.0)  # as a bug would have it
    rows.on_local = on_local
    hearing(one)
    (repaired,) = await Verify(one.rooms, SHORT).repair("red")
    assert repaired["same"], repaired["reasons"]
    await world.spread()
    assert world.hub.table(100).rows[raw(THERE)].node == "n2"
    assert two.row("red", THERE).hop.local and not one.row("red", THERE).hop.local


async def test_networks_are_found_by_name_or_all_at_once(world: World) -> None:
    one, _ = await agreed(world)
    await one.start("blue=200")
    await one.hear()
    assert [found["network"] for found in await Verify(one.rooms, SHORT).check(None)] == ["blue", "red"]
    with pytest.raises(NotFoundError):
        await check(one, "nosuch")


async def test_without_a_store_there_is_nothing_to_compare(world: World) -> None:
    node = await world.node(store=StaticStore())
    await node.start("red=100", peers=["192.0.2.2"])
    with pytest.raises(UsageError, match="static"):
        await check(node)
