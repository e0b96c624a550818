"""Open vSwitch's userspace datapath as peer, both directions; a wire-like underlay, which that datapath asks for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.net import traffic
from tests.net.containers import Container, attach
from tests.net.ovs_peer import OvsPeer, ovs_peer
from tests.net.wire import BROADCAST, Wire, frame
from vxswitch.lab import Lab

MTU = 1450
OUR_IP6 = "fd09::1"


@pytest.fixture(scope="module")
def ends() -> Iterator[tuple[Container, OvsPeer]]:
    """Our container and Open vSwitch's."""
    with Lab(hosts=2, wire_like=True) as lab:
        one, two = lab.hosts
        theirs = ovs_peer(lab, two, one.ip4, vni=100, mtu=MTU)
        switch = one.switch("--network", "red=100", "--peer", two.ip4)
        yield attach(lab, switch, "red", "ours", "10.9.0.1", ip6=OUR_IP6), theirs


def test_ping_tcp_and_udp_to_open_vswitch(ends: tuple[Container, OvsPeer]) -> None:
    ours, theirs = ends
    traffic.everything(ours.namespace, theirs.namespace, theirs.ip, MTU)
    traffic.everything(ours.namespace, theirs.namespace, theirs.ip6, MTU, 20_000_000)


def test_ping_tcp_and_udp_from_open_vswitch(ends: tuple[Container, OvsPeer]) -> None:
    ours, theirs = ends
    traffic.everything(theirs.namespace, ours.namespace, ours.ip, MTU)
    traffic.everything(theirs.namespace, ours.namespace, OUR_IP6, MTU, 20_000_000)


def test_broadcasts_pass_once_each_way(ends: tuple[Container, OvsPeer]) -> None:
    ours, theirs = ends
    with Wire(ours.namespace) as here, Wire(theirs.namespace) as there:
        for source, destination, mac in ((here, there, ours.mac), (there, here, "02:0b:00:00:00:02")):
            probe, marker = frame(BROADCAST, mac, b"once"), frame(BROADCAST, mac, b"marker")
            source.send(probe)
            source.send(marker)
            assert destination.until(marker).count(probe) == 1
