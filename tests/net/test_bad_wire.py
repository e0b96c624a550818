"""TCP arrives whole over an underlay that loses, doubles and overtakes, and no switch loses anything of its own."""

from __future__ import annotations

import pytest

from tests.net import traffic
from tests.net.bad_wire import BadWire
from tests.net.containers import ask, attach
from tests.net.underlay import grown
from vxswitch.lab import Lab, ping

SIZE = 5_000_000


@pytest.mark.parametrize("options", [(), ("--set", "underlay.kernel_cut=on")], ids=["numpy_cuts", "kernel_cuts"])
def test_tcp_arrives_whole_over_a_wire_that_loses_doubles_and_overtakes(options: tuple[str, ...]) -> None:
    with Lab(hosts=2, wire_like=True) as lab, BadWire(lab, loss=0.005, double=0.03, late=0.05) as wire:
        one, two = lab.hosts
        near = one.switch("--network", "red=100", "--peer", two.ip4, *options, wait=False)
        far = two.switch("--network", "red=100", "--peer", one.ip4, *options, wait=False)
        near.wait_ready()
        far.wait_ready()
        here, there = attach(lab, near, "red", "one", "10.9.0.1"), attach(lab, far, "red", "two", "10.9.0.2")
        assert ping(here.namespace, there.ip).received
        before = [ask(switch, "drops") for switch in (near, far)]
        traffic.tcp(here.namespace, there.namespace, there.ip, SIZE)
        traffic.tcp(there.namespace, here.namespace, here.ip, SIZE)
        assert [grown(switch, drops) for switch, drops in zip((near, far), before, strict=True)] == [{}, {}]
    for lane in wire.lanes:
        assert min(lane.lost, lane.doubled, lane.delayed) > 0, vars(lane)
