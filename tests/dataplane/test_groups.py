"""Group frames through whole switches: who gets a copy, who does not, and what the switch overhears."""

from __future__ import annotations

import pytest

from tests.dataplane.conftest import VNI, Duo
from tests.dataplane.fabric import CablePort, Fabric, Host
from tests.dataplane.frames import ARP, BROADCAST, IP4, IP6, ethernet, mac, super_frame, udp, vxlan
from tests.dataplane.groups import G4, G6, H4, data, igmp, snooped
from vxswitch.fdb import Hop
from vxswitch.groups import Family, GroupTable, Members
from vxswitch.wire.multicast import JOINED, QUERY, REPORT, Message, mac_of

QUERIED, REPORTED, LEAVE = 0x11, 0x16, 0x17
NOBODY = bytes(4)


class Four:
    """Host a with two ports, and b, c, d with one each; ``known`` at a, where every node tells but d's."""

    def __init__(self, fabric: Fabric) -> None:
        self.fabric = fabric
        self.hosts = [fabric.host() for _ in range(4)]
        for host in self.hosts:
            host.network(VNI)
        self.ports = [host.port(VNI, mac(n + 1)) for n, host in enumerate(self.hosts)]
        self.second = self.hosts[0].port(VNI, mac(9))
        fabric.mesh(VNI, *self.hosts)
        self.heard: list[tuple[Hop, Message]] = []
        self.known = snooped(self.hosts[0].fdb.tables[VNI], self.heard)
        self.known.set_tellers(frozenset(("node1", "node2")))

    def sends(self, frame: bytes) -> str:
        """The first port of host a sends it: who got it, ``2`` for its neighbour here, ``b`` to ``d`` elsewhere."""
        self.ports[0].send(frame)
        self.fabric.run()
        got = [("2", self.second), *zip("bcd", self.ports[1:], strict=True)]
        return "".join(name for name, port in got if port.got() == [frame])


@pytest.fixture
def four(fabric: Fabric) -> Four:
    return Four(fabric)


@pytest.mark.parametrize("group", [G4, G6])
def test_a_group_frame_goes_to_its_listeners_and_to_those_who_do_not_tell(four: Four, group: bytes) -> None:
    assert four.sends(data(group, 1)) == "d"
    four.known.put(group, Members(frozenset({four.second}), frozenset({"node1"})))
    assert four.sends(data(group, 1)) == "2bd"
    four.known.put(group, Members(nodes=frozenset({"node2"})))
    assert four.sends(data(group, 1)) == "cd"
    assert four.sends(data(H4, 1)) == "d"
    four.known.put(group, Members())
    four.known.set_tellers(frozenset(("node1", "node2", "node3")))
    assert four.sends(data(group, 1)) == ""
    assert four.hosts[0].drops() == {"no_listeners": 1}


def test_who_wants_all_gets_all_of_that_ip_version(four: Four) -> None:
    four.known.set_family(4, Family(Members(frozenset({four.second}), frozenset({"node1"})), open=False))
    assert four.sends(data(G4, 1)) == "2bd"
    assert four.sends(data(G6, 1)) == "d"
    four.known.set_family(6, Family(open=True))
    assert four.sends(data(G6, 1)) == "2d"


@pytest.mark.parametrize(
    "frame",
    [
        ethernet(BROADCAST, mac(1), IP4, udp("10.0.0.1", "255.255.255.255", 5, 6, b"x")),
        ethernet(bytes.fromhex("01005e0000fb"), mac(1), IP4, udp("10.0.0.1", "224.0.0.251", 5, 6, b"x")),
        ethernet(bytes.fromhex("333300000001"), mac(1), IP6, udp("fe80::1", "ff02::1", 5, 6, b"x")),
        ethernet(bytes.fromhex("333300000001"), mac(1), IP6, udp("fe80::1", "ff01::1", 5, 6, b"x")),
        ethernet(bytes.fromhex("01005e010203"), mac(1), ARP, bytes(28)),
        ethernet(bytes.fromhex("01005e010204"), mac(1), IP4, udp("10.0.0.1", "239.1.2.3", 5, 6, b"x")),
        ethernet(mac(77), mac(1), IP4, udp("10.0.0.1", "239.1.2.3", 5, 6, b"x")),
    ],
)
def test_all_else_is_flooded(four: Four, frame: bytes) -> None:
    assert four.sends(frame) == "2bcd"


def test_the_next_frame_sees_ports_and_vteps_come_and_go(four: Four) -> None:
    table = four.hosts[0].fdb.tables[VNI]
    four.known.put(G4, Members(frozenset({four.second}), frozenset({"node1", "node2"})))
    assert four.sends(data(G4, 1)) == "2bcd"
    peers = {p.vtep.address: p for p in table.flood}
    table.set_peers(list(peers.values())[1:], 1, peers)  # b is suspended
    assert four.sends(data(G4, 1)) == "2cd"
    table.remove_port(four.second)
    assert four.sends(data(G4, 1)) == "cd"
    table.set_groups(None)
    table.set_peers(peers.values(), 0, peers)
    assert four.sends(data(H4, 1)) == "bcd"


def test_a_super_frame_is_cut_for_vteps_and_whole_for_ports(four: Four) -> None:
    four.known.put(G4, Members(frozenset({four.second}), frozenset({"node2"})))
    frame = ethernet(mac_of(G4), mac(1), IP4, udp("10.0.0.1", "239.1.2.3", 5, 6, bytes(3000)))
    four.ports[0].inbox.append(super_frame(frame, "10.0.0.1", "239.1.2.3", 1000))
    four.fabric.run()
    assert [len(four.second.got()), len(four.ports[1].got()), len(four.ports[2].got())] == [1, 0, 3]


# -- what hosts and routers say ----------------------------------------------------------------------------------------


def test_reports_go_to_routers_only_and_elsewhere_they_end(four: Four) -> None:
    report = igmp(1, REPORTED, G4)
    four.known.put(G4, Members(frozenset({four.second}), frozenset({"node1"})))
    assert four.sends(report) == "d"  # nobody knows what is behind d
    assert four.heard == [(four.ports[0], Message(REPORT, 4, records=((G4, JOINED),)))]
    four.known.set_family(4, Family(Members(frozenset({four.second}), frozenset({"node2"})), open=False))
    assert four.sends(report) == "cd"  # the second port wants all, but is no router's
    four.known.set_family(4, Family(Members(nodes=frozenset({"node2"})), frozenset({four.second}), open=False))
    assert four.sends(report) == "2cd"
    four.known.set_family(4, Family(open=False))
    four.known.set_tellers(frozenset(("node1", "node2", "node3")))
    assert four.sends(igmp(1, LEAVE, G4)) == ""
    assert four.hosts[0].stats.absorbed == 1 and four.hosts[0].drops() == {}


def test_queries_and_unknown_messages_go_to_everybody(four: Four) -> None:
    assert four.sends(igmp(1, QUERIED, NOBODY, code=100)) == "2bcd"
    assert four.sends(igmp(1, QUERIED, G4, code=10)) == "2bcd"
    assert [message.kind for _, message in four.heard] == [QUERY, QUERY]
    assert four.sends(igmp(1, 0x13, bytes((224, 0, 0, 4)))) == "2bcd"  # DVMRP


def test_a_message_with_a_wrong_checksum_goes_to_everybody(four: Four) -> None:
    frame = igmp(1, REPORTED, G4)
    assert four.sends(frame[:-1] + b"\x09") == "2bcd"


def test_what_the_budget_refuses_is_not_listened_to(fabric: Fabric) -> None:
    host = fabric.host()
    table = host.network(VNI)
    port = host.port(VNI, mac(1), bum_pps=1, bum_burst=2)
    heard: list[tuple[Hop, Message]] = []
    snooped(table, heard)
    for _ in range(5):
        port.send(igmp(1, REPORTED, G4))
    fabric.run()
    assert len(heard) == 2 and host.drops() == {"storm": 3}


# -- from the underlay -------------------------------------------------------------------------------------------------


def receive(duo: Duo, frame: bytes, *ports: CablePort) -> list[int]:
    duo.fabric.inject(duo.a, vxlan(VNI, frame), duo.b.vteps[0].address)
    duo.fabric.run()
    return [len(port.got()) for port in ports]


def two_ports(duo: Duo) -> tuple[Host, CablePort, GroupTable, list[tuple[Hop, Message]]]:
    heard: list[tuple[Hop, Message]] = []
    return duo.a, duo.a.port(VNI, mac(3)), snooped(duo.ta, heard), heard


def test_from_a_vtep_to_local_listeners_only(duo: Duo) -> None:
    host, second, known, _ = two_ports(duo)
    known.put(G4, Members(frozenset({second}), frozenset({"node1"})))
    assert receive(duo, data(G4, 2), duo.pa, second) == [0, 1]
    assert receive(duo, data(H4, 2), duo.pa, second) == [0, 0]
    assert receive(duo, ethernet(BROADCAST, mac(2), ARP, bytes(28)), duo.pa, second) == [1, 1]
    assert host.drops() == {"no_listeners": 1} and len(duo.fabric.sent) == 0


def test_what_is_said_behind_a_vtep(duo: Duo) -> None:
    host, second, known, heard = two_ports(duo)
    assert receive(duo, igmp(2, REPORTED, G4), duo.pa, second) == [0, 0]
    assert host.stats.absorbed == 1
    known.set_family(4, Family(Members(frozenset({second})), frozenset({second}), open=False))
    assert receive(duo, igmp(2, REPORTED, G4), duo.pa, second) == [0, 1]
    assert receive(duo, igmp(2, QUERIED, NOBODY, code=50), duo.pa, second) == [1, 1]
    assert {hop for hop, _ in heard} == {duo.a.peer(duo.b)} and len(heard) == 3
