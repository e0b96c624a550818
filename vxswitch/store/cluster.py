"""The store in a Redis Cluster: one contract over many buckets, each of them a RedisStore of its own.

All keys of a VNI have one hash tag, for a script works on one slot only. VNIs are divided into ``BUCKETS`` by a hash of
their number; a bucket has a tag, so a slot, so a server, and is everything that a store on a single server is: links,
heartbeat, lease, mirrors, reader. Nothing is ever asked of two buckets at once. Networks' records and the allocator of
VNIs are in bucket 0; it is connected from the start, the others when the first of their VNIs is needed.

What has to be put together again is little: events come out of one queue, in rev order for each VNI; leases by
``cluster_leases``; the status is up if all buckets are; and removing a network takes the VNI's keys first and its
record afterwards, so that what is left behind by a crash is a network without rows, which can be removed again.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from vxswitch.errors import StoreUnavailableError
from vxswitch.model import Event, LeaseState, LogEntry, NetworkRecord, NodeRecord, check_vni
from vxswitch.store.base import ClaimResult, LocalMac, StoreCounts, StoreState, StoreStatus, VniDigest, deaf
from vxswitch.store.cluster_leases import Leases
from vxswitch.store.codec import canonical_mac, check_node
from vxswitch.store.redis import RedisStore
from vxswitch.store.redis_connect import Endpoint
from vxswitch.store.redis_scripts import Keys
from vxswitch.store.redis_slots import BucketPlace, Slots
from vxswitch.store.rules import Clock, Rules

BUCKETS = 16  # noted in the store: nodes that count otherwise are refused
QUEUE_LENGTH = 256  # events of all buckets; when it is full they wait in their own queues

T = TypeVar("T")


def bucket_of(vni: int) -> int:
    """The bucket of a VNI: a hash, for VNIs are often chosen in steps."""
    return zlib.crc32(check_vni(vni).to_bytes(3, "big")) % BUCKETS


class ClusterStore:
    """See the head of this file and vxswitch/store/base.py. ``seeds``: some servers of the cluster."""

    def __init__(
        self, shown: str, seeds: list[Endpoint], cluster: str, rules: Rules | None = None, clock: Clock | None = None
    ) -> None:
        self._shown = shown
        self._rules = rules or Rules()
        self._clock = clock or Clock()
        self._keys = [Keys(cluster, bucket, BUCKETS) for bucket in range(BUCKETS)]
        self._slots = Slots(seeds, [keys.nodes for keys in self._keys], self._clock)
        self._buckets: dict[int, RedisStore] = {}
        self._leases = Leases()
        self._closed = False
        self._queue: asyncio.Queue[Event | None] = asyncio.Queue(QUEUE_LENGTH)
        self._pumps: dict[int, asyncio.Task[None]] = {}
        self._node = NodeRecord("", "", 0, ())
        self._reassert: Callable[[int], Iterable[LocalMac]] = lambda vni: ()
        self._heard: Callable[[str], bool] = deaf
        self._made = StoreStatus(shown, "down", "not connected yet", self._clock.wall(), None)

    @property
    def counts(self) -> StoreCounts:
        """What happened since the start, in all buckets."""
        total = StoreCounts()
        for bucket in self._buckets.values():
            total.resyncs.update(bucket.counts.resyncs)
            total.refused.update(bucket.counts.refused)
            total.errors.update(bucket.counts.errors)
            total.poisoned += bucket.counts.poisoned
            total.connects += bucket.counts.connects
            total.beats += bucket.counts.beats
        return total

    @property
    def node(self) -> NodeRecord:
        """This node with the highest epoch that is registered."""
        return max((bucket.node for bucket in self._buckets.values()), key=lambda n: n.epoch, default=self._node)

    def status(self) -> StoreStatus:
        """Up if all buckets are, down if all are; the reason is that of the first one that is not up.

        ``offset`` is that of the first bucket that knows it: the servers of a cluster had better agree on the time.
        """
        if not self._buckets:
            return self._made
        all_of = {number: store.status() for number, store in sorted(self._buckets.items())}
        rtt = max((status.rtt_ms for status in all_of.values() if status.rtt_ms is not None), default=None)
        bad = {number: status for number, status in all_of.items() if status.state != "up"}
        offset = next((status.offset for status in all_of.values() if status.offset is not None), None)
        if not bad:
            reason = next((f"bucket {n}: {status.reason}" for n, status in all_of.items() if status.reason), None)
            return StoreStatus(self._shown, "up", reason, max(status.since for status in all_of.values()), rtt, offset)
        state: StoreState = "down" if all(status.state == "down" for status in all_of.values()) else "degraded"
        number, first = next(iter(bad.items()))
        which = "" if len(bad) == len(all_of) else f"{len(bad)} of {len(all_of)} buckets, as bucket {number}: "
        since = min(status.since for status in bad.values())
        return StoreStatus(self._shown, state, f"{which}{first.reason}", since, rtt, offset)

    def retime(self, lease: float, beat: float, grace: float) -> None:
        """See base.py."""
        self._rules = replace(self._rules, lease=lease, beat=beat, grace=grace)
        for bucket in self._buckets.values():
            bucket.retime(lease, beat, grace)

    async def start(
        self,
        node: NodeRecord,
        reassert: Callable[[int], Iterable[LocalMac]],
        heard: Callable[[str], bool] = deaf,
    ) -> None:
        """Begin with bucket 0; see base.py."""
        self._node, self._reassert, self._heard = check_node(node), reassert, heard
        await self._bucket(0)

    async def close(self, *, leave: bool) -> None:
        """See base.py; ``events`` ends."""
        self._closed = True
        await asyncio.gather(*(bucket.close(leave=leave) for bucket in self._buckets.values()))
        for pump in self._pumps.values():
            pump.cancel()
        await asyncio.gather(*self._pumps.values(), return_exceptions=True)
        if self._queue.full():
            self._queue.get_nowait()
        self._queue.put_nowait(None)

    async def events(self) -> AsyncIterator[Event]:
        """See base.py."""
        while (event := await self._queue.get()) is not None:
            yield event

    # Networks and addresses.

    async def networks(self) -> list[NetworkRecord]:
        """All networks."""
        return await (await self._bucket(0)).networks()

    async def create_network(self, record: NetworkRecord, *, again: bool = False) -> NetworkRecord:
        """See base.py."""
        return await (await self._bucket(0)).create_network(record, again=again)

    async def get_network(self, name: str) -> NetworkRecord | None:
        """The record, None if there is none."""
        return await (await self._bucket(0)).get_network(name)

    async def remove_network(self, name: str) -> None:
        """See base.py, and the head of this file for the order."""

        async def clear(vni: int) -> None:
            await (await self._of(vni)).clear_vni(vni)

        await (await self._bucket(0)).remove_record(name, clear)

    async def allocate_ip(self, vni: int, subnet: str, owner: str) -> str:
        """See base.py."""
        return await (await self._of(vni)).allocate_ip(vni, subnet, owner)

    async def reserve_ip(self, vni: int, subnet: str, address: str, owner: str) -> None:
        """See base.py."""
        await (await self._of(vni)).reserve_ip(vni, subnet, address, owner)

    async def release_ip(self, vni: int, owner: str) -> None:
        """See base.py."""
        await (await self._of(vni)).release_ip(vni, owner)

    # Membership and MACs.

    async def join(self, vni: int) -> None:
        """See base.py."""
        await (await self._of(vni)).join(vni)

    async def leave(self, vni: int) -> None:
        """See base.py."""
        await (await self._of(vni)).leave(vni)

    async def claim(self, macs: list[LocalMac]) -> list[ClaimResult]:
        """See base.py. StoreUnavailableError if any bucket is away; what the others took stays taken."""
        canonical = [canonical_mac(mac) for mac in macs]
        shares = _shares(canonical, lambda mac: mac.vni)
        answers = await _all([(await self._bucket(b)).claim(share) for b, share in shares.items()])
        results = {bucket: iter(answer) for bucket, answer in zip(shares, answers, strict=True)}
        return [next(results[bucket_of(mac.vni)]) for mac in canonical]

    async def release(self, macs: list[tuple[int, bytes]]) -> None:
        """See base.py; as ``claim``."""
        shares = _shares(macs, lambda mac: mac[0])
        await _all([(await self._bucket(bucket)).release(share) for bucket, share in shares.items()])

    async def set_groups(self, vni: int, groups: frozenset[str]) -> None:
        """See base.py."""
        await (await self._of(vni)).set_groups(vni, groups)

    async def history(self, vni: int, mac: bytes | None = None, limit: int = 64) -> list[LogEntry]:
        """See base.py."""
        return await (await self._of(vni)).history(vni, mac, limit)

    async def digest(self, vni: int) -> VniDigest:
        """See base.py."""
        return await (await self._of(vni)).digest(vni)

    def mirror_digest(self, vni: int) -> VniDigest | None:
        """See base.py."""
        bucket = self._buckets.get(bucket_of(vni))
        return None if bucket is None else bucket.mirror_digest(vni)

    async def resync(self, vni: int) -> None:
        """See base.py."""
        await (await self._of(vni)).resync(vni)

    def applied(self, vni: int, rev: int) -> None:
        """See base.py."""
        bucket = self._buckets.get(bucket_of(vni))
        if bucket is not None:
            bucket.applied(vni, rev)

    async def acks(self, vni: int) -> dict[str, int]:
        """See base.py."""
        return await (await self._of(vni)).acks(vni)

    async def thaw(self, vni: int, mac: bytes) -> None:
        """See base.py."""
        await (await self._of(vni)).thaw(vni, mac)

    # The buckets.

    async def _of(self, vni: int) -> RedisStore:
        return await self._bucket(bucket_of(vni))

    async def _bucket(self, number: int) -> RedisStore:
        """A bucket's store; it begins to connect when it is asked for first."""
        if self._closed:
            raise StoreUnavailableError(f"store {self._shown} is closed")
        if number not in self._buckets:
            place = BucketPlace(self._slots, number, self._shown)
            bucket = RedisStore(place, self._keys[number], self._rules, self._clock)
            self._buckets[number] = bucket
            self._leases.add(number)
            await bucket.start(self._node, self._reassert, partial(self._lives_elsewhere, number))
            self._pumps[number] = asyncio.create_task(self._pump(number, bucket), name=f"store bucket {number}")
        return self._buckets[number]

    def _lives_elsewhere(self, number: int, name: str) -> bool:
        """Whether a node that has no lease in a bucket is known to live: it may have lost one server of the cluster."""
        return self._heard(name) or self._leases.lives_elsewhere(number, name)

    async def _pump(self, number: int, bucket: RedisStore) -> None:
        """Hand a bucket's events on; the queue is full only while the consumer is behind."""
        async for event in bucket.events():
            if not isinstance(event, LeaseState):
                await self._queue.put(event)
            elif (merged := self._leases.note(number, event)) is not None:
                await self._queue.put(merged)


def _shares(things: list[T], vni: Callable[[T], int]) -> dict[int, list[T]]:
    """What belongs to each bucket, in order."""
    shares: dict[int, list[T]] = {}
    for thing in things:
        shares.setdefault(bucket_of(vni(thing)), []).append(thing)
    return shares


async def _all(calls: list[Coroutine[Any, Any, T]]) -> list[T]:
    """All calls to their end, whatever becomes of the others; then the worst error, if there was any."""
    answers = await asyncio.gather(*calls, return_exceptions=True)
    errors = [answer for answer in answers if isinstance(answer, BaseException)]
    if errors:
        raise next((error for error in errors if not isinstance(error, StoreUnavailableError)), errors[0])
    return [answer for answer in answers if not isinstance(answer, BaseException)]
