"""A lossy underlay: TCP arrives whole over it, and what is lost there is not the switch's doing."""

from __future__ import annotations

from tests.net import traffic
from tests.net.containers import ask, attach
from tests.net.underlay import grown
from vxswitch.lab import Lab, ping


def test_tcp_arrives_whole_over_a_lossy_underlay() -> None:
    with Lab(hosts=2) as lab:
        one, two = lab.hosts
        near = one.switch("--network", "red=100", "--peer", two.ip4, wait=False)
        far = two.switch("--network", "red=100", "--peer", one.ip4, wait=False)
        near.wait_ready()
        far.wait_ready()
        here, there = attach(lab, near, "red", "one", "10.9.0.1"), attach(lab, far, "red", "two", "10.9.0.2")
        assert ping(here.namespace, there.ip).lost == 0
        before = [ask(switch, "drops") for switch in (near, far)]
        for host in lab.hosts:
            lose = ["-m", "statistic", "--mode", "random", "--probability", "0.02", "-j", "DROP"]
            host.run(["iptables", "-A", "INPUT", "-p", "udp", "--dport", "4789", *lose])
        traffic.tcp(here.namespace, there.namespace, there.ip, 10_000_000)
        traffic.tcp(there.namespace, here.namespace, here.ip, 10_000_000)
        assert [grown(switch, drops) for switch, drops in zip((near, far), before, strict=True)] == [{}, {}]
