"""Whatever the store or another node does: no frame between known MACs is lost, and all tables are the same soon after.

Each fault of `benchmarks.faults` on real servers and switches, with 200 frames a second both ways between two
containers, and a hundred MACs. `make faults` does the same for longer and writes down what it measured.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from benchmarks.faults import nodes, store
from benchmarks.faults.fault import Fault
from benchmarks.faults.trial import P99_NOISE, Counters, attempt
from benchmarks.faults.world import CLUSTER, VNI, World, ask, world
from vxswitch.lab import until
from vxswitch.model import NodeRecord, Vtep
from vxswitch.store.base import LocalMac
from vxswitch.store.redis import RedisStore
from vxswitch.store.redis_connect import Endpoint
from vxswitch.store.rules import Rules

TIMERS = ("--set", "timers.lease=1.5", "--set", "timers.beat=0.3")
QUIET, HOLD = 0.2, 0.2  # seconds
BRIEF = [fault for fault in (*store.FAULTS, *nodes.FAULTS) if fault.name != "evicting"]  # tests/store has that one
MANY = 10_000
SLOW = 60.0  # seconds for that many, on a machine with other work


@pytest.fixture(scope="module")
def under_test() -> Iterator[tuple[World, Counters]]:
    with world(*TIMERS) as made:
        yield made, Counters(made)


@pytest.mark.parametrize("fault", BRIEF, ids=lambda fault: fault.name)
def test_nothing_is_lost_and_all_is_whole_again(under_test: tuple[World, Counters], fault: Fault) -> None:
    made, counters = under_test
    outcome = attempt(made, fault, counters, quiet=QUIET, hold=HOLD)
    assert outcome.complaints() == []


def test_ten_thousand_rows_that_come_and_go_hold_up_no_frame(under_test: tuple[World, Counters]) -> None:
    """A node that claims all of them at once and leaves again: every switch reads them beside its frames."""
    made, _ = under_test
    since = time.time_ns()
    asyncio.run(come_and_go(made))
    until(made.whole, SLOW, "the rows to be gone again", interval=0.2)
    for way in made.meter.between(since, time.time_ns()):
        assert (way.lost, way.duplicates) == (0, 0)
        assert way.p99 < P99_NOISE


async def come_and_go(made: World) -> None:
    """Be a node with ``MANY`` MACs until every switch knows them, then leave."""
    path = str(made.store.unix_socket)
    crowd = RedisStore(Endpoint(f"unix://{path}", path=path), CLUSTER, Rules(lease=30.0, command_timeout=10.0))
    macs = [LocalMac(VNI, b"\x02\x11" + n.to_bytes(4, "big"), "attach") for n in range(MANY)]
    await crowd.start(NodeRecord("crowd", "uid-crowd", 1, (Vtep("10.77.0.200"),)), lambda vni: macs)
    try:
        await crowd.join(VNI)
        wanted = MANY + len(made.macs)
        reading = [asyncio.to_thread(_until_rows, made, number, wanted) for number in range(len(made.switches))]
        await asyncio.gather(*reading)
        await crowd.leave(VNI)
    finally:
        await crowd.close(leave=True)


def _until_rows(made: World, number: int, count: int) -> None:
    until(lambda: ask(made.switches[number], "status")["macs"] == count, SLOW, f"{count} rows", interval=0.2)
