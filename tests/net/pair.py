"""Two hosts with a store in one network, a container on each: what the tests of life and death begin with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.net.containers import Container, ask, attach, full_mesh, rows
from tests.net.wire import DEADLINE
from vxswitch.lab import Lab, Namespace, StoreServer, SwitchProcess, ping, until

TIMERS = ("--set", "timers.lease=1.5", "--set", "timers.beat=0.5")


@dataclass(frozen=True, slots=True)
class Pair:
    """``one`` is attached on the first host, ``two`` on the second, both to network red."""

    lab: Lab
    store: StoreServer
    switches: tuple[SwitchProcess, SwitchProcess]
    one: Container
    two: Container


@contextmanager
def joined_pair(*args: str) -> Iterator[Pair]:
    """Both switches with ``args``; each knows the other and both containers."""
    with Lab(hosts=2) as lab:
        store = lab.redis(persist=True)
        common = ("--store", store.url, "--network", "red=100", *TIMERS, *args)
        first, second = (host.switch(*common, wait=False) for host in lab.hosts)
        first.wait_ready()
        second.wait_ready()
        one = attach(lab, first, "red", "one", "10.9.0.1")
        two = attach(lab, second, "red", "two", "10.9.0.2")
        pair = Pair(lab, store, (first, second), one, two)
        until(lambda: full_mesh(pair.switches, "red"), DEADLINE, "both nodes to know each other")
        until(lambda: all(claimed(s) >= {one.mac, two.mac} for s in pair.switches), DEADLINE, "both claims everywhere")
        yield pair


def claimed(switch: SwitchProcess) -> set[str]:
    """The MACs of red with a row that the store confirmed."""
    return {mac for mac, row in rows(switch, "red").items() if row["source"] == "claimed" or row["rev"] is not None}


def link(where: Namespace, name: str = "eth0") -> dict[str, Any] | None:
    """``ip link`` of one interface, None if there is none."""
    found = json.loads(where.run(["ip", "-j", "-d", "link"]).stdout)
    return next((one for one in found if one["ifname"] == name), None)


def port(switch: SwitchProcess, container: Container) -> dict[str, Any] | None:
    """The port of a container as its switch describes it, None if it knows none."""
    return next((one for one in ask(switch, "ports") if one["mac"] == container.mac), None)


def reaches(source: Container, destination: Container) -> bool:
    """One ping is answered."""
    return ping(source.namespace, destination.ip, count=1, wait=0.3).lost == 0
