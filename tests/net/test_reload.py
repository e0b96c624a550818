"""SIGHUP: networks, peers and limits change while frames flow; what cannot change is named and left as it was."""

from __future__ import annotations

import os
import signal

from tests.net.containers import ask, attach, flood_list
from tests.net.pair import link
from tests.net.wire import DEADLINE
from vxswitch.lab import Host, Lab, LossMeter, ping, until

CONFIG = """
[underlay]
peers = {peers}
{more}
[limits]
port_macs = 8
[networks]
host_port = false
[networks.red]
vni = 100
{networks}
"""
BLUE = "[networks.blue]\nvni = 200\n"


class Configured:
    """A switch with a configuration file, and the one peer that it always has."""

    def __init__(self, host: Host, peer: Host) -> None:
        self.file = host.directory / f"{host.label}.toml"
        self.peer = peer.ip4
        self._write([], "", "")
        self.switch = host.switch("--config", str(self.file))

    def reload(self, *peers: str, networks: str = "", more: str = "") -> None:
        """Write the file anew and say so."""
        self._write(list(peers), networks, more)
        os.kill(self.switch.pid, signal.SIGHUP)

    def _write(self, peers: list[str], networks: str, more: str) -> None:
        self.file.write_text(CONFIG.format(peers=[self.peer, *peers], networks=networks, more=more))

    def networks(self) -> set[str]:
        return {network["name"] for network in ask(self.switch, "status")["networks"]}


def test_a_new_configuration_takes_effect_without_losing_a_frame() -> None:
    with Lab(hosts=2) as lab:
        one, two = (Configured(*hosts) for hosts in (lab.hosts, reversed(lab.hosts)))
        here, there = attach(lab, one.switch, "red", "r1", "10.9.0.1"), attach(lab, two.switch, "red", "r2", "10.9.0.2")
        with LossMeter(here.namespace, there.ip, 0.005) as meter:
            meter.first_reply(DEADLINE)
            for each in (one, two):
                each.reload(networks=BLUE)
                each.switch.vx("network", "wait", "blue", "--timeout", "10")
            blue = [attach(lab, each.switch, "blue", f"b{i}", f"10.8.0.{i}") for i, each in enumerate((one, two), 1)]
            assert ping(blue[0].namespace, blue[1].ip).lost == 0
            one.reload(networks=BLUE, more="strict_reserved = true")
            until(lambda: "underlay.strict_reserved" in one.switch.stderr_tail(), DEADLINE, "what cannot change")
            one.reload("not an address", networks=BLUE)
            until(lambda: "not an address" in one.switch.stderr_tail(), DEADLINE, "what is wrong to be named")
            assert one.networks() == {"red", "blue"}
            one.reload("10.77.0.9")
            until(lambda: one.networks() == {"red"}, DEADLINE, "the network to go")
            assert link(blue[0].namespace) is None
            meter.next_reply(DEADLINE)
        assert (meter.result.lost, meter.result.duplicates) == (0, 0)
        assert flood_list(one.switch, "red") == ["10.77.0.2:4789", "10.77.0.9:4789"]
