"""Several addresses of which some answer: who is asked, when, and what is said if nobody does."""

from __future__ import annotations

import asyncio

import pytest

from vxswitch.errors import UsageError
from vxswitch.store import redis_place
from vxswitch.store.redis_connect import Endpoint, LinkDownError, ServerRefusedError, TlsSettings
from vxswitch.store.redis_place import (
    MAX_HOSTS,
    address_of,
    all_answers,
    at_address,
    first_answer,
    parse_hosts,
    shown_hosts,
)


async def test_the_next_is_asked_when_one_fails_or_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_place, "STAGGER", 0.01)
    asked: list[str] = []

    async def ask(name: str) -> str:
        asked.append(name)
        if name.startswith("silent"):
            await asyncio.sleep(60)
        if name.startswith("dead"):
            raise LinkDownError("connection", f"{name} is dead")
        return f"{name} answers"

    assert await first_answer(["good", "other"], ask) == "good answers"
    assert asked == ["good"]
    asked.clear()
    async with asyncio.timeout(5):
        assert await first_answer(["dead", "silent 1", "silent 2", "good", "other"], ask) == "good answers"
    assert asked == ["dead", "silent 1", "silent 2", "good"]
    with pytest.raises(LinkDownError, match="is dead"):
        await first_answer(["dead 1", "dead 2"], ask)
    async with asyncio.timeout(5):
        assert sorted(await all_answers(["dead", "good", "silent", "best"], ask)) == ["best answers", "good answers"]
    with pytest.raises(LinkDownError, match="is dead"):
        await all_answers(["dead 1", "dead 2"], ask)


async def test_a_server_that_says_why_not_is_heard_before_those_that_say_nothing() -> None:
    errors: list[Exception] = [
        LinkDownError("connection", "refused"),
        ServerRefusedError("NOPERM", "NOPERM: you may not"),
        LinkDownError("timeout", "no answer in time"),
    ]

    async def ask(error: Exception) -> None:
        raise error

    with pytest.raises(LinkDownError, match="you may not") as caught:
        await first_answer(errors, ask)
    assert (caught.value.code, caught.value.degraded) == ("NOPERM", True)
    with pytest.raises(ZeroDivisionError):
        await first_answer([ZeroDivisionError()], ask)


async def test_who_gives_up_leaves_no_question_behind() -> None:
    ended = asyncio.Event()

    async def ask(_: int) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await first_answer([1], ask)
    assert ended.is_set()


def test_urls_of_several_hosts() -> None:
    tls = TlsSettings("/ca.pem")
    found, rest = parse_hosts("redis+x://u:p%40@a,[fd00::1]:7,b:8/name?db=3", None, tls, 26379)
    assert rest == "name"
    assert [(e.host, e.port, e.db, e.username, e.password, e.tls) for e in found] == [
        (host, port, 3, "u", "p@", tls) for host, port in (("a", 26379), ("fd00::1", 7), ("b", 8))
    ]
    assert shown_hosts("redis+x", found) == "redis+x://a:26379,[fd00::1]:7,b:8"
    assert parse_hosts("redis+x://a", "p", None, 1) == ([Endpoint("redis://a:1", "a", 1, password="p")], "")
    with pytest.raises(UsageError, match="33 hosts"):
        parse_hosts(f"redis+x://{','.join('a' * (MAX_HOSTS + 1))}", None, None, 1)


def test_the_same_server_elsewhere() -> None:
    here = Endpoint("rediss://a:1", "a", 1, "", 3, "u", "p", TlsSettings())
    there = at_address(here, "fd00::1", 7)
    assert there == Endpoint("rediss://[fd00::1]:7", "fd00::1", 7, "", 3, "u", "p", TlsSettings())
    assert address_of(there) == "[fd00::1]:7"
