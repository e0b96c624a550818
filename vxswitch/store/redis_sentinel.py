"""The primary as Redis Sentinel names it: ``redis+sentinel://[USER[:PASSWORD]@]HOST[:26379],.../PRIMARY[/DB]``.

Before each session one of the sentinels is asked where the primary of this name is; user and password of the URL are
those of the servers, sentinels have their own, or none. A failover ends the session by itself: the old primary is
dead, or answers READONLY, or hangs up when it is made a replica. Only an old primary that is cut off from its
sentinels, but not from us, goes on as if nothing had happened: so sentinels are asked again every few heartbeats, and
when they name another address the session ends.

What the old primary acknowledged and the new one never got is lost: gen, rev and digest show it (``redis_session``),
and owners claim again. A sentinel's user needs no more than ``-@all +ping +sentinel|master``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace

from vxswitch.errors import UsageError
from vxswitch.store.redis_connect import Endpoint, Link, LinkDownError, ServerRefusedError, TlsSettings, parse_database
from vxswitch.store.redis_place import address_of, at_address, first_answer, open_pair, parse_hosts, shown_hosts
from vxswitch.store.rules import Rules

log = logging.getLogger(__name__)

PORT = 26379  # of a sentinel, by default
ASK_BEATS = 10  # beats between two looks at where the primary is


def parse_sentinels(
    url: str,
    password: str | None,
    tls: TlsSettings | None,
    sentinel_user: str | None = None,
    sentinel_password: str | None = None,
) -> SentinelPlace:
    """A URL as a place; UsageError, without a password in it."""
    servers, path = parse_hosts(url, password, tls, PORT)
    name, _, database = path.partition("/")
    if not name:
        raise UsageError("store redis+sentinel://: want the primary's name after the hosts, as in HOST,HOST/PRIMARY")
    sentinels = [replace(each, username=sentinel_user, password=sentinel_password, db=0) for each in servers]
    shown = f"{shown_hosts('redis+sentinel', sentinels)}/{name}"
    server = replace(servers[0], db=parse_database(database)) if database else servers[0]
    return SentinelPlace(shown, sentinels, name, server)


class SentinelPlace:
    """See the head of this file. ``server``: how to speak to a server, whatever its address."""

    def __init__(self, shown: str, sentinels: Sequence[Endpoint], name: str, server: Endpoint) -> None:
        self.shown = shown
        self._sentinels = list(sentinels)
        self._name = name
        self._server = server
        self._primary: Endpoint | None = None

    async def open(self, rules: Rules) -> tuple[Link, Link]:
        """See Place."""
        found = await self._find(rules)
        if found != self._primary:
            log.info("store %s: the primary is %s", self.shown, address_of(found))
        self._primary = found
        try:
            return await open_pair(found, rules)
        except LinkDownError as error:
            text = f"primary {address_of(found)}: {error}"
            raise LinkDownError(error.code, text, degraded=error.degraded) from None

    async def watch(self, rules: Rules) -> None:
        """See Place. Sentinels that do not answer, or know of no primary just now, change nothing."""
        while True:
            await asyncio.sleep(ASK_BEATS * rules.beat)
            try:
                named = await self._find(rules)
            except LinkDownError:
                continue
            if named != self._primary:
                raise LinkDownError("moved", f"the sentinels name another primary: {address_of(named)}")

    async def _find(self, rules: Rules) -> Endpoint:
        """Ask the sentinels; who answered is asked first next time."""

        async def ask(sentinel: Endpoint) -> tuple[Endpoint, Endpoint]:
            return sentinel, await self._ask(sentinel, rules)

        answered, primary = await first_answer(self._sentinels, ask)
        self._sentinels.remove(answered)
        self._sentinels.insert(0, answered)
        return primary

    async def _ask(self, sentinel: Endpoint, rules: Rules) -> Endpoint:
        try:
            link = await Link.open(sentinel, rules)
            try:
                answer = await link.call("SENTINEL", "MASTER", self._name)
            finally:
                await link.close()
            return self._named(dict(zip(answer[::2], answer[1::2], strict=True)))
        except (LinkDownError, ServerRefusedError) as error:
            text = f"sentinel {address_of(sentinel)}: {error}"
            degraded = isinstance(error, ServerRefusedError) or error.degraded
            raise LinkDownError(error.code, text, degraded=degraded) from None

    def _named(self, told: dict[bytes, bytes]) -> Endpoint:
        if b"o_down" in told.get(b"flags", b"").split(b","):
            raise LinkDownError("o_down", "the primary is down, no other has been chosen yet")
        return at_address(self._server, told[b"ip"].decode(), int(told[b"port"]))
