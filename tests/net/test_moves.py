"""A station that re-appears behind another host is followed; one that is in two places is frozen, and hurts nobody.

Stations are addresses on the hosts' own TAPs, behind which a bridge may stand. Timers are the defaults.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median

import pytest
from scapy.layers.l2 import ARP, Ether

from tests.net.containers import Container, ask, attach, full_mesh, rows
from tests.net.wire import BROADCAST, DEADLINE, Wire
from vxswitch.lab import Lab, LossMeter, SwitchProcess, until

MOVES = 8
TARGET, GENEROUS = 0.2, 2.0  # seconds from the first gratuitous ARP until a third host sends to the new place
ROUNDS = 40  # announcements by turns: the fifth contested move within 180 s freezes


@dataclass(frozen=True, slots=True)
class Trio:
    """Three hosts in network red: their switches, their own TAPs, and a container on the first and the last."""

    lab: Lab
    switches: tuple[SwitchProcess, ...]
    wires: tuple[Wire, ...]
    containers: tuple[Container, Container]


@pytest.fixture(scope="module")
def trio() -> Iterator[Trio]:
    with Lab(hosts=3) as lab, ExitStack() as stack:
        store = lab.redis()
        switches = tuple(host.switch("--store", store.url, "--network", "red=100", wait=False) for host in lab.hosts)
        for switch in switches:
            switch.wait_ready()
        wires = tuple(stack.enter_context(Wire(host, "vx-red")) for host in lab.hosts)
        ends = [attach(lab, switches[n], "red", f"c{n}", f"10.9.0.{n + 1}") for n in (0, 2)]
        until(lambda: full_mesh(switches, "red"), DEADLINE, "full flood lists")
        macs = {end.mac for end in ends}
        until(lambda: all(macs <= rows(s, "red").keys() for s in switches), DEADLINE, "both claims everywhere")
        yield Trio(lab, switches, wires, (ends[0], ends[1]))


def announcement(mac: str, ip: str) -> bytes:
    arp = ARP(op=1, hwsrc=mac, psrc=ip, hwdst="00:00:00:00:00:00", pdst=ip)
    return bytes(Ether(src=mac, dst=BROADCAST) / arp)


def place(switch: SwitchProcess, mac: str) -> str | None:
    """The node behind which a switch has this MAC."""
    row = rows(switch, "red").get(mac)
    return row["node"] if row is not None else None


def test_a_station_is_followed_by_a_third_host_from_its_first_gratuitous_arp_on(trio: Trio) -> None:
    watcher, took = trio.switches[2], []
    for number in range(MOVES):
        mac, ip = f"02:cc:00:00:00:{number:02x}", f"10.9.1.{number}"
        trio.wires[0].send(announcement(mac, ip))
        until(lambda mac=mac: place(watcher, mac) == "h1", DEADLINE, "the station to be known")
        began = time.monotonic()
        trio.wires[1].send(announcement(mac, ip))
        until(lambda mac=mac: place(watcher, mac) == "h2", DEADLINE, "the station to be followed", interval=0.002)
        took.append(time.monotonic() - began)
        assert rows(watcher, "red")[mac]["ips"] == [ip]
    assert median(took) <= TARGET and max(took) <= GENEROUS, took
    until(lambda: all(place(s, "02:cc:00:00:00:00") == "h2" for s in trio.switches), DEADLINE, "all to agree")


def test_a_station_in_two_places_is_frozen_and_named_and_others_lose_nothing(trio: Trio) -> None:
    mac, near = "02:dd:00:00:00:01", trio.switches[0]
    with LossMeter(trio.containers[0].namespace, trio.containers[1].ip, 0.01) as meter:
        meter.first_reply(DEADLINE)

        def frozen() -> bool:
            return "frozen" in rows(trio.switches[2], "red").get(mac, {"flags": ()})["flags"]

        for number in range(ROUNDS):
            trio.wires[number % 2].send(announcement(mac, "10.9.2.1"))
            home = f"h{number % 2 + 1}"
            until(lambda home=home: frozen() or place(trio.switches[2], mac) == home, DEADLINE, "the move")
            if frozen():
                break
        until(lambda: all("frozen" in rows(s, "red")[mac]["flags"] for s in trio.switches), DEADLINE, "all to know")
        owner = place(near, mac)
        for wire in (*trio.wires[:2], *trio.wires[:2]):  # both go on, and it stays where it is
            wire.send(announcement(mac, "10.9.2.1"))
        for _ in range(20):
            meter.next_reply(DEADLINE)
        assert {place(s, mac) for s in trio.switches} == {owner}
    assert meter.result.lost == 0, meter.result.longest_gap()
    assert all(ask(s, "stats")["macs_frozen"] == 1 for s in trio.switches)
    told = [line for line in near.stderr_tail(200).splitlines() if "duplicate" in line and mac in line]
    assert len(told) == 1 and "node h1" in told[0] and "node h2" in told[0]
    assert any("red/vx-red" in s.stderr_tail(200) for s in trio.switches[:2])
    near.vx("fdb", "thaw", "red", mac)
    until(lambda: not any("frozen" in rows(s, "red")[mac]["flags"] for s in trio.switches), DEADLINE, "the thaw")
