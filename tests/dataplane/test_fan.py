"""Decisions about multicast flows that are kept: they are those that would be made anew, and end when they should."""

from __future__ import annotations

import random
from unittest import mock

import pytest

from tests.dataplane import groups
from tests.dataplane.conftest import VNI
from tests.dataplane.fabric import CablePort, Fabric, Host
from tests.dataplane.frames import IP4, IP6, NO_VNET, cut, ethernet, mac, super_frame, udp
from tests.dataplane.groups import G4, G6, H4, NAMES, data, snooped
from vxswitch.dataplane.fan import KEPT_COPIES, Fan
from vxswitch.dataplane.flow import FlowCache
from vxswitch.dataplane.leaving import Leaving
from vxswitch.groups import Family, GroupTable, Members
from vxswitch.wire.multicast import mac_of


class Three:
    """Hosts a, b, c with two ports each, the first of which has MAC 1, 2, 3; each knows listeners, of whom none are."""

    def __init__(self, fabric: Fabric, **limits: int) -> None:
        self.fabric = fabric
        self.hosts = [fabric.host() for _ in range(3)]
        self.ports: list[CablePort] = []
        self.known: list[GroupTable] = []
        for n, host in enumerate(self.hosts):
            table = host.network(VNI)
            self.ports += [host.port(VNI, mac(n + 1), **limits), host.port(VNI, mac(n + 11), **limits)]
            self.known.append(snooped(table))
        for port in self.ports:
            port.joins_udp = True
        fabric.mesh(VNI, *self.hosts)
        for known in self.known:
            known.set_tellers(frozenset(f"node{n}" for n in range(3)))

    def listen(self, group: bytes, *ports: int) -> None:
        """The ports that have joined the group, by their place, are known everywhere."""
        for n, known in enumerate(self.known):
            here = frozenset(self.ports[p] for p in ports if p // 2 == n)
            known.put(group, Members(here, frozenset(f"node{p // 2}" for p in ports if p // 2 != n)))

    def got(self) -> list[int]:
        """How many writes each port has seen since the last call."""
        return [len(port.got()) for port in self.ports]


def bulk(group: bytes, n: int, payload: bytes, size: int) -> bytes:
    """A UDP super-frame of station ``n`` to a group, to be cut into ``size`` bytes each."""
    ends = (f"10.0.0.{n}" if len(group) == 4 else f"fd00::{n}", NAMES[group])
    frame = ethernet(mac_of(group), mac(n), IP4 if len(group) == 4 else IP6, udp(*ends, 5, 6, payload))
    return super_frame(frame, *ends, size)


def decided(host: Host, port: CablePort) -> list[Fan]:
    """What a port's cached decisions that still hold say."""
    return [flow.hop for flow in port.flows.values() if flow.holds() and isinstance(flow.hop, Fan)]


@pytest.mark.parametrize("group", [G4, G6])
def test_a_stream_is_decided_once_and_leaves_in_runs(group: bytes) -> None:
    with Fabric(joined=True) as fabric:
        three = Three(fabric)
        three.listen(group, 1, 2, 3, 4)
        for n in range(40):
            three.ports[0].send(data(group, 1, b"%04d" % n))
        with mock.patch.object(
            groups.GroupTable, "listeners", autospec=True, side_effect=GroupTable.listeners
        ) as asked:
            fabric.run()
        assert asked.call_count == 3, "once where it comes from, once where it goes to"
        assert fabric.sends == [1, 1, 39, 39], "the first of a burst does not wait"
        assert [port.outbox for port in (three.ports[0], three.ports[5])] == [[], []]
        assert three.ports[1].outbox == [NO_VNET + data(group, 1, b"%04d" % n) for n in range(40)]
        for port in three.ports[2:5]:
            assert [frame for out in port.outbox for frame in cut(out)] == [
                frame[10:] for frame in three.ports[1].outbox
            ]
            assert len(port.outbox) == (2 if group == G6 else 40), (
                "IPv4 without DF is joined if identifications count up"
            )
        assert [host.stats.mcast_frames for host in three.hosts] == [40, 40, 40]
        assert [host.stats.mcast_copies for host in three.hosts] == [120, 80, 40]
        fabric.check_law()


def test_rows_are_joined_only_where_every_listener_takes_what_that_makes() -> None:
    with Fabric(joined=True) as fabric:
        three = Three(fabric)
        three.listen(G6, 2, 3)
        for joins, writes in ((True, 2), (False, 40)):
            three.ports[3].joins_udp = joins
            three.hosts[1].fdb.tables[VNI].changed()
            for n in range(40):
                three.ports[0].send(data(G6, 1, b"%04d" % n))
            fabric.run()
            assert three.got() == [0, 0, writes, writes, 0, 0]


def test_a_super_frame_is_cut_once_for_all() -> None:
    with Fabric() as fabric:
        three = Three(fabric)
        three.listen(G4, 1, 2, 4)
        with mock.patch.object(Leaving, "_cut", autospec=True, side_effect=Leaving._cut) as cuts:
            for _ in range(3):
                three.ports[0].inbox.append(bulk(G4, 1, bytes(20_000), 1000))
            fabric.run()
        assert cuts.call_count == 3 and fabric.sends == [20] * 6
        assert len(three.ports[1].outbox) == 3
        assert sum(len(cut(out)) for out in three.ports[4].outbox) == 60


def test_a_decision_ends_with_what_it_was_made_from_and_not_before() -> None:
    with Fabric() as fabric:
        three = Three(fabric)
        known, port, table = three.known[0], three.ports[0], three.hosts[0].fdb.tables[VNI]

        def kept() -> list[int]:
            port.send(data(G4, 1))
            fabric.run()
            return [fan.copies for fan in decided(three.hosts[0], port)]

        three.listen(G4, 2)
        assert kept() == [1]
        known.put(H4, Members(frozenset({three.ports[1]})))
        assert len(decided(three.hosts[0], port)) == 1, "another group is no reason"
        for change in (
            lambda: three.listen(G4, 2, 4),
            lambda: known.set_tellers(frozenset({"node1"})),
            lambda: known.set_family(4, Family(open=True)),
            lambda: table.remove_port(three.ports[1]),
            lambda: table.set_groups(None),
        ):
            assert kept() and decided(three.hosts[0], port)
            change()
            assert decided(three.hosts[0], port) == []
        assert kept() == [], "what is flooded is not kept"


def test_who_joins_a_group_that_nobody_had_joined_gets_the_next_frame() -> None:
    with Fabric() as fabric:
        three = Three(fabric)
        for joined, got in (((), 0), ((2,), 1), ((), 0)):
            three.listen(G4, *joined)
            three.ports[0].send(data(G4, 1))
            three.ports[0].send(data(G4, 1))
            fabric.run()
            assert three.got() == [0, 0, 2 * got, 0, 0, 0]
        assert three.hosts[0].drops() == {"no_listeners": 4}


def test_a_stream_of_a_joined_group_takes_nothing_from_the_budget_for_floods() -> None:
    with Fabric() as fabric:
        three = Three(fabric, bum_pps=1, bum_burst=3)
        three.listen(G4, 2, 4)
        three.known[0].set_family(4, Family(Members(nodes=frozenset({"node1"})), open=False))  # a router is there
        for _ in range(50):
            three.ports[0].send(data(G4, 1))
            three.ports[0].send(data(H4, 1))
        fabric.run()
        assert three.hosts[0].drops() == {"storm": 47}
        assert sum(len(cut(out)) for out in three.ports[2].outbox) == 50  # host b forwards group H4 to nobody
        assert three.hosts[1].drops() == {"no_listeners": 3}


def test_a_crowd_is_not_kept() -> None:
    with Fabric() as fabric:
        host = fabric.host()
        table = host.network(VNI)
        ports = [host.port(VNI, mac(n + 1)) for n in range(KEPT_COPIES + 2)]
        known = snooped(table)
        for members, kept in ((ports, 0), (ports[:-1], 1)):
            known.put(G4, Members(frozenset(members)))
            ports[0].send(data(G4, 1))
            fabric.run()
            assert len(decided(host, ports[0])) == kept
            assert [len(port.got()) for port in members] == [0] + [1] * (len(members) - 1)


# -- kept or not, it is the same -------------------------------------------------------------------------------------


def story(seed: int, *, keep: bool) -> list[object]:
    """What a random user and a random operator see of it all, frame by frame."""
    chance, told = random.Random(seed), []
    with Fabric(seed, joined=True) as fabric:
        three = Three(fabric, **({"mcast_copies": 3000, "bum_pps": 1, "bum_burst": 60} if seed % 3 == 0 else {}))
        with mock.patch.object(FlowCache, "keep", FlowCache.keep if keep else lambda cache, key, flow: None):
            for _ in range(60):
                if chance.random() < 0.5:
                    groups.change(chance, chance.choice(three.known))
                for n, port in enumerate(three.ports):
                    for _ in range(chance.choice((0, 1, 9))):
                        port.inbox.append(said(chance, n // 2 + 1 + n % 2 * 10))
                fabric.run()
                told.append([[frame for out in port.outbox for frame in cut(out)] for port in three.ports])
                told.append([(host.drops(), host.stats.as_dict()) for host in three.hosts])
                for port in three.ports:
                    port.outbox.clear()
                    port.joins_udp = chance.random() < 0.8
        assert any(port.flows for port in three.ports) == keep
        fabric.check_law()
    return told


def said(chance: random.Random, n: int) -> bytes:
    """``[vnet][frame]`` of station ``n``, most of it data of a few flows."""
    group = chance.choice((G4, H4, G6))
    match chance.randrange(8):
        case 0:
            return groups.random_frame(chance, mac(n))
        case 1:
            return bulk(group, n, chance.randbytes(chance.choice((900, 5000))), 700)
        case _:
            return NO_VNET + data(group, n, chance.randbytes(chance.choice((30, 30, 1000))))


@pytest.mark.parametrize("seed", range(4))
def test_what_is_kept_is_what_would_be_decided(seed: int) -> None:
    assert story(seed, keep=True) == story(seed, keep=False)
