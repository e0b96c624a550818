"""The conservation law of ``counters`` over whole fabrics, exactly, at every host.

Offered and delivered are counted a second time outside the switch: by what was put into the ports and onto the wire,
and by what came out of them.
"""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.dataplane.fabric import Fabric
from tests.dataplane.frames import VNET, wire_count
from tests.dataplane.world import World


def check(world: World) -> None:
    fabric = world.fabric
    fabric.check_law()
    arrived = sum(r.frames for h in fabric.hosts for r in h.underlay.receivers.values())
    sent = sum(h.underlay.sent for h in fabric.hosts)
    assert sent == len(fabric.sent)
    assert arrived == sent - fabric.lost + fabric.injected
    for port, count in world.offered.items():
        assert port.rx_frames == count or port.inbox, "read, and counted as something else than was sent"
        came = sum(map(wire_count, port.outbox))
        whole = sum(VNET.unpack_from(data)[1] != 0 for data in port.outbox)
        assert came == port.tx_frames or whole, "written, and counted as something else than came out"


@pytest.mark.parametrize("seed", range(24))
def test_nothing_is_lost_or_made_in_a_random_overlay(seed: int) -> None:
    seen: Counter[str] = Counter()
    with Fabric(seed, loss=0.05 if seed % 3 == 0 else 0.0, mtu=1500 if seed % 4 == 0 else 65535) as fabric:
        world = World(fabric)
        for _ in range(40):
            world.random.choices((world.send, world.inject, world.change), (5, 3, 2))[0]()
            fabric.run()
            check(world)
        for host in fabric.hosts:
            seen.update(host.drops())
        assert seen and sum(p.tx_frames for h in fabric.hosts for p in h.ports) + sum(seen.values()) > 100


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.lists(st.sampled_from(("send", "inject", "change")), max_size=25))
def test_nothing_is_lost_or_made_whatever_happens_in_which_order(seed: int, steps: list[str]) -> None:
    with Fabric(seed) as fabric:
        world = World(fabric)
        for step in steps:
            getattr(world, step)()
        fabric.run()
        check(world)
