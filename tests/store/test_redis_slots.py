"""Who owns a bucket, by what servers say; and how often they are asked."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.store.nodes import FAST
from vxswitch.errors import UsageError
from vxswitch.store import redis_slots
from vxswitch.store.redis_connect import Endpoint, Link, LinkDownError, ServerRefusedError
from vxswitch.store.redis_slots import PAUSE, BucketPlace, Door, Slots, _owner_by, parse_cluster
from vxswitch.store.rules import Clock

HERE = Endpoint("redis://h1:6379", "h1")


def refused(text: str) -> ServerRefusedError:
    return ServerRefusedError(text.split(" ")[0], text)


@pytest.mark.parametrize(
    ("answer", "host", "port"),
    [
        (0, "h1", 6379),
        (1, "h1", 6379),
        (refused("ASK 5 h2:7000"), "h1", 6379),
        (refused("TRYAGAIN"), "h1", 6379),
        (refused("MOVED 5 h2:7000"), "h2", 7000),
        (refused("MOVED 5 fd00::1:7000"), "fd00::1", 7000),
        (refused("MOVED 5 :7000"), "h1", 7000),
        (refused("MOVED 5 ?:7000"), "h1", 7000),
    ],
)
def test_a_servers_answer_names_the_owner(answer: object, host: str, port: int) -> None:
    owner = _owner_by(answer, HERE)
    assert isinstance(owner, Endpoint)
    assert (owner.host, owner.port) == (host, port)


@pytest.mark.parametrize(
    "text", ["CLUSTERDOWN The cluster is down", "NOPERM no", "MOVED", "MOVED 5 h2:port", "MOVED x"]
)
def test_other_answers_are_told_with_the_server_that_gave_them(text: str) -> None:
    owner = _owner_by(refused(text), HERE)
    assert isinstance(owner, LinkDownError)
    assert (str(owner), owner.degraded) == (f"h1:6379: {text}", True)


class Hand:
    """A clock that a test moves."""

    now = 100.0

    def clock(self) -> Clock:
        return Clock(lambda: self.now, lambda: self.now)


async def test_a_door_is_shut_for_a_moment_after_a_failure() -> None:
    hand, tried = Hand(), 0
    door = Door(hand.clock())

    async def attempt() -> str:
        nonlocal tried
        tried += 1
        await asyncio.sleep(0.01)
        if tried < 3:
            raise LinkDownError("timeout", "no answer in time")
        return "open"

    results = await asyncio.gather(*(door.open(attempt) for _ in range(16)), return_exceptions=True)
    assert tried == 1
    assert all(isinstance(result, LinkDownError) and result.code == "timeout" for result in results)
    hand.now += PAUSE
    with pytest.raises(LinkDownError):
        await door.open(attempt)
    hand.now += PAUSE
    assert [await door.open(attempt) for _ in range(3)] == ["open"] * 3
    assert tried == 5


async def test_one_question_is_enough_for_all_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    hand, asked, opened = Hand(), list[str](), list[str]()
    slots = Slots([HERE], [f"key{n}" for n in range(4)], hand.clock())
    answers: list[Any] = [0, refused("MOVED 5 h2:7000"), refused("CLUSTERDOWN not served"), 1]

    class FakeLink:
        async def pipeline(self, commands: list[tuple[str, str]]) -> list[Any]:
            assert commands == [("EXISTS", f"key{n}") for n in range(4)]
            return answers

        async def close(self) -> None: ...

    async def open_one(endpoint: Endpoint, rules: object, ends: frozenset[str]) -> FakeLink:
        assert "MOVED" not in ends
        asked.append(endpoint.host)
        return FakeLink()

    async def open_two(endpoint: Endpoint, rules: object) -> tuple[()]:
        opened.append(endpoint.host)
        return ()

    monkeypatch.setattr(Link, "open", open_one)
    monkeypatch.setattr(redis_slots, "open_pair", open_two)
    places = [BucketPlace(slots, n, "redis+cluster://h1") for n in range(4)]
    results = await asyncio.gather(*(place.open(FAST) for place in places), return_exceptions=True)
    assert (asked, sorted(opened)) == (["h1"], ["h1", "h1", "h2"])
    assert str(results[2]) == "h1:6379: CLUSTERDOWN not served"
    assert places[3].shown == "redis+cluster://h1 bucket 3"
    hand.now += PAUSE
    answers[1] = 1
    await places[1].open(FAST)
    assert (asked, opened[-1]) == (["h1", "h1"], "h1")
    answers[:] = [refused("CLUSTERDOWN down")] * 4
    hand.now += PAUSE
    with pytest.raises(LinkDownError, match="CLUSTERDOWN down"):
        await places[0].open(FAST)


def test_a_cluster_has_hosts_and_nothing_else() -> None:
    shown, seeds = parse_cluster("redis+cluster://u:hunter2@a,b:7", None, None)
    assert (shown, [seed.port for seed in seeds]) == ("redis+cluster://a:6379,b:7", [6379, 7])
    for url in ("redis+cluster://a/1", "redis+cluster://a?db=1", "redis+cluster://"):
        with pytest.raises(UsageError):
            parse_cluster(url, None, None)
