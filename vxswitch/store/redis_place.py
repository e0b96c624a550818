"""Where a session connects to: one server that was named, or one that has to be found anew each time.

A ``Place`` gives a session its two links, and tells it while it works when another server has become the right one.
``FixedPlace`` is a server with an address. ``redis_sentinel`` asks sentinels for the primary, ``redis_slots`` asks
the servers of a Redis Cluster who owns a slot; both know several addresses, of which some may be dead, hung or
unreachable. ``first_answer`` asks them one after another, but waits for none longer than ``STAGGER`` before it asks
the next one, too; ``all_answers`` asks all, and waits for none longer than that once one has answered.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

from vxswitch.errors import UsageError
from vxswitch.store.redis_connect import Endpoint, Link, LinkDownError, ServerRefusedError, TlsSettings, parse_endpoint
from vxswitch.store.rules import Rules

STAGGER = 0.25  # seconds of silence after which the next address is asked, too (RFC 8305 section 5: 250 ms)
MAX_HOSTS = 32  # addresses in one URL

T = TypeVar("T")
R = TypeVar("R")


class Place(Protocol):
    """See the head of this file."""

    @property
    def shown(self) -> str:
        """The URL without its password."""
        ...

    async def open(self, rules: Rules) -> tuple[Link, Link]:
        """Two links to the server that is right now; LinkDownError."""
        ...

    async def watch(self, rules: Rules) -> None:
        """Run beside a session; LinkDownError once another server is the right one."""
        ...


class FixedPlace:
    """One server with an address."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    @property
    def shown(self) -> str:
        """See Place."""
        return self._endpoint.shown

    async def open(self, rules: Rules) -> tuple[Link, Link]:
        """See Place."""
        return await open_pair(self._endpoint, rules)

    async def watch(self, rules: Rules) -> None:
        """It stays what it is."""


async def open_pair(endpoint: Endpoint, rules: Rules) -> tuple[Link, Link]:
    """Two links to one server; LinkDownError."""
    first = await Link.open(endpoint, rules)
    try:
        return first, await Link.open(endpoint, rules)
    except BaseException:
        await first.close()
        raise


def parse_hosts(
    url: str, password: str | None, tls: TlsSettings | None, default_port: int
) -> tuple[list[Endpoint], str]:
    """``SCHEME://[USER[:PASSWORD]@]HOST[:PORT],.../REST[?db=N]``: an Endpoint for each host, and REST; UsageError."""
    scheme, _, rest = url.partition("://")
    rest, _, query = rest.partition("?")
    userinfo, at, place = rest.rpartition("@")
    hosts, _, path = place.partition("/")
    names = hosts.split(",")
    if len(names) > MAX_HOSTS:
        raise UsageError(f"store {scheme}://: {len(names)} hosts, {MAX_HOSTS} at most")
    base = "redis" if tls is None else "rediss"
    endpoints = [
        parse_endpoint(
            f"{base}://{userinfo}{at}{name}{'' if _has_port(name) else f':{default_port}'}?{query}", password, tls
        )
        for name in names
    ]
    return endpoints, path


def shown_hosts(scheme: str, endpoints: Sequence[Endpoint]) -> str:
    """The same URL without user, password and what follows the hosts."""
    return f"{scheme}://{','.join(address_of(endpoint) for endpoint in endpoints)}"


def address_of(endpoint: Endpoint) -> str:
    """``HOST:PORT`` for human eyes."""
    return endpoint.shown.partition("://")[2]


def at_address(server: Endpoint, host: str, port: int) -> Endpoint:
    """The same way to speak to a server, at another address."""
    shown = f"[{host}]" if ":" in host else host
    scheme = server.shown.partition("://")[0]
    return replace(server, shown=f"{scheme}://{shown}:{port}", host=host, port=port)


async def first_answer(candidates: Sequence[T], ask: Callable[[T], Awaitable[R]]) -> R:
    """The first good answer to ``ask``; each candidate is asked when the one before failed or is silent.

    LinkDownError or ServerRefusedError of a candidate is a failure; when all have failed, what the most talkative
    one said is raised.
    """
    waiting, asked, failures = deque(candidates), set[asyncio.Future[R]](), list[LinkDownError]()
    try:
        while waiting or asked:
            if waiting:
                asked.add(asyncio.ensure_future(ask(waiting.popleft())))
            done, asked = await asyncio.wait(
                asked, timeout=STAGGER if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            errors = [error for answer in done if (error := answer.exception()) is not None]
            if len(errors) < len(done):
                return next(answer.result() for answer in done if answer.exception() is None)
            failures += map(_as_link_down, errors)
    finally:
        for late in asked:
            late.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
    raise max(failures, key=lambda error: error.degraded)


async def all_answers(candidates: Sequence[T], ask: Callable[[T], Awaitable[R]]) -> list[R]:
    """The good answers of all who are asked, but for those who are silent for ``STAGGER`` after another one's.

    Failures as in ``first_answer``: when there is no good answer, what the most talkative one said is raised.
    """
    asked = {asyncio.ensure_future(ask(candidate)) for candidate in candidates}
    good, failures = list[R](), list[LinkDownError]()
    try:
        while asked:
            done, asked = await asyncio.wait(
                asked, timeout=STAGGER if good else None, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                break
            good += [answer.result() for answer in done if answer.exception() is None]
            failures += [_as_link_down(error) for answer in done if (error := answer.exception()) is not None]
    finally:
        for late in asked:
            late.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
    if not good:
        raise max(failures, key=lambda error: error.degraded)
    return good


def _as_link_down(error: BaseException) -> LinkDownError:
    if isinstance(error, LinkDownError):
        return error
    if isinstance(error, ServerRefusedError):
        return LinkDownError(error.code, str(error), degraded=True)
    raise error


def _has_port(name: str) -> bool:
    return name.rpartition("]")[2].count(":") == 1
