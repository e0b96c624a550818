"""Who owns a bucket in a Redis Cluster: ``redis+cluster://[USER[:PASSWORD]@]HOST[:PORT],HOST...``.

The hosts of the URL are only where to begin. Any server of the cluster is asked about one key of every bucket, in one
go; it answers for those that it owns, and MOVED says for each other one who does. That is all that is known of slots
here: no map of the cluster, no further right than a node's user has anyway. When a bucket changes its owner (a slot
was moved, a replica was promoted) the old one says MOVED, hangs up or is dead; the session ends and the next one
asks anew.

Buckets are many and servers are few: a ``Door`` to each server lets one attempt to connect at a time, and none for a
moment after one that failed; so a server that is away gets at most five attempts a second from all buckets together.
Questions about owners are shared in the same way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from vxswitch.errors import UsageError
from vxswitch.store.redis_connect import ENDS_LINK, Endpoint, Link, LinkDownError, ServerRefusedError, TlsSettings
from vxswitch.store.redis_place import address_of, at_address, first_answer, open_pair, parse_hosts, shown_hosts
from vxswitch.store.rules import Clock, Rules

PORT = 6379  # of a server, by default
PAUSE = 0.2  # seconds between questions, and between attempts that fail: five a second
HERE = frozenset({"ASK", "TRYAGAIN"})  # answers of the owner, too: of one that is handing the bucket over

T = TypeVar("T")
Address = tuple[str, int]


def parse_cluster(url: str, password: str | None, tls: TlsSettings | None) -> tuple[str, list[Endpoint]]:
    """The URL without its secrets, and the servers to begin with; UsageError."""
    seeds, rest = parse_hosts(url, password, tls, PORT)
    if rest or any(seed.db for seed in seeds):
        raise UsageError("store redis+cluster://: a cluster has no databases: nothing may follow its hosts")
    return shown_hosts("redis+cluster", seeds), seeds


class Door:
    """See the head of this file."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = asyncio.Lock()
        self._error: LinkDownError | None = None
        self._shut_until = 0.0

    async def open(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """What ``attempt`` opens; LinkDownError, also of an attempt that failed a moment ago."""
        async with self._lock:
            if self._error is not None and self._clock.monotonic() < self._shut_until:
                raise LinkDownError(self._error.code, str(self._error), degraded=self._error.degraded)
            try:
                opened = await attempt()
            except LinkDownError as error:
                self._error, self._shut_until = error, self._clock.monotonic() + PAUSE
                raise
            self._error = None
            return opened


class Slots:
    """The owners of all buckets. ``keys``: a key of each bucket; ``seeds``: servers to begin with."""

    def __init__(self, seeds: Sequence[Endpoint], keys: Sequence[str], clock: Clock) -> None:
        self._seeds = list(seeds)
        self._keys = list(keys)
        self._clock = clock
        self._doors: dict[Address, Door] = {}
        self._lock = asyncio.Lock()
        self._answered: Endpoint | None = None  # the server that was helpful last
        self._owners: list[Endpoint | LinkDownError] = []
        self._next = float("-inf")

    async def open(self, bucket: int, rules: Rules) -> tuple[Link, Link]:
        """Two links to the owner of a bucket; LinkDownError."""
        owner = await self._owner(bucket, rules)
        try:
            return await self._door(owner).open(lambda: open_pair(owner, rules))
        except LinkDownError as error:
            raise _of_server(owner, error) from None

    async def _owner(self, bucket: int, rules: Rules) -> Endpoint:
        async with self._lock:
            if self._clock.monotonic() >= self._next:
                self._owners = await self._ask_any(rules)
                self._next = self._clock.monotonic() + PAUSE
        owner = self._owners[bucket]
        if isinstance(owner, LinkDownError):
            raise LinkDownError(owner.code, str(owner), degraded=owner.degraded)
        return owner

    async def _ask_any(self, rules: Rules) -> list[Endpoint | LinkDownError]:
        """Ask until one server knows; who was helpful last first, and those that were named lately last."""
        owners = [owner for owner in self._owners if isinstance(owner, Endpoint)]
        first = [self._answered] if self._answered else []
        candidates = {(each.host, each.port): each for each in (*first, *self._seeds, *owners)}
        self._doors = {address: door for address, door in self._doors.items() if address in candidates}

        async def ask(server: Endpoint) -> tuple[Endpoint, list[Endpoint | LinkDownError]]:
            return server, await self._ask(server, rules)

        try:
            self._answered, found = await first_answer(list(candidates.values()), ask)
        except LinkDownError as error:
            return [error] * len(self._keys)
        return found

    async def _ask(self, server: Endpoint, rules: Rules) -> list[Endpoint | LinkDownError]:
        """What one server says of each bucket; LinkDownError if it knows nothing."""
        try:
            link = await self._door(server).open(lambda: Link.open(server, rules, ENDS_LINK - {"MOVED", "CLUSTERDOWN"}))
            try:
                answers = await link.pipeline([("EXISTS", key) for key in self._keys])
            finally:
                await link.close()
        except LinkDownError as error:
            raise _of_server(server, error) from None
        found = [_owner_by(answer, server) for answer in answers]
        if all(isinstance(owner, LinkDownError) for owner in found):
            raise next(owner for owner in found if isinstance(owner, LinkDownError))
        return found

    def _door(self, server: Endpoint) -> Door:
        return self._doors.setdefault((server.host, server.port), Door(self._clock))


class BucketPlace:
    """The owner of one bucket, whoever that is when a session begins."""

    def __init__(self, slots: Slots, bucket: int, shown: str) -> None:
        self.shown = f"{shown} bucket {bucket}"
        self._slots = slots
        self._bucket = bucket

    async def open(self, rules: Rules) -> tuple[Link, Link]:
        """See Place."""
        return await self._slots.open(self._bucket, rules)

    async def watch(self, rules: Rules) -> None:
        """Servers that are no longer the owner say so themselves."""


def _owner_by(answer: Any, server: Endpoint) -> Endpoint | LinkDownError:
    """Who owns a key, by a server's answer to a question about it."""
    if not isinstance(answer, ServerRefusedError) or answer.code in HERE:
        return server
    words = str(answer).split(" ")
    host, _, port = words[-1].rpartition(":")
    if answer.code == "MOVED" and len(words) == 3 and port.isdigit():
        return at_address(server, server.host if host in ("", "?") else host, int(port))
    return _of_server(server, LinkDownError(answer.code, str(answer), degraded=True))


def _of_server(server: Endpoint, error: LinkDownError) -> LinkDownError:
    return LinkDownError(error.code, f"{address_of(server)}: {error}", degraded=error.degraded)
