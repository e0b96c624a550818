"""The primary as Redis Sentinel names it: ``redis+sentinel://[USER[:PASSWORD]@]HOST[:26379],.../PRIMARY[/DB]``.

Before each session all sentinels are asked at once where the primary of this name is; user and password of the URL are
those of the servers, sentinels have their own, or none. Each failover has a number, the ``config-epoch``, that only
grows, and the answer with the highest one is believed: a sentinel that is cut off together with the old primary goes on
naming it. For the same reason nothing older than what was once believed is believed again, unless more than half of the
sentinels answer and none knows better (they were set up anew).

A failover ends the session by itself: the old primary is dead, or answers READONLY, or hangs up when it is made a
replica. Only an old primary that is cut off from the others, but not from us, goes on as if nothing had happened: so
sentinels are asked again every few heartbeats, and when another address is to be believed the session ends. A node that
reaches no other sentinel than the old one stays; it has no way to know.

What the old primary acknowledged and the new one never got is lost: gen, rev and digest show it (``redis_session``),
and owners claim again. A sentinel's user needs no more than ``-@all +ping +sentinel|master``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from vxswitch.errors import UsageError
from vxswitch.store.redis_connect import Endpoint, Link, LinkDownError, ServerRefusedError, TlsSettings, parse_database
from vxswitch.store.redis_place import address_of, all_answers, at_address, open_pair, parse_hosts, shown_hosts
from vxswitch.store.rules import Rules

log = logging.getLogger(__name__)

PORT = 26379  # of a sentinel, by default
ASK_BEATS = 3  # beats between two looks at where the primary is


@dataclass(frozen=True, slots=True)
class Told:
    """What a sentinel says: the primary since failover ``epoch``, is it down, and is it being replaced."""

    primary: Endpoint
    epoch: int
    down: bool
    leaving: bool


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
        self._epoch = 0  # the highest that was believed

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
        """Ask the sentinels: the primary to be believed in now; LinkDownError."""

        async def ask(sentinel: Endpoint) -> Told:
            return await self._ask(sentinel, rules)

        return self._believe(await all_answers(self._sentinels, ask))

    def _believe(self, answers: Sequence[Told]) -> Endpoint:
        best = max(answers, key=lambda told: (told.epoch, not told.down, not told.leaving))
        if best.epoch < self._epoch and 2 * len(answers) <= len(self._sentinels):
            raise LinkDownError("stale", "the sentinels that answer have not heard of the last failover")
        if best.down:
            raise LinkDownError("o_down", "the primary is down, no other has been chosen yet")
        self._epoch = best.epoch
        return best.primary

    async def _ask(self, sentinel: Endpoint, rules: Rules) -> Told:
        try:
            link = await Link.open(sentinel, rules)
            try:
                answer = await link.call("SENTINEL", "MASTER", self._name)
            finally:
                await link.close()
            return self._told(dict(zip(answer[::2], answer[1::2], strict=True)))
        except (LinkDownError, ServerRefusedError) as error:
            text = f"sentinel {address_of(sentinel)}: {error}"
            degraded = isinstance(error, ServerRefusedError) or error.degraded
            raise LinkDownError(error.code, text, degraded=degraded) from None

    def _told(self, told: dict[bytes, bytes]) -> Told:
        flags = told.get(b"flags", b"").split(b",")
        primary = at_address(self._server, told[b"ip"].decode(), int(told[b"port"]))
        return Told(primary, int(told.get(b"config-epoch", 0)), b"o_down" in flags, b"failover_in_progress" in flags)
