"""Servers and nodes for the store's tests; everything that was started is stopped, whatever happens."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest

from tests.store.attempts import Attempts
from tests.store.fleets import ClusterFleet, SentinelFleet
from tests.store.nodes import FAST, Node, record
from tests.store.servers import BINARIES, Server, until
from vxswitch.store.base import Store
from vxswitch.store.memory import MemoryStore
from vxswitch.store.memory_hub import MemoryHub
from vxswitch.store.redis import RedisStore
from vxswitch.store.redis_scripts import Keys
from vxswitch.store.rules import Rules

_clusters = count(1)


@dataclass
class World:
    """A store that many nodes share, and the nodes that a test made."""

    open_store: Callable[[], Store]
    flush: Callable[[], object]
    nodes: list[Node] = field(default_factory=list)

    async def node(self, name: str, *, uid: str = "", epoch: int = 1, address: str = "") -> Node:
        """A node that has started."""
        node = Node(self.open_store(), record(name, uid=uid, epoch=epoch, address=address))
        self.nodes.append(node)
        return await node.start()

    async def member(self, name: str, vni: int, *, uid: str = "", epoch: int = 1) -> Node:
        """A node that has started and joined a VNI."""
        node = await self.node(name, uid=uid, epoch=epoch)
        await node.store.join(vni)
        await until(lambda: node.store.status().state != "down")  # a busy machine may need a second attempt to connect
        return node

    async def close(self) -> None:
        """Stop all nodes."""
        for node in self.nodes:
            with contextlib.suppress(ProcessLookupError):
                await node.close()


@dataclass
class RedisWorld(World):
    """A World on a real server, with what is needed to look into it and to break it."""

    server: Server = field(kw_only=True)
    keys: Keys = field(kw_only=True)
    rules: Rules = field(kw_only=True)

    def key(self, vni: int, name: str) -> str:
        """A key of a VNI."""
        return self.keys.parts(vni, name)[0]


def redis_world(server: Server, rules: Rules = FAST) -> RedisWorld:
    """A world of its own on a server."""
    cluster = f"c{next(_clusters)}"
    return RedisWorld(
        lambda: RedisStore(server.endpoint(), cluster, rules),
        lambda: server.admin.flushall(),
        server=server,
        keys=Keys(cluster),
        rules=rules,
    )


@pytest.fixture
def attempts(monkeypatch: pytest.MonkeyPatch) -> Attempts:
    """Notes what is tried in vain from here on."""
    return Attempts(monkeypatch)


@pytest.fixture(scope="session", params=sorted(BINARIES))
def shared_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that tests share; each uses its own cluster's keys."""
    server = Server(request.param, tmp_path_factory.mktemp(request.param))
    yield server
    server.kill()


@pytest.fixture(params=sorted(BINARIES))
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """A server of the test's own, to be broken."""
    server = Server(request.param, tmp_path)
    yield server
    server.kill()


@pytest.fixture
async def world(server: Server) -> AsyncIterator[RedisWorld]:
    """Nodes on a server that the test may break."""
    world = redis_world(server)
    yield world
    await world.close()


@pytest.fixture
async def shared(shared_server: Server) -> AsyncIterator[RedisWorld]:
    """Nodes on a server that must be left whole."""
    world = redis_world(shared_server)
    yield world
    await world.close()


@pytest.fixture(params=["memory", "sentinel", "cluster"])
async def anywhere(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """Nodes on every kind of store: what holds here is the contract. (A single server is one without sentinels.)"""
    if request.param == "memory":
        hub = MemoryHub(rules=FAST)
        world = World(lambda: MemoryStore(hub), hub.flush)
    else:
        fleet = request.getfixturevalue(f"{request.param}_fleet")
        cluster = f"c{next(_clusters)}"
        world = World(lambda: fleet.store(cluster, FAST), lambda: fleet.delete_all(f"vx:{{{cluster}/"))
    yield world
    await world.close()


@pytest.fixture(scope="session")
def sentinel_fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SentinelFleet]:
    """The shared Valkey behind sentinels, which must be left whole."""
    with contextlib.closing(SentinelFleet("valkey", tmp_path_factory.mktemp("contract-sentinel"))) as fleet:
        yield fleet


@pytest.fixture(scope="session")
def cluster_fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterFleet]:
    """The shared Redis Cluster, which must be left whole; with TLS and certificates on all sides."""
    with contextlib.closing(
        ClusterFleet("redis", tmp_path_factory.mktemp("contract-cluster"), encrypted=True)
    ) as fleet:
        yield fleet
