"""A peer that answers with ICMP errors only costs a live one nothing, under the loop that the switch really uses."""

from __future__ import annotations

from tests.net.containers import ask, attach
from tests.net.underlay import grown, icmp_unreachables, strays_are_counted
from tests.net.wire import BROADCAST, Wire, frame
from vxswitch.lab import Lab, ping

BATCHES, BATCH = 150, 10


def test_a_thousand_icmp_errors_of_a_dead_peer_cost_a_live_one_nothing() -> None:
    with Lab(hosts=3) as lab:
        one, two, dead = lab.hosts  # nothing listens on the third: its kernel answers "port unreachable"
        dead.run(["sysctl", "-qw", "net.ipv4.icmp_ratemask=0"])  # every time
        args = ("--network", "red=100", "--set", "networks.host_port=false", "--set", "limits.bum_burst=1000000")
        switch = one.switch(*args, "--peer", two.ip4, "--peer", dead.ip4, wait=False)
        other = two.switch(*args, "--peer", one.ip4, wait=False)
        switch.wait_ready()
        other.wait_ready()
        near = attach(lab, switch, "red", "near", "10.9.0.1")
        far = attach(lab, other, "red", "far", "10.9.0.2")
        before, errors = ask(switch, "drops"), icmp_unreachables(one)
        with Wire(near.namespace) as here, Wire(far.namespace) as there:
            for number in range(BATCHES):  # each batch arrives before the next leaves: errors and sends alternate
                batch = [frame(BROADCAST, near.mac, b"%d, %d" % (number, n)) for n in range(BATCH)]
                for data in batch:
                    here.send(data)
                assert there.until(batch[-1]) == batch[:-1]
        assert icmp_unreachables(one) - errors >= 1000
        assert grown(switch, before) == {}
        assert ping(near.namespace, far.ip, count=20).lost == 0
        strays_are_counted(one, two, switch)
