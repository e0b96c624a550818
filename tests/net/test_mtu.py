"""MTUs other than Ethernet's: computed from the underlay, and too large ones named where they die."""

from __future__ import annotations

import pytest

from tests.net import traffic
from tests.net.containers import Container, ask, attach
from tests.net.underlay import grown
from vxswitch.lab import Lab, SwitchProcess, ping, tcp_transfer

ICMP = 28  # IPv4 and ICMP headers, bytes


def ends(lab: Lab, *args: str) -> tuple[SwitchProcess, Container, Container]:
    """The first host's switch, and a container on each host."""
    one, two = lab.hosts
    near = one.switch("--network", "red=100", "--peer", two.ip4, *args, wait=False)
    far = two.switch("--network", "red=100", "--peer", one.ip4, *args, wait=False)
    near.wait_ready()
    far.wait_ready()
    return near, attach(lab, near, "red", "one", "10.9.0.1"), attach(lab, far, "red", "two", "10.9.0.2")


@pytest.mark.parametrize("mtu", [1280, 9000])
def test_the_inner_mtu_is_the_underlays_less_the_overhead(mtu: int) -> None:
    with Lab(hosts=2, mtu=mtu) as lab:
        _, one, two = ends(lab)
        assert (one.mtu, two.mtu) == (mtu - 50, mtu - 50)
        traffic.everything(one.namespace, two.namespace, two.ip, mtu - 50, 20_000_000)


def test_a_network_whose_mtu_the_underlay_does_not_carry_says_so() -> None:
    """R06: never fragmented; what is too large is `underlay_mtu`, and everything smaller passes, super-frames too."""
    with Lab(hosts=2, mtu=1450) as lab:
        switch, one, two = ends(lab, "--set", "networks.mtu=1450")
        assert one.mtu == 1450
        before = ask(switch, "drops")
        assert ping(one.namespace, two.ip, count=5, size=1400 - ICMP, df=True).lost == 0
        assert ping(one.namespace, two.ip, count=1, size=1401 - ICMP, df=True, wait=0.2).received == 0
        assert grown(switch, before) == {"underlay_mtu": 1}
        one.namespace.ip("route replace 10.9.0.0/24 dev eth0 advmss 1360")
        two.namespace.ip("route replace 10.9.0.0/24 dev eth0 advmss 1360")
        assert tcp_transfer(one.namespace, two.namespace, two.ip, 10_000_000).intact
        assert grown(switch, before) == {"underlay_mtu": 1}
