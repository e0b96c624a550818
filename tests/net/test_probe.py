"""Probes in the data path: who is dead is found within a second, who only lost the store is not, and the way's MTU.

The first host probes fast, so that a search for an MTU takes no time; the second has the default timers; the third is
shared among processes, so its answers come from, and ours to it arrive at, either of them.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.net.containers import Container, ask, attach, flood_list, full_mesh, rows
from tests.net.wire import BROADCAST, DEADLINE, Wire, frame
from vxswitch.lab import Host, Lab, LossMeter, StoreServer, SwitchProcess, ping, until
from vxswitch.lab.store import PORT

LEASE = 1.6  # seconds
TIMERS = ("--set", f"timers.lease={LEASE}", "--set", "timers.beat=0.4")
SOON = 0.005  # seconds between two looks
SMALLER = 1400


@dataclass(frozen=True, slots=True)
class Trio:
    """Three switches in network red, with one container each."""

    lab: Lab
    store: StoreServer
    switches: tuple[SwitchProcess, SwitchProcess, SwitchProcess]
    containers: tuple[Container, Container, Container]

    def peer(self, at: int, of: int) -> dict[str, Any]:
        """What one switch says of another one."""
        name = self.switches[of].ready["node"]
        return next(row for row in ask(self.switches[at], "peers") if row["node"] == name)

    def well(self) -> bool:
        """Everybody hears everybody."""
        pairs = [(a, b) for a in range(3) for b in range(3) if a != b]
        return full_mesh(self.switches, "red") and all(self.peer(a, b)["rtt_us"] is not None for a, b in pairs)


@pytest.fixture(scope="module")
def lab_of_three() -> Iterator[Trio]:
    with Lab(hosts=3) as lab:
        store = lab.redis()
        own = ("--set", "timers.probe=0.1"), (), ("--workers", "2")
        common = ("--store", store.url, "--network", "red=100", "--set", "networks.host_port=false", *TIMERS)
        one, two, three = (host.switch(*common, *args, wait=False) for host, args in zip(lab.hosts, own, strict=True))
        for switch in (one, two, three):
            switch.wait_ready()
        first, second, third = (
            attach(lab, switch, "red", f"c{n}", f"10.9.0.{n}") for n, switch in enumerate((one, two, three), 1)
        )
        yield Trio(lab, store, (one, two, three), (first, second, third))


@pytest.fixture
def trio(lab_of_three: Trio) -> Trio:
    until(lab_of_three.well, DEADLINE, "everybody to hear everybody")
    return lab_of_three


def test_round_trip_loss_and_mtu_are_shown_and_nothing_is_dropped(trio: Trio) -> None:
    def shown() -> bool:
        told = [row for switch in trio.switches for row in ask(switch, "peers")]
        return all(row["mtu"] == 1500 and 0 < row["rtt_us"] < 1e6 for row in told)

    until(shown, DEADLINE, "every round trip and MTU")
    first = trio.switches[0]

    def all_ways() -> bool:
        """More probes than a pool has source ports: both processes of the third host were asked, and answered."""
        return int(ask(first, "stats")["probes_sent"]) > 2 * 64

    until(all_ways, DEADLINE, "every source port to have been used")
    assert trio.peer(0, 2)["loss"] < 0.1 and trio.peer(2, 0)["loss"] < 0.1
    drops = ask(first, "drops")
    assert (drops["no_i_flag"], drops["unknown_vtep"], drops["stray_datagram"]) == (0, 0, 0)


def test_a_killed_node_is_out_of_the_flood_lists_by_its_probe(trio: Trio) -> None:
    watcher, dead = trio.switches[1:]
    vtep = trio.peer(1, 2)["vtep"]
    dead.kill()
    killed = time.monotonic()
    until(lambda: vtep not in flood_list(watcher, "red"), DEADLINE, "it to be left out", interval=SOON)
    took = time.monotonic() - killed
    found = trio.peer(1, 2)
    print(f"out of the flood list after {took:.3f} s, with {found['lease']} s of its lease left")
    assert found["state"] == "suspended"
    assert took < LEASE and found["lease"] > 0, "the lease found it, not the probe"
    assert rows(watcher, "red")[trio.containers[2].mac]["hop"] == "remote"  # its rows stay
    dead.start()


def test_a_node_that_ends_is_out_at_once(trio: Trio) -> None:
    """Its last answer is younger than a second, and does not outvote its own word."""
    first, last = trio.switches[1], trio.switches[2]
    vtep = trio.peer(1, 2)["vtep"]
    last.stop()
    assert vtep not in flood_list(first, "red")
    last.start()


def test_a_node_that_is_killed_while_the_store_hangs_is_found_too(trio: Trio) -> None:
    vtep = trio.peer(1, 2)["vtep"]
    trio.store.pause()
    try:
        trio.switches[2].kill()
        gone = trio.switches[1]
        until(lambda: vtep not in flood_list(gone, "red"), DEADLINE, "it to be left out", interval=SOON)
        assert len(flood_list(gone, "red")) == 1  # and nobody else
    finally:
        trio.store.resume()
        trio.switches[2].start()


def test_a_node_that_loses_only_the_store_keeps_its_traffic(trio: Trio) -> None:
    cut_off, second = trio.lab.hosts[0], trio.switches[1]
    rule = ["INPUT", "-p", "tcp", "--sport", str(PORT), "-j", "DROP"]
    states: set[str] = set()

    def lapsed() -> bool:
        row = trio.peer(1, 0)
        states.add(row["state"])
        return not row["lease"]

    with LossMeter(trio.containers[0].namespace, trio.containers[1].ip, 0.01) as meter:
        meter.first_reply(DEADLINE)
        cut_off.run(["iptables", "-A", *rule])
        try:
            until(lapsed, 3 * LEASE + DEADLINE, "its lease to run out")
            end = time.monotonic() + 1.0
            until(lambda: lapsed() and time.monotonic() > end, DEADLINE, "what follows from that")
            assert len(flood_list(second, "red")) == 2
        finally:
            cut_off.run(["iptables", "-D", *rule])
    assert states == {"live"}
    assert (meter.result.lost, meter.result.duplicates) == (0, 0)


def test_a_node_that_stood_still_past_its_lease_takes_nothing_back_and_floods_nobody(trio: Trio) -> None:
    """Meanwhile its container's address has appeared on another host, and frames have waited in its TAP."""
    one, _, three = trio.switches
    stayed, moved = trio.containers[1], trio.containers[2]
    os.kill(three.pid, signal.SIGSTOP)
    try:
        until(lambda: trio.peer(1, 2)["state"] == "suspended", DEADLINE, "it to be suspended")
        again = attach(trio.lab, one, "red", "again", moved.ip, "--mac", moved.mac)
        until(lambda: not trio.peer(1, 2)["lease"], LEASE + DEADLINE, "its lease to run out")
        until(lambda: there(trio, 1, moved.mac) == "h1", DEADLINE, "the second host to follow")
        with Wire(moved.namespace) as old, Wire(stayed.namespace) as wire:
            old.send(frame(stayed.mac, moved.mac, b"from the dead"))
            os.kill(three.pid, signal.SIGCONT)
            seen: set[str | None] = set()

            def back() -> bool:
                seen.update((there(trio, 0, moved.mac), there(trio, 1, moved.mac)))
                return trio.well() and there(trio, 2, moved.mac) == "h1"

            until(back, LEASE + DEADLINE, "it to be back and to know who has the address")
            assert seen == {"h1"}
            assert ping(stayed.namespace, again.ip, count=5).lost == 0
            with Wire(trio.containers[0].namespace) as bystander:
                last = frame(BROADCAST, stayed.mac, b"that is all")
                wire.send(last)
                assert all(moved.mac not in data[6:12].hex(":") for data in bystander.until(last))
    finally:
        os.kill(three.pid, signal.SIGCONT)


def there(trio: Trio, at: int, mac: str) -> str | None:
    """The node that has a MAC, says one switch."""
    row = rows(trio.switches[at], "red").get(mac)
    return None if row is None else row["node"]


def test_a_smaller_mtu_on_the_way_in_one_direction_is_shown_where_it_matters(trio: Trio) -> None:
    rule = ["INPUT", "-p", "udp", "--dport", "4789", "-m", "length", "--length", f"{SMALLER + 1}:65535", "-j", "DROP"]
    host: Host = trio.lab.hosts[1]
    host.run(["iptables", "-A", *rule])
    try:
        until(lambda: trio.peer(0, 1)["mtu"] == SMALLER, 3 * DEADLINE, "the first host to find the limit")
        there_, back = trio.peer(0, 1), trio.peer(1, 0)
        assert there_["state"] == "live" and back["mtu"] == 1500
        assert f"at most {SMALLER} bytes" in trio.switches[0].stderr_tail(50)
    finally:
        host.run(["iptables", "-D", *rule])
    until(lambda: trio.peer(0, 1)["mtu"] == 1500, DEADLINE, "the full size to be found again")
