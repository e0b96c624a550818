"""Every frame that a limit or a policy throws away has its name: what was sent = what arrived + the drops."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import pytest

from tests.net.containers import Container, ask, attach, rows
from tests.net.underlay import grown
from tests.net.wire import BROADCAST, DEADLINE, Wire, frame, source_of
from vxswitch.lab import Lab, SwitchProcess, ping, until

FRAMES, BATCH = 5000, 200  # a batch fits the queue of a TAP
BURST = 2000  # interfaces: limits.bum_burst
NOBODY = "02:ff:ff:ff:ff:fe"

_labels = itertools.count(10)


@dataclass(frozen=True, slots=True)
class Ends:
    """Two hosts. In ``blue`` unknown destinations are dropped, any source is allowed, a port has room for two MACs."""

    lab: Lab
    near: SwitchProcess
    far: SwitchProcess

    def attach(self, switch: SwitchProcess, network: str, *args: str) -> Container:
        """One more container."""
        number = next(_labels)
        return attach(self.lab, switch, network, f"c{number}", f"10.9.0.{number}", *args)


@pytest.fixture(scope="module")
def ends() -> Iterator[Ends]:
    with Lab(hosts=2) as lab:
        args = ["--network", "red=100", "--network", "blue=200", "--set", "networks.host_port=false"]
        args += ["--set", "networks.blue.unknown=drop", "--set", "networks.blue.antispoof=off"]
        args += ["--set", "limits.port_macs=2"]
        first, second = lab.hosts
        near = first.switch(*args, "--peer", second.ip4, wait=False)
        far = second.switch(*args, "--peer", first.ip4, wait=False)
        near.wait_ready()
        far.wait_ready()
        yield Ends(lab, near, far)


def taken(switch: SwitchProcess, container: Container) -> int:
    """Frames that the switch has read from a port."""
    return int(next(one["rx_frames"] for one in ask(switch, "ports") if one["id"] == container.port))


def has_read(switch: SwitchProcess, container: Container, frames: int) -> bool:
    return taken(switch, container) == frames


def arrived(ends: Ends, source: Container, destination: Container, dst: str, reason: str) -> int:
    """How many of ``FRAMES`` frames arrive, in order; all others die of ``reason``."""
    before, read = ask(ends.near, "drops"), taken(ends.near, source)
    data = [frame(dst, source.mac, number.to_bytes(4)) for number in range(FRAMES)]
    with Wire(source.namespace) as out, Wire(destination.namespace) as into:
        for first in range(0, FRAMES, BATCH):
            for one in data[first : first + BATCH]:
                out.send(one)
            until(partial(has_read, ends.near, source, read + first + BATCH), DEADLINE, "the switch to read them")
        lost = grown(ends.near, before)
        assert lost.keys() == {reason}
        got = into.take(FRAMES - lost[reason], set(data).__contains__)
    assert len(got) + lost[reason] == FRAMES
    assert got == sorted(got)  # they are numbered
    return len(got)


@pytest.mark.parametrize("dst", [BROADCAST, "01:00:5e:00:00:fb", NOBODY])
def test_a_port_may_flood_its_budget_and_no_more(ends: Ends, dst: str) -> None:
    source, destination = ends.attach(ends.near, "red"), ends.attach(ends.far, "red")
    assert BURST <= arrived(ends, source, destination, dst, "storm") < FRAMES


@pytest.mark.parametrize("limit", [("--pps", "100"), ("--rate", "100k")])
def test_a_port_may_send_at_its_own_rate_and_no_more(ends: Ends, limit: tuple[str, str]) -> None:
    source, destination = ends.attach(ends.near, "red", *limit), ends.attach(ends.far, "red")
    assert ping(destination.namespace, source.ip, count=1, wait=3.0).lost == 0  # now each knows the other
    assert 0 < arrived(ends, source, destination, destination.mac, "rate") < FRAMES


def test_unknown_destinations_are_dropped_where_the_network_says_so(ends: Ends) -> None:
    source, destination = ends.attach(ends.near, "blue"), ends.attach(ends.far, "blue")
    assert ping(source.namespace, destination.ip).lost == 0
    before = ask(ends.near, "drops")
    data = [frame(NOBODY, source.mac, bytes([number])) for number in range(BATCH)]
    marker = frame(destination.mac, source.mac, b"marker")
    with Wire(source.namespace) as out, Wire(destination.namespace) as into:
        for one in (*data, marker):
            out.send(one)
        assert not set(into.until(marker)) & set(data)
    assert grown(ends.near, before) == {"unknown_unicast": BATCH}


def test_a_port_teaches_its_share_of_macs_and_its_frames_go_on(ends: Ends) -> None:
    """A full share refuses to learn, never to forward."""
    source, destination = ends.attach(ends.near, "blue"), ends.attach(ends.far, "blue")
    assert ping(source.namespace, destination.ip).lost == 0
    refused = ask(ends.near, "stats")["fdb_refused"]
    made_up = [f"02:aa:00:00:00:{n:02x}" for n in range(6)]
    data = [frame(destination.mac, src, b"made up") for src in made_up]
    with Wire(source.namespace) as out, Wire(destination.namespace) as into:
        for one in data:
            out.send(one)
        assert sorted(into.take(len(data), data.__contains__)) == data
    table = rows(ends.near, "blue")
    assert {mac for mac in made_up if mac in table} == set(made_up[:2])
    assert ask(ends.near, "stats")["fdb_refused"] - refused == 4


def test_a_tap_that_is_not_read_by_its_kernel_costs_nobody_else(ends: Ends) -> None:
    """A container whose link is down loses its own frames, by name; its neighbour on the same host loses none."""
    source, down, up = (ends.attach(s, "red") for s in (ends.near, ends.far, ends.far))
    for other in (down, up):
        assert ping(source.namespace, other.ip).lost == 0
    down.namespace.ip("link set eth0 down")
    before = ask(ends.far, "drops")
    with Wire(source.namespace) as out, Wire(up.namespace) as into:
        for number in range(BATCH):
            out.send(frame(down.mac, source.mac, number.to_bytes(4)))
            out.send(frame(up.mac, source.mac, number.to_bytes(4)))
        got = into.take(BATCH, lambda one: source_of(one) == bytes.fromhex(source.mac.replace(":", "")))
    assert len(got) == BATCH
    until(lambda: grown(ends.far, before) == {"port_down": BATCH}, DEADLINE, "the others to be counted")
