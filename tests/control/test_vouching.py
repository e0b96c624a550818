from __future__ import annotations

from tests.control.test_drift import HERE, THERE, raw
from tests.control.test_tables import saved, tables_of
from tests.control.world import Node, World
from vxswitch.control.vouching import Vouching
from vxswitch.model import GroupsChanged, Snapshot

COME_BACK = 6.0  # seconds


class Reborn:
    """n1 in its next life: started by its file, its events pass through ``Vouching``."""

    def __init__(self, node: Node, vouching: Vouching) -> None:
        self.node, self.vouching = node, vouching

    async def hear(self) -> None:
        queue = self.node.store._queue  # type: ignore[attr-defined]
        while not queue.empty():
            self.node.reconciler.apply(self.vouching.through(await anext(self.node._events)))
        for event in self.vouching.give_up():
            self.node.reconciler.apply(event)

    async def connect(self) -> None:
        self.node.world.hub.available = True
        self.node.beat()
        await self.node.networks.settle_all()
        await self.hear()


async def reborn(world: World) -> Reborn:
    one, _ = await saved(world)
    await one.close()
    world.nodes.remove(one)
    world.hub.available = False
    node = await world.node("n1")
    vouching = Vouching(world.time, COME_BACK)
    tables = tables_of(node, vouching=vouching)
    tables.load()
    await node.networks.start([node.wanted("red=100")], (), 0.0, remembered=tables.vni_of)
    assert await tables.restore() == 2
    return Reborn(node, vouching)


async def test_rows_that_an_empty_store_lacks_stay_until_their_owner_is_back(world: World) -> None:
    one = await reborn(world)
    row = one.node.row("red", THERE)
    world.hub.flush()
    await one.connect()
    assert row.hop is not None and row.stale
    assert [peer.node for peer in one.node.fdb.tables[100].flood] == ["n2"]
    two = world.nodes[0]
    world.time.pass_by(2.0)
    two.beat()
    await two.settle()
    await one.hear()
    assert one.node.row("red", THERE) is row and not row.stale and row.hop is not None
    world.time.pass_by(COME_BACK)
    await one.hear()
    assert row.hop is not None and one.node.peers.members(100) == {"n2"}


async def test_what_does_not_come_back_goes_in_the_end(world: World) -> None:
    one = await reborn(world)
    row = one.node.row("red", THERE)
    world.hub.flush()
    await one.connect()
    world.time.pass_by(COME_BACK - 0.1)
    await one.hear()
    assert row.hop is not None
    world.time.pass_by(0.2)
    await one.hear()
    assert row.hop is None and one.node.row("red", THERE) is None
    assert one.node.peers.members(100) == set() and one.node.fdb.tables[100].flood == ()
    assert raw(THERE) not in one.node.reconciler.mirrors[100].rows


async def test_nobody_misses_a_group_because_nobody_could_say_that_he_listens(world: World) -> None:
    one = await reborn(world)
    saved, heard = one.vouching._mirrors[100].groups, []
    assert saved == {"n2": frozenset({"0.0.0.0", "::"})}
    apply = one.node.reconciler.apply
    one.node.reconciler.apply = lambda event: (heard.append(event), apply(event))[1]  # type: ignore[method-assign]
    await one.connect()
    (snapshot,) = [event for event in heard if isinstance(event, Snapshot)]
    assert snapshot.groups == saved
    world.time.pass_by(COME_BACK)
    await one.hear()
    (changed,) = [event for event in heard if isinstance(event, GroupsChanged)]
    assert (changed.node, changed.groups) == ("n2", frozenset())


async def test_a_mac_that_moved_meanwhile_is_where_the_store_says(world: World) -> None:
    one = await reborn(world)
    world.hub.available = True
    three = await world.node("n3", ("192.0.2.3",))
    await three.start("red=100")
    await world.nodes[0].attaching.detach("red", "/run/netns/c1", "eth0")
    await three.attach("red", "c1", mac=THERE)
    for node in world.nodes:
        if node is not one.node:
            node.beat()
            while node.announcer.backlog:
                await node.announcer.flush()
    await one.connect()
    row = one.node.row("red", THERE)
    assert (row.node, row.stale) == ("n3", False)
    world.time.pass_by(COME_BACK)
    await one.hear()
    assert one.node.row("red", THERE) is row and row.hop is not None
    assert one.node.row("red", HERE) is None
