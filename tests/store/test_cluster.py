"""The store over a real Redis Cluster: slots that move, primaries that die or hang, and what is put together."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Iterator
from itertools import count
from types import SimpleNamespace

import pytest

from tests.store.attempts import Attempts
from tests.store.conftest import World
from tests.store.fleets import ClusterFleet, Host, Move
from tests.store.nodes import FAST, Node, mac
from tests.store.servers import DEADLINE, granted, until
from vxswitch.errors import ConflictError, StoreUnavailableError
from vxswitch.model import NetworkRecord
from vxswitch.store.base import LocalMac, StoreStatus
from vxswitch.store.cluster import BUCKETS, ClusterStore, bucket_of
from vxswitch.store.redis import RedisStore
from vxswitch.store.redis_connect import parse_endpoint
from vxswitch.store.redis_moving import REASON
from vxswitch.store.redis_scripts import Keys

_clusters = count(1)


class ClusterWorld(World):
    """A World on a Redis Cluster."""

    fleet: ClusterFleet
    name: str

    def key(self, vni: int, part: str) -> str:
        """A key of a VNI."""
        return Keys(self.name, bucket_of(vni), BUCKETS).parts(vni, part)[0]

    def vnis_of(self, host: Host, how_many: int) -> list[int]:
        """VNIs in as many buckets that a server owns."""
        found: dict[int, int] = {}
        for vni in range(4096, 4096 + 400):
            found.setdefault(bucket_of(vni), vni)
        return [vni for vni in found.values() if self.fleet.owner(self.key(vni, "meta")) is host][:how_many]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterFleet]:
    """Three primaries, the first one with a replica, to be broken; each test leaves all slots served."""
    with contextlib.closing(
        ClusterFleet("redis", tmp_path_factory.mktemp("cluster"), replicas=1, timeout_ms=1000)
    ) as fleet:
        yield fleet


@pytest.fixture
async def world(fleet: ClusterFleet) -> AsyncIterator[ClusterWorld]:
    """Nodes on that cluster."""
    name = f"k{next(_clusters)}"
    world = ClusterWorld(lambda: fleet.store(name, FAST), lambda: None)
    world.fleet, world.name = fleet, name
    yield world
    await world.close()


def number_of(vni: int, node: Node) -> int:
    """The number of the MAC that a node has in a VNI."""
    return vni % 1000 * 10 + len(node.node.name)


async def pair(world: ClusterWorld, vnis: list[int]) -> list[Node]:
    """Two nodes with a MAC each in every VNI, which may judge each other."""
    nodes = [await world.node("one"), await world.node("three")]
    for vni in vnis:
        for node in nodes:
            await node.store.join(vni)
            await granted(lambda node=node, vni=vni: node.attach(vni, number_of(vni, node)))
    await whole(nodes, vnis)
    for node in nodes:
        await until(lambda node=node: node.leases and node.leases.trusted and node.live() == {"one", "three"})
    return nodes


async def whole(nodes: list[Node], vnis: list[int]) -> None:
    """Everybody knows both MACs of every VNI, and is up."""
    for node in nodes:
        await until(lambda node=node: node.store.status().state == "up")
        for vni in vnis:
            await until(node.has(vni, {number_of(vni, other): other.node.name for other in nodes}))


def nothing_was_removed(nodes: list[Node], vnis: list[int]) -> bool:
    return all(node.table(vni).removed == [] for node in nodes for vni in vnis)


def nobody_was_judged(node: Node, since: int) -> bool:
    """No trusted word was said since then that somebody's lease had run out."""
    told = [e for e in node.events[since:] if getattr(e, "trusted", False)]
    return all(set(leases.seconds_left) >= {"one", "three"} for leases in told)


# Slots on their way.


async def test_a_slot_that_moves_slowly_during_claims_is_followed_without_a_gap(
    fleet: ClusterFleet, world: ClusterWorld
) -> None:
    vni, other = world.vnis_of(fleet.owner(world.key(4096, "meta")), 2)
    one, three = nodes = await pair(world, [vni, other])
    moving, done, states = True, 0, set[str]()

    async def work() -> None:
        nonlocal done
        while moving:
            states.update(node.store.status().state for node in nodes)
            with contextlib.suppress(StoreUnavailableError):
                await one.store.claim([LocalMac(v, mac(500 + done % 5), "attach") for v in (vni, other)])
                await one.store.release([(v, mac(500 + done % 5)) for v in (vni, other)])
                done += 1
            await asyncio.sleep(0.01)

    working = asyncio.create_task(work())
    await until(lambda: done > 5)
    move = Move(fleet, world.key(vni, "meta"))
    keys, said = Keys(world.name, bucket_of(vni), BUCKETS), len(one.events)
    move.begin()
    for names in ((keys.nodes, *keys.parts(vni, "log")), (keys.lease,), ()):
        move.move_keys(*names)
        await asyncio.sleep(1.2 * FAST.lease)  # some keys here, some there: no script over several runs
    with contextlib.suppress(StoreUnavailableError):
        await three.store.resync(vni)  # its reader tries until the keys are there again
    assert states == {"up"}
    assert REASON in str(one.store.status().reason)
    assert nobody_was_judged(one, said)
    assert one.leases
    assert one.leases.trusted
    move.end()
    await until(lambda: fleet.owner(world.key(vni, "meta")) is move.target)
    await until(lambda: one.store.counts.errors["MOVED"] and three.store.counts.errors["MOVED"])
    await whole_after(nodes, [vni, other])
    before = done
    await until(lambda: done > before + 5)
    moving = False
    async with asyncio.timeout(DEADLINE):
        await working
    for number in range(500, 505):
        await one.store.release([(v, mac(number)) for v in (vni, other)])
    await whole(nodes, [vni, other])
    for node in nodes:
        assert node.store.counts.errors["CROSSSLOT"] == 0
        assert set(node.store.counts.resyncs) <= {"start", "asked"}
        assert not {mac(number_of(v, n)) for v in (vni, other) for n in nodes} & set(
            node.table(vni).removed + node.table(other).removed
        )


async def whole_after(nodes: list[Node], vnis: list[int]) -> None:
    """Everybody is up, and knows at least both nodes' MACs."""
    for node in nodes:
        await until(lambda node=node: node.store.status().state == "up")
        for vni in vnis:
            wanted = {number_of(vni, other): other.node.name for other in nodes}
            await until(lambda node=node, vni=vni, wanted=wanted: wanted.items() <= node.owners(vni).items())


# Servers that go.


async def test_a_killed_primary_is_replaced_by_its_replica(
    fleet: ClusterFleet, world: ClusterWorld, attempts: Attempts
) -> None:
    chief, others = fleet.replicated(), fleet.hosts[1]
    vnis = [*world.vnis_of(chief, 3), *world.vnis_of(others, 2)]
    nodes = await pair(world, vnis)
    said = [len(node.events) for node in nodes]
    chief.server.kill()
    for node in nodes:
        await until(lambda node=node: node.store.counts.errors.total())
    await whole(nodes, vnis)
    await granted(lambda: nodes[0].attach(vnis[0], 999))
    await until(lambda: mac(999) in nodes[1].table(vnis[0]).rows)
    assert nothing_was_removed(nodes, vnis)
    assert all(nobody_was_judged(node, since) for node, since in zip(nodes, said, strict=True))
    assert attempts.most_in_a_second(nodes=2) <= 5
    chief.server.start()
    await until(lambda: chief.role == "slave" and fleet.replicated())


async def test_a_hung_primary_is_noticed_and_costs_nobody_his_row(
    fleet: ClusterFleet, world: ClusterWorld, attempts: Attempts
) -> None:
    hung = fleet.hosts[1]
    vnis = [*world.vnis_of(hung, 3), *world.vnis_of(fleet.hosts[2], 2)]
    nodes = await pair(world, vnis)
    said = [len(node.events) for node in nodes]
    hung.server.signal(signal.SIGSTOP)
    try:
        for node in nodes:
            await until(lambda node=node: node.store.counts.errors.total())
        with pytest.raises(StoreUnavailableError):
            await nodes[0].attach(vnis[0], 1)
    finally:
        hung.server.signal(signal.SIGCONT)
    nodes[0].ports[vnis[0]].pop(mac(1))
    await whole(nodes, vnis)
    assert nothing_was_removed(nodes, vnis)
    assert all(nobody_was_judged(node, since) for node, since in zip(nodes, said, strict=True))
    assert attempts.most_in_a_second(nodes=2) <= 5


# What is put together.


async def test_claims_of_many_buckets_are_answered_in_order(world: ClusterWorld) -> None:
    one = await world.node("one")
    vnis = list(range(4096, 4096 + 40))
    for vni in vnis:
        await one.store.join(vni)
    await granted(lambda: one.attach(vnis[-1], 7))
    macs = [LocalMac(vni, mac(number), "attach") for number, vni in enumerate(vnis)]
    results = await one.store.claim(macs)
    assert [(r.row.vni, r.row.mac) for r in results if r.row] == [(local.vni, local.mac) for local in macs]
    assert isinstance(one.store, ClusterStore)
    assert one.store.counts.connects >= len({bucket_of(vni) for vni in vnis} | {0})


async def test_a_removed_network_leaves_no_key_in_any_bucket(fleet: ClusterFleet, world: ClusterWorld) -> None:
    one, three = await world.node("one"), await world.node("three")
    vni = next(vni for vni in count(4096) if bucket_of(vni) == 5)
    blue = await one.store.create_network(NetworkRecord("blue", vni))
    for node in (one, three):
        await node.store.join(blue.vni)
        await granted(lambda node=node: node.attach(blue.vni, 1))
    await one.store.allocate_ip(blue.vni, "10.1.0.0/24", "a")
    with pytest.raises(ConflictError, match="three"):
        await one.store.remove_network("blue")
    assert await one.store.get_network("blue") == blue
    three.ports.clear()
    await three.store.leave(blue.vni)
    await one.store.remove_network("blue")
    assert await three.store.networks() == []
    assert list(fleet.owner(world.key(vni, "meta")).admin.scan_iter(f"vx:{{{world.name}/5}}:{vni}:*")) == []


async def test_who_counts_buckets_otherwise_is_refused(fleet: ClusterFleet, world: ClusterWorld) -> None:
    one = await world.node("one")
    await one.store.networks()
    owner = fleet.owner(Keys(world.name).nodes)
    with_one_bucket = RedisStore(parse_endpoint(f"unix://{owner.server.path}", None, None), world.name, FAST)
    other = Node(with_one_bucket, one.node)
    await other.start()
    await until(lambda: "divided into 16 buckets" in str(other.store.status().reason))
    assert other.store.status().state == "degraded"
    await other.close()


def test_the_status_is_that_of_all_buckets() -> None:
    store = ClusterStore("redis+cluster://h", [], "c", FAST)
    assert store.status().state == "down"
    up, also = StoreStatus("x", "up", None, 5.0, 1.5), StoreStatus("x", "up", None, 7.0, 0.5)
    hung = StoreStatus("x", "down", "h1:6379: no answer in time", 3.0, None)
    full = StoreStatus("x", "degraded", "OOM", 4.0, 2.0)
    url = "redis+cluster://h"
    for statuses, expected in (
        ((up, also), StoreStatus(url, "up", None, 7.0, 1.5)),
        ((up, hung), StoreStatus(url, "degraded", f"1 of 2 buckets, as bucket 1: {hung.reason}", 3.0, 1.5)),
        ((hung, hung), StoreStatus(url, "down", hung.reason, 3.0, None)),
        ((full, hung), StoreStatus(url, "degraded", "OOM", 3.0, 2.0)),
    ):
        store._buckets = {n: SimpleNamespace(status=lambda s=s: s) for n, s in enumerate(statuses)}  # type: ignore[misc]
        assert store.status() == expected


async def test_nobody_there(world: ClusterWorld) -> None:
    store = ClusterStore("x", [parse_endpoint("redis://127.0.0.1:1", None, None)], "c", FAST)
    assert store.status().state == "down"
    await store.start(Node(store, (await world.node("one")).node).node, lambda vni: ())
    with pytest.raises(StoreUnavailableError, match=r"127\.0\.0\.1:1"):
        await store.networks()
    await store.close(leave=True)
    with pytest.raises(StoreUnavailableError, match="closed"):
        await store.join(4096)
    assert [event async for event in store.events() if not hasattr(event, "trusted")] == []
