"""The primary behind sentinels: real failovers, hung servers and sentinels, and a tail that was never replicated."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from tests.store.attempts import Attempts
from tests.store.conftest import World
from tests.store.fleets import SECRET, SENTINEL_SECRET, SENTINEL_USER, SentinelFleet
from tests.store.nodes import FAST, Node, mac, record
from tests.store.servers import DEADLINE, free_port, granted, until
from vxswitch.errors import UsageError
from vxswitch.store import redis_sentinel
from vxswitch.store.redis import RedisStore
from vxswitch.store.redis_connect import Endpoint, Link, LinkDownError, TlsSettings
from vxswitch.store.redis_sentinel import SentinelPlace, parse_sentinels

CERTS = Path(__file__).parent / "certs"
VNI = 4096
_clusters = count(1)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SentinelFleet]:
    """Servers and sentinels to be broken; there is a replica left for the second failover."""
    with contextlib.closing(SentinelFleet("redis", tmp_path_factory.mktemp("sentinel"), down_ms=500)) as fleet:
        yield fleet


@pytest.fixture
async def world(fleet: SentinelFleet) -> AsyncIterator[World]:
    """Nodes that ask those sentinels."""
    cluster = f"s{next(_clusters)}"
    world = World(lambda: fleet.store(cluster, FAST), lambda: None)
    yield world
    await world.close()


async def pair(world: World) -> tuple[Node, Node]:
    """Two nodes that know each other's MAC, and may judge each other."""
    one, two = await world.member("one", VNI), await world.member("two", VNI)
    await granted(lambda: one.attach(VNI, 1))
    await granted(lambda: two.attach(VNI, 2))
    for node in (one, two):
        await until(node.has(VNI, {1: "one", 2: "two"}))
        await until(lambda node=node: node.leases and node.leases.trusted)
    return one, two


async def up_again(*nodes: Node) -> None:
    for node in nodes:
        await until(lambda node=node: node.store.status().state == "up", deadline=2 * DEADLINE)  # they may vote twice


def nobody_was_judged(node: Node, since: int) -> bool:
    """No trusted word was said since then that somebody's lease had run out."""
    told = [e for e in node.events[since:] if getattr(e, "trusted", False)]
    return all(set(leases.seconds_left) >= {"one", "two"} for leases in told)


# Failovers, one after another on the same servers.


async def test_a_hung_sentinel_delays_nobody_for_long(fleet: SentinelFleet) -> None:
    place = parse_sentinels(fleet.url, SECRET, None, SENTINEL_USER, SENTINEL_SECRET)
    fleet.sentinels[0].signal(signal.SIGSTOP)
    try:
        async with asyncio.timeout(DEADLINE):
            links = await place.open(replace(FAST, connect_timeout=60.0, command_timeout=60.0))
        for link in links:
            await link.close()
    finally:
        fleet.sentinels[0].signal(signal.SIGCONT)


async def test_a_killed_primary_and_a_tail_that_was_never_replicated(
    fleet: SentinelFleet, world: World, attempts: Attempts
) -> None:
    one, two = await pair(world)
    said = len(one.events)
    old = fleet.primary()
    old.admin.execute_command("ACL", "SETUSER", "default", "-psync", "-sync")
    old.admin.client_kill_filter(_type="replica")
    await until(lambda: old.admin.info()["connected_slaves"] == 0)
    await one.attach(VNI, 3)
    await two.detach(VNI, 2)
    await until(one.has(VNI, {1: "one", 3: "one"}))
    old.server.kill()
    await until(lambda: one.store.counts.errors.total())
    await up_again(one, two)
    for node in (one, two):
        await until(lambda node=node: set(node.table(VNI).snapshots) & {"rev", "gen", "digest"})
        await until(node.has(VNI, {1: "one", 3: "one"}))
        assert set(node.table(VNI).removed) == {mac(2)}
    assert nobody_was_judged(one, said)
    assert attempts.most_in_a_second(nodes=2) <= 5


async def test_a_hung_primary_is_replaced_and_nobody_is_judged(
    fleet: SentinelFleet, world: World, attempts: Attempts
) -> None:
    one, two = await pair(world)
    await until(fleet.settled)
    old, said = fleet.primary(), len(one.events)
    old.server.signal(signal.SIGSTOP)
    try:
        for node in (one, two):
            await until(lambda node=node: node.store.counts.errors.total())
            assert node.owners(VNI) == {1: "one", 2: "two"}
        await up_again(one, two)
        await granted(lambda: one.attach(VNI, 3))
        for node in (one, two):
            await until(node.has(VNI, {1: "one", 2: "two", 3: "one"}))
            assert node.table(VNI).removed == []
        assert nobody_was_judged(one, said)
        assert attempts.most_in_a_second(nodes=2) <= 5
    finally:
        old.server.signal(signal.SIGCONT)


# What sentinels say.


class Said(SentinelPlace):
    """A place whose sentinels say what a test lets them say."""

    answers: list[Endpoint | LinkDownError]

    async def _find(self, rules: object) -> Endpoint:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, LinkDownError):
            raise answer
        return answer


async def test_when_the_sentinels_name_another_primary_the_session_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_sentinel, "ASK_BEATS", 0.01)
    old, new = Endpoint("redis://10.0.0.1:6379", "10.0.0.1"), Endpoint("redis://10.0.0.2:6379", "10.0.0.2")
    place = Said("x", [], "main", old)
    place._primary = old
    place.answers = [old, LinkDownError("o_down", "down"), old, new]
    async with asyncio.timeout(5):
        with pytest.raises(LinkDownError, match=r"another primary: 10\.0\.0\.2:6379"):
            await place.watch(FAST)


@pytest.mark.parametrize(
    ("flags", "error"), [(b"master", None), (b"s_down,master", None), (b"s_down,o_down,master", "no other")]
)
def test_a_primary_that_is_known_to_be_down_is_not_tried(flags: bytes, error: str | None) -> None:
    place = parse_sentinels("redis+sentinel://u@a/main/3", "p", None, "s", "q")
    told = {b"flags": flags, b"ip": b"fd00::5", b"port": b"7000"}
    if error:
        with pytest.raises(LinkDownError, match=error):
            place._named(told)
    else:
        assert place._named(told) == Endpoint("redis://[fd00::5]:7000", "fd00::5", 7000, "", 3, "u", "p")


async def test_an_unknown_name_is_told_in_the_sentinels_words(fleet: SentinelFleet) -> None:
    place = parse_sentinels(fleet.url.replace("/main", "/other"), SECRET, None, SENTINEL_USER, SENTINEL_SECRET)
    with pytest.raises(LinkDownError, match=r"sentinel 127.*No such master"):
        await place.open(FAST)


async def test_sentinels_have_passwords_of_their_own(fleet: SentinelFleet) -> None:
    place = parse_sentinels(fleet.url, SECRET, None, SENTINEL_USER, SECRET)
    with pytest.raises(LinkDownError) as error:
        await place.open(FAST)
    assert (error.value.code, error.value.degraded) == ("NOAUTH", True)


async def test_the_documented_rights_of_a_sentinels_user_are_enough_and_no_more(fleet: SentinelFleet) -> None:
    assert redis_sentinel.__doc__ is not None
    assert "-@all +ping +sentinel|master" in redis_sentinel.__doc__
    watcher = Endpoint("x", fleet.sentinels[0].address, 26379, username=SENTINEL_USER, password=SENTINEL_SECRET)
    link = await Link.open(watcher, FAST)
    for forbidden in (("SENTINEL", "FAILOVER", "main"), ("INFO",)):
        with pytest.raises(Exception, match="NOPERM"):
            await link.call(*forbidden)
    await link.close()


@pytest.fixture
def encrypted(tmp_path: Path) -> Iterator[str]:
    """A Redis and its sentinel that speak TLS alone, to who has a certificate; the URL."""
    ports = free_port(), free_port()
    files = {"ca-cert-file": "ca.pem", "cert-file": "server.pem", "key-file": "server.key"}
    tls = "".join(f"tls-{key} {CERTS / name}\n" for key, name in files.items())
    processes = []
    for port, extra, options in (
        (ports[0], 'save ""\n', []),
        (ports[1], f"sentinel monitor main 127.0.0.1 {ports[0]} 1\n", ["--sentinel"]),
    ):
        config = tmp_path / f"{port}.conf"
        config.write_text(f"port 0\ntls-port {port}\nbind 127.0.0.1\ntls-replication yes\ndir {tmp_path}\n{tls}{extra}")
        processes.append(subprocess.Popen(["redis-server", str(config), *options], stdout=subprocess.DEVNULL))
    yield f"redis+sentinel://127.0.0.1:{ports[1]}/main"
    for process in processes:
        process.kill()
        process.wait()


async def test_sentinels_and_servers_with_tls(encrypted: str) -> None:
    tls = TlsSettings(str(CERTS / "ca.pem"), str(CERTS / "client.pem"), str(CERTS / "client.key"))
    node = Node(RedisStore(parse_sentinels(encrypted, None, tls), "c", FAST), record("one"))
    await node.start()
    await node.store.join(VNI)
    await granted(lambda: node.attach(VNI, 1))
    await until(node.has(VNI, {1: "one"}))
    await node.close()
    with pytest.raises(LinkDownError):
        await parse_sentinels(encrypted, None, None).open(FAST)


@pytest.mark.parametrize("url", ["redis+sentinel://a,b", "redis+sentinel://a/", "redis+sentinel://:hunter2@a/main/x"])
def test_urls_without_a_primary(url: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_sentinels(url, "hunter2", None)
    assert "hunter2" not in str(error.value)
