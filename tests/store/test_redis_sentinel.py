"""The primary behind sentinels: real failovers, hung servers and sentinels, and a tail that was never replicated."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from itertools import count

import pytest

from tests.store.attempts import Attempts
from tests.store.conftest import World
from tests.store.fleets import SECRET, SENTINEL_SECRET, SENTINEL_USER, SentinelFleet
from tests.store.nodes import FAST, Node, mac
from tests.store.servers import DEADLINE, granted, until
from vxswitch.errors import UsageError
from vxswitch.store import redis_sentinel
from vxswitch.store.redis_connect import Endpoint, Link, LinkDownError, TlsSettings
from vxswitch.store.redis_sentinel import SentinelPlace, Told, parse_sentinels

VNI = 4096
_clusters = count(1)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SentinelFleet]:
    """Servers and sentinels to be broken, all with TLS; there is a replica left for the second failover."""
    directory = tmp_path_factory.mktemp("sentinel")
    with contextlib.closing(SentinelFleet("redis", directory, down_ms=500, encrypted=True)) as fleet:
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
    place = fleet.place()
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
    told = place._told({b"flags": flags, b"ip": b"fd00::5", b"port": b"7000"})
    if error:
        with pytest.raises(LinkDownError, match=error):
            place._believe([told])
    else:
        assert place._believe([told]) == Endpoint("redis://[fd00::5]:7000", "fd00::5", 7000, "", 3, "u", "p")


def told(number: int, epoch: int, *, down: bool = False, leaving: bool = False) -> Told:
    """A sentinel names server ``number``."""
    return Told(Endpoint(f"redis://10.0.0.{number}:6379", f"10.0.0.{number}"), epoch, down, leaving)


@pytest.mark.parametrize(
    ("answers", "believed"),
    [
        ([told(1, 4), told(2, 5), told(2, 5)], 2),  # the first one is cut off with the old primary
        ([told(1, 5, down=True), told(2, 5)], 2),  # it leads the failover, and has not come to its end
        ([told(1, 5, leaving=True), told(2, 5)], 2),  # the same, by hand
        ([told(1, 5, leaving=True)], 1),
        ([told(1, 4), told(1, 4), told(2, 5, down=True)], None),
    ],
)
def test_the_last_failover_is_believed(answers: list[Told], believed: int | None) -> None:
    place = parse_sentinels("redis+sentinel://a,b,c/main", None, None)
    for order in (answers, answers[::-1]):
        if believed is None:
            with pytest.raises(LinkDownError, match="no other"):
                place._believe(order)
        else:
            assert place._believe(order).host == f"10.0.0.{believed}"


def test_what_was_believed_is_taken_back_by_most_sentinels_only() -> None:
    place = parse_sentinels("redis+sentinel://a,b,c/main", None, None)
    assert place._believe([told(2, 5)]).host == "10.0.0.2"
    with pytest.raises(LinkDownError, match="have not heard of the last failover"):
        place._believe([told(1, 4)])
    assert place._believe([told(3, 0), told(3, 0)]).host == "10.0.0.3"
    assert place._believe([told(1, 0)]).host == "10.0.0.1"


async def test_an_unknown_name_is_told_in_the_sentinels_words(fleet: SentinelFleet) -> None:
    place = fleet.place("other")
    with pytest.raises(LinkDownError, match=r"sentinel 127.*No such master"):
        await place.open(FAST)


async def test_sentinels_have_passwords_of_their_own(fleet: SentinelFleet) -> None:
    place = fleet.place(sentinel_secret=SECRET)
    with pytest.raises(LinkDownError) as error:
        await place.open(FAST)
    assert (error.value.code, error.value.degraded) == ("NOAUTH", True)


async def test_the_documented_rights_of_a_sentinels_user_are_enough_and_no_more(fleet: SentinelFleet) -> None:
    assert redis_sentinel.__doc__ is not None
    assert "-@all +ping +sentinel|master" in redis_sentinel.__doc__
    where = Endpoint("x", fleet.sentinels[0].address, 26379, tls=fleet.tls)
    watcher = replace(where, username=SENTINEL_USER, password=SENTINEL_SECRET)
    link = await Link.open(watcher, FAST)
    for forbidden in (("SENTINEL", "FAILOVER", "main"), ("INFO",)):
        with pytest.raises(Exception, match="NOPERM"):
            await link.call(*forbidden)
    await link.close()


async def test_who_comes_without_tls_or_a_certificate_gets_nowhere(fleet: SentinelFleet) -> None:
    assert fleet.tls is not None
    for tls in (None, TlsSettings(fleet.tls.ca_file)):
        with pytest.raises(LinkDownError):
            await parse_sentinels(fleet.url, SECRET, tls, SENTINEL_USER, SENTINEL_SECRET).open(FAST)


@pytest.mark.parametrize("url", ["redis+sentinel://a,b", "redis+sentinel://a/", "redis+sentinel://:hunter2@a/main/x"])
def test_urls_without_a_primary(url: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_sentinels(url, "hunter2", None)
    assert "hunter2" not in str(error.value)
