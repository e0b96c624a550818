"""MACs move about in an orderly way, for long: nothing freezes, nothing sticks, and everybody agrees in the end."""

from __future__ import annotations

import asyncio
import random

from tests.store.conftest import World
from tests.store.nodes import mac
from tests.store.servers import until
from vxswitch.store.memory_hub import MemoryHub

VNI = 4096
MACS = 8
IN_MEMORY, ON_A_SERVER = 10_000, 500


async def test_orderly_moves_freeze_nothing(anywhere: World) -> None:
    """By attach or by gratuitous ARP; the old port goes before, or is found to be gone a moment later."""
    nodes = {name: await anywhere.member(name, VNI) for name in ("one", "two", "three")}
    chance, owner = random.Random(5), dict.fromkeys(range(MACS), "one")
    for number in owner:
        await nodes["one"].attach(VNI, number)
    moves = IN_MEMORY if isinstance(getattr(nodes["one"].store, "_hub", None), MemoryHub) else ON_A_SERVER
    for _ in range(moves):
        number, to = chance.randrange(MACS), chance.choice(sorted(nodes))
        before, owner[number] = owner[number], to
        await asyncio.sleep(0)  # a store in memory never waits, and leases want to be renewed
        if before == to:
            continue
        first = chance.random() < 0.5
        if first:
            await nodes[before].detach(VNI, number)
        evidence = chance.choice(("attach", "garp", "na", "rarp"))
        assert (await nodes[to].attach(VNI, number, evidence)).refused is None  # type: ignore[arg-type]
        if not first:
            await nodes[before].detach(VNI, number)
    for node in nodes.values():
        await until(node.has(VNI, owner))
        assert [node.table(VNI).rows[mac(number)].flags for number in owner] == [()] * MACS
