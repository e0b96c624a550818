"""Questions for neighbours: who is answered with what, and what is left to the stations themselves."""

from __future__ import annotations

import pytest
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, IPv6
from scapy.layers.l2 import ARP, Ether

from tests.dataplane.conftest import VNI, Duo
from tests.dataplane.fabric import CablePort, Fabric, Host
from tests.dataplane.frames import BROADCAST, IP4, ethernet, mac, udp
from vxswitch.bindings import pack
from vxswitch.fdb import Row, Table
from vxswitch.wire import arp, nd
from vxswitch.wire.address import STAND_IN
from vxswitch.wire.neighbour import Said

(OURS, THEIRS, LOCAL, SIX, OUR_SIX) = pack(("10.0.0.1", "10.0.0.2", "10.0.0.3", "fd00::2", "fd00::1"))


class Trio(Duo):
    """``Duo`` where MACs are claimed: 2 stands behind B with two addresses, and A has a second port with MAC 3."""

    def __init__(self, fabric: Fabric, **policy: object) -> None:
        self.policy = {"learning": "control"} | policy
        super().__init__(fabric)
        self.claim(self.ta, mac(2), self.a.peer(self.b, "b"), THEIRS, SIX)
        self.claim(self.tb, mac(1), self.b.peer(self.a, "a"), OURS)
        self.second = self.a.port(VNI, mac(3))
        self.ta.bind(mac(3), (LOCAL,))
        self.heard: list[tuple[bytes, Said]] = []
        self.ta.on_heard = lambda table, row, said: self.heard.append((row.mac, said))

    def join(self, host: Host, n: int, **policy: object) -> CablePort:
        return super().join(host, n, **self.policy)

    def claim(self, table: Table, address: bytes, hop: object, *ips: bytes) -> Row:
        table.bind(address, ips)
        return table.install(address, hop, "claimed", 0.0, node="b")  # type: ignore[arg-type]

    def ask(self, frame: bytes) -> list[bytes]:
        """What the asking port gets back."""
        self.pa.send(frame)
        self.fabric.run()
        return self.pa.got()

    @property
    def flooded(self) -> bool:
        """Whether B's port and A's second port have got the last frame."""
        got = [bool(port.got()) for port in (self.pb, self.second)]
        assert got[0] == got[1]
        return got[0]


@pytest.fixture
def trio(fabric: Fabric) -> Trio:
    return Trio(fabric)


def who_has(address: bytes, *, sender: bytes = OURS, src: bytes = mac(1)) -> bytes:
    if len(address) == 4:
        return arp.request(BROADCAST, src, sender, address)
    group = nd.group_of(address)
    return nd.solicit(nd.group_mac(group), src, OUR_SIX, group, address)


def test_the_switch_answers_for_a_remote_mac_and_nobody_else_is_asked(trio: Trio) -> None:
    (answer,) = trio.ask(who_has(THEIRS))
    told = Ether(answer)[ARP]
    assert (told.op, told.hwsrc, told.psrc, told.hwdst, told.pdst) == (
        2,
        mac(2).hex(":"),
        "10.0.0.2",
        mac(1).hex(":"),
        "10.0.0.1",
    )
    (answer,) = trio.ask(who_has(SIX))
    told = Ether(answer)[ICMPv6ND_NA]
    assert (told.tgt, told.S, told.O, told.R, told.lladdr) == ("fd00::2", 1, 1, 0, mac(2).hex(":"))
    assert Ether(answer)[IPv6].dst == "fd00::1" and not trio.flooded
    stats = trio.a.stats
    assert (stats.arp_answered, stats.nd_answered, stats.absorbed, stats.originated) == (1, 1, 2, 2)
    assert not trio.fabric.sent


def test_a_probe_finds_the_address_of_another_mac(trio: Trio) -> None:
    (answer,) = trio.ask(who_has(THEIRS, sender=bytes(4)))
    assert (Ether(answer)[ARP].psrc, Ether(answer)[ARP].pdst) == ("10.0.0.2", "0.0.0.0")
    group = nd.group_of(SIX)
    solicitation = Ether(src=mac(1).hex(":"), dst=nd.group_mac(group).hex(":")) / IPv6(src="::", dst="ff02::1:ff00:2")
    (answer,) = trio.ask(bytes(solicitation / ICMPv6ND_NS(tgt="fd00::2")))
    assert (Ether(answer)[IPv6].dst, Ether(answer)[ICMPv6ND_NA].S) == ("ff02::1", 0)
    assert not trio.flooded


def test_a_probe_for_ones_own_address_is_flooded(trio: Trio) -> None:
    trio.claim(trio.ta, mac(1), trio.pa, OURS)
    trio.ta.install(mac(1), trio.pa, "learned", 0.0, given=True)
    assert trio.ask(who_has(OURS, sender=bytes(4))) == [] and trio.flooded


@pytest.mark.parametrize(
    "frame",
    [
        who_has(LOCAL),
        who_has(b"\x0a\0\0\x63"),
        arp.request(BROADCAST, mac(1), OURS, OURS),
        bytes(
            Ether(src=mac(1).hex(":"), dst="33:33:00:00:00:01")
            / IPv6(src="fd00::1", dst="ff02::1", hlim=255)
            / ICMPv6ND_NA(tgt="fd00::1", S=0)
        ),
    ],
    ids=["local", "unknown", "gratuitous", "unsolicited"],
)
def test_what_is_flooded_as_ever(trio: Trio, frame: bytes) -> None:
    assert trio.ask(frame) == [] and trio.flooded


def test_a_question_to_one_station_is_that_stations_to_answer(trio: Trio) -> None:
    assert trio.ask(mac(2) + who_has(THEIRS)[6:]) == []
    assert len(trio.pb.got()) == 1


def test_an_address_that_two_macs_claim_is_asked_for_by_flooding(trio: Trio) -> None:
    trio.claim(trio.ta, mac(5), trio.a.peer(trio.b, "b"), THEIRS)
    assert trio.ask(who_has(THEIRS)) == [] and trio.flooded


@pytest.mark.parametrize("why", ["suspended", "stale"])
def test_nobody_is_vouched_for_who_may_be_gone_but_is_asked_alone(trio: Trio, why: str) -> None:
    peer = trio.a.peer(trio.b)
    peer.live, trio.ta.rows[mac(2)].stale = why != "suspended", why == "stale"
    third = trio.fabric.host()
    port = trio.join(third, 9)
    trio.fabric.mesh(VNI, trio.a, trio.b, third)
    assert trio.ask(who_has(THEIRS)) == []
    assert (len(trio.pb.got()), trio.second.got(), port.got()) == (1, [], [])
    assert (trio.a.stats.arp_directed, trio.a.stats.arp_answered) == (1, 0)


@pytest.mark.parametrize("policy", [{"suppress": False}, {"learning": "flood"}])
def test_where_it_is_off_all_is_flooded(fabric: Fabric, policy: dict[str, object]) -> None:
    trio = Trio(fabric, **policy)
    assert trio.ask(who_has(THEIRS)) == [] and trio.flooded


def test_answers_cost_the_budget_that_floods_cost(fabric: Fabric) -> None:
    trio = Trio(fabric)
    trio.pa.bum.rate, trio.pa.bum.tokens = 0.0, 2.0
    for _ in range(3):
        trio.pa.send(who_has(THEIRS))
    fabric.run()
    assert len(trio.pa.got()) == 2 and trio.a.drops() == {"storm": 1}


def test_what_a_station_says_of_itself_is_heard_and_what_it_says_of_others_is_not(trio: Trio) -> None:
    trio.ask(who_has(THEIRS))
    trio.ask(who_has(LOCAL, src=mac(1))[:22] + mac(2) + who_has(LOCAL)[28:])
    assert [(address, said.ip, said.evidence) for address, said in trio.heard] == [(mac(1), OURS, "frame")]


def test_what_comes_from_the_underlay_teaches_nothing(trio: Trio) -> None:
    trio.pb.send(arp.request(BROADCAST, mac(2), THEIRS, THEIRS))
    trio.fabric.run()
    assert trio.heard == [] and len(trio.pa.got()) == 1


def test_the_switch_asks_a_station_and_keeps_the_answer_to_itself(trio: Trio) -> None:
    trio.a.encap.say(trio.pa, arp.request(mac(1), STAND_IN, bytes(4), OURS))
    assert len(trio.pa.got()) == 1
    assert trio.ask(arp.reply(mac(1), OURS, STAND_IN, bytes(4))) == [] and not trio.flooded
    assert [said.ip for _, said in trio.heard] == [OURS]
    assert (trio.a.stats.originated, trio.a.stats.absorbed) == (1, 1)


def test_an_answer_within_a_burst_hurts_no_frame_that_waits(trio: Trio) -> None:
    packet = ethernet(mac(2), mac(1), IP4, udp("10.0.0.1", "10.0.0.2", 1, 2, b"x" * 40))
    for _ in range(5):
        trio.pa.send(packet)
        trio.pa.send(who_has(THEIRS))
    trio.fabric.run()
    assert trio.pb.got() == [packet] * 5 and len(trio.pa.got()) == 5


# -- anti-spoofing by address ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "passes"),
    [
        (ethernet(mac(3), mac(1), IP4, udp("10.0.0.1", "10.0.0.9", 1, 2, b"")), True),
        (ethernet(mac(3), mac(1), IP4, udp("10.0.0.9", "10.0.0.1", 1, 2, b"")), False),
        (ethernet(mac(3), mac(1), IP4, udp("0.0.0.0", "255.255.255.255", 68, 67, b"")), True),
        (ethernet(mac(3), mac(1), IP4, b"\x4f" * 30), False),
        (who_has(LOCAL), True),
        (who_has(LOCAL, sender=THEIRS), False),
        (arp.reply(mac(1), THEIRS, mac(3), LOCAL), False),
        (who_has(LOCAL, sender=bytes(4)), True),
        (nd.advertise(mac(3), mac(1), OUR_SIX, SIX, nd.SOLICITED), False),
        (ethernet(mac(3), mac(1), 0x88CC), True),
    ],
)
def test_full_antispoofing_asks_for_the_addresses_of_the_port(trio: Trio, frame: bytes, passes: bool) -> None:
    trio.pa.addresses = frozenset((OURS,))
    trio.ask(frame)
    assert len(trio.second.got()) == passes
    assert trio.a.drops() == ({} if passes else {"spoofed_source": 1})
