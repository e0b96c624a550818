from __future__ import annotations

import logging
from collections.abc import Sequence

import pytest

from tests.control.world import Time, record, vtep
from vxswitch.control.heard import Heard
from vxswitch.control.peers import Peers
from vxswitch.fdb import Fdb, Peer, Table
from vxswitch.model import LeaseState
from vxswitch.wire.probe import Identity, node_of

VNI = 100


class House:
    """Peers with one network, and a clock."""

    def __init__(self, *own: str) -> None:
        self.time, self.fdb = Time(), Fdb()
        self.table = self.fdb.add(Table("red", VNI, mtu=1450))
        own_vteps = tuple(map(vtep, own or ("192.0.2.1",)))
        self.peers = Peers(self.fdb, uid="uid-me", own=own_vteps, grace=60.0, clock=self.time)
        self.probes: dict[Peer, Heard] = {}
        self.peers.probes = self.probes

    def join(self, name: str, *vteps: str, vni: int = VNI, **fields: object) -> None:
        self.peers.join(vni, record(name, *vteps, **fields))  # type: ignore[arg-type]
        self.peers.refresh(vni)

    def leases(self, *live: str, trusted: bool = True, left: Sequence[str] = ()) -> tuple[list[str], list[str]]:
        judged = self.peers.judge(LeaseState(dict.fromkeys(live, 2.0), trusted, frozenset(left)))
        return judged.gone, judged.back

    def answers(
        self, address: str, *, node: str = "", life: int = 1, dead: bool = False
    ) -> tuple[list[str], list[str]]:
        """The VTEP answers a probe, or is found to answer no more."""
        peer = self.fdb.peers[vtep(address)]
        heard = self.probes.setdefault(peer, Heard(1472))
        heard.patience = 1.0
        if dead:
            heard.alive = False
        else:
            heard.lives(Identity(node_of(f"uid-{node or peer.node}"), life), self.time())
        judged = self.peers.look_again()
        return judged.gone, judged.back

    def flood(self) -> list[str]:
        return [str(peer.vtep) for peer in self.table.flood]

    def senders(self) -> list[str]:
        return sorted(self.table.senders)

    def states(self) -> dict[str, str]:
        return {row["node"] or row["vtep"]: row["state"] for row in self.peers.view(lambda vni: "red")}


# -- members ---------------------------------------------------------------------------------------------------------


def test_members_are_flooded_to_and_may_send() -> None:
    house = House()
    house.join("b", "192.0.2.2")
    house.join("c", "192.0.2.3:8472")
    assert house.flood() == ["192.0.2.2:4789", "192.0.2.3:8472"]
    assert house.senders() == ["192.0.2.2", "192.0.2.3"]


def test_our_own_record_is_no_peer() -> None:
    house = House()
    house.join("me", "192.0.2.1", uid="uid-me")
    assert house.flood() == [] and house.peers.members(VNI) == set()


def test_who_had_our_name_before_us_is_no_peer_any_more() -> None:
    house = House()
    house.join("me", "192.0.2.9", uid="uid-before")
    assert house.flood() == ["192.0.2.9:4789"]
    house.join("me", "192.0.2.1", uid="uid-me")
    assert house.flood() == [] and house.peers.members(VNI) == set() and house.fdb.peers == {}


def test_a_vtep_that_changes_is_flooded_to_in_all_networks() -> None:
    house = House()
    other = house.fdb.add(Table("blue", VNI + 1, mtu=1450))
    house.join("b", "192.0.2.9", uid="uid-before")
    house.join("b", "192.0.2.2")
    house.join("b", "192.0.2.9", uid="uid-before", vni=VNI + 1)  # a table that has lost what came later
    assert house.flood() == [str(peer.vtep) for peer in other.flood] == ["192.0.2.9:4789"]
    house.join("b", "192.0.2.2", vni=VNI + 1)
    assert house.flood() == [str(peer.vtep) for peer in other.flood] == ["192.0.2.2:4789"]
    assert house.senders() == ["192.0.2.2"]


def test_who_leaves_is_out_and_its_address_is_free() -> None:
    house = House()
    house.join("b", "192.0.2.2")
    house.peers.leave(VNI, "b")
    house.peers.refresh(VNI)
    assert (house.flood(), house.senders(), house.fdb.peers) == ([], [], {})


def test_a_node_stays_while_it_is_in_another_network() -> None:
    house = House()
    other = house.fdb.add(Table("blue", 200, mtu=1450))
    house.join("b", "192.0.2.2")
    house.join("b", "192.0.2.2", vni=200)
    house.peers.leave(VNI, "b")
    house.peers.refresh(VNI)
    assert house.flood() == []
    assert [str(p.vtep) for p in other.flood] == ["192.0.2.2:4789"]


def test_leaving_a_network_ourselves_forgets_its_members() -> None:
    house = House()
    house.join("b", "192.0.2.2")
    house.peers.forget(VNI)
    assert house.peers.members(VNI) == set() and house.peers.remotes == {}


@pytest.mark.parametrize(
    ("own", "theirs", "chosen"),
    [
        (["192.0.2.1", "2001:db8::1"], ["2001:db8::2", "192.0.2.2"], "192.0.2.2:4789"),
        (["2001:db8::1", "192.0.2.1"], ["192.0.2.2", "2001:db8::2"], "[2001:db8::2]:4789"),
        (["2001:db8::1"], ["192.0.2.2", "2001:db8::2"], "[2001:db8::2]:4789"),
        (["192.0.2.1"], ["192.0.2.2", "192.0.2.22"], "192.0.2.2:4789"),
    ],
)
def test_the_first_of_our_families_decides_which_vtep(own: Sequence[str], theirs: Sequence[str], chosen: str) -> None:
    house = House(*own)
    house.join("b", *theirs)
    assert house.flood() == [chosen]


def test_a_node_without_a_family_of_ours_is_shown_but_not_sent_to(caplog: pytest.LogCaptureFixture) -> None:
    house = House("192.0.2.1")
    house.join("b", "2001:db8::2")
    assert house.flood() == [] and house.peers.unreachable == 1
    assert "no VTEP of an address family of ours" in caplog.text
    (row,) = house.peers.view(lambda vni: "red")
    assert (row["node"], row["vtep"]) == ("b", None)


def test_a_record_that_changes_moves_the_vtep() -> None:
    house = House()
    house.join("b", "192.0.2.2")
    assert house.peers.join(VNI, record("b", "192.0.2.9", epoch=2))
    house.peers.refresh(VNI)
    assert house.flood() == ["192.0.2.9:4789"]
    assert not house.peers.join(VNI, record("b", "192.0.2.2", epoch=1))  # an old record says nothing
    assert list(house.fdb.peers) == [vtep("192.0.2.9")]


# -- one address, one node -------------------------------------------------------------------------------------------


def test_a_node_at_our_own_address_is_refused_loudly(caplog: pytest.LogCaptureFixture) -> None:
    house = House()
    with caplog.at_level(logging.ERROR):
        house.join("b", "192.0.2.1:8472")
    assert house.flood() == [] and house.senders() == []
    assert "our own VTEP" in caplog.text


def test_of_two_live_nodes_at_one_address_the_second_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    house = House()
    house.join("b", "192.0.2.2")
    house.join("c", "192.0.2.2:8472")
    assert house.flood() == ["192.0.2.2:4789"]
    assert "both say they are at 192.0.2.2" in caplog.text
    assert house.peers.peer(VNI, "c") is None


def test_the_refused_one_comes_in_when_the_address_is_free() -> None:
    house = House()
    house.join("b", "192.0.2.2")
    house.join("c", "192.0.2.2:8472")
    house.peers.leave(VNI, "b")
    house.peers.refresh(VNI)
    assert house.flood() == ["192.0.2.2:8472"]


def test_a_dead_nodes_address_may_be_taken_over() -> None:
    house = House()
    house.join("b", "192.0.2.2")
    house.leases()
    house.join("c", "192.0.2.2")
    house.leases("c")
    peer = house.peers.peer(VNI, "c")
    assert peer is not None and peer.node == "c" and peer.live
    assert house.flood() == ["192.0.2.2:4789"]


def test_who_was_refused_gets_the_address_when_its_holder_is_suspended() -> None:
    house = House()
    house.join("b", "192.0.2.2")
    house.join("c", "192.0.2.2")
    assert house.peers.peer(VNI, "c") is None
    gone, back = house.leases("c")
    assert (gone, back) == ([], ["c"])  # its rows have waited
    assert house.flood() == ["192.0.2.2:4789"] and house.peers.peer(VNI, "c") is not None


def test_a_node_that_has_another_name_now_takes_its_address_along_at_once() -> None:
    house = House()
    house.join("b", "192.0.2.2", uid="uid-b")
    house.join("c", "192.0.2.2", uid="uid-b")
    assert house.peers.peer(VNI, "c") is not None and house.flood() == ["192.0.2.2:4789"]


# -- liveness --------------------------------------------------------------------------------------------------------


def test_the_dead_name_of_a_node_never_takes_its_address_back() -> None:
    """In whatever order a snapshot has the two names, and when the old one is found to be dead."""
    house = House()
    house.join("b2", "192.0.2.2", uid="uid-b", epoch=2)
    house.join("b", "192.0.2.2", uid="uid-b", epoch=1)
    assert house.peers.peer(VNI, "b2") is not None and house.peers.peer(VNI, "b") is None
    house.leases("b2")
    assert house.states() == {"b2": "live", "b": "suspended"} and house.flood() == ["192.0.2.2:4789"]
    assert house.peers.peer(VNI, "b2") is not None


def test_a_node_that_is_suspended_keeps_its_address_from_the_dead() -> None:
    house = House()
    house.join("c", "192.0.2.3")
    house.join("b", "192.0.2.2")
    house.leases("c")  # b is dead
    house.join("c", "192.0.2.2", epoch=2)
    house.leases("c")
    house.leases()
    assert house.states() == {"b": "suspended", "c": "suspended"}
    assert house.peers.peer(VNI, "c") is not None and house.peers.peer(VNI, "b") is None


def test_who_gets_the_address_by_living_again_has_its_rows_placed() -> None:
    house = House()
    house.join("b", "192.0.2.2")
    house.join("c", "192.0.2.2")
    house.leases("b")
    assert house.leases("c") == ([], ["c"])
    assert house.peers.peer(VNI, "c") is not None and house.flood() == ["192.0.2.2:4789"]


def test_a_lapsed_lease_suspends_and_a_new_one_takes_back() -> None:
    house = House()
    house.join("b", "192.0.2.2")
    house.join("c", "192.0.2.3")
    house.leases("c")
    assert house.flood() == ["192.0.2.3:4789"]
    assert house.table.suspended == 1
    assert house.senders() == ["192.0.2.2", "192.0.2.3"]  # it may still send: it may have lost the store alone
    assert house.states() == {"b": "suspended", "c": "live"}
    assert house.peers.peer(VNI, "b") is not None  # its rows stay
    house.leases("b", "c")
    assert house.flood() == ["192.0.2.2:4789", "192.0.2.3:4789"] and house.table.suspended == 0


def test_while_our_own_lease_is_not_trusted_nobody_is_judged() -> None:
    house = House()
    house.join("b", "192.0.2.2")
    house.leases(trusted=False)
    assert house.states() == {"b": "live"}
    house.leases()
    house.leases("b", trusted=False)
    assert house.states() == {"b": "suspended"}


def test_grace_makes_a_suspended_node_gone_and_its_return_brings_it_back() -> None:
    house = House()
    house.join("b", "192.0.2.2")
    assert house.leases() == ([], [])
    house.time.pass_by(59.9)
    assert house.leases() == ([], [])
    house.time.pass_by(0.1)
    assert house.leases() == (["b"], [])
    assert house.states() == {"b": "gone"} and house.peers.peer(VNI, "b") is None
    assert house.leases() == ([], [])
    assert house.leases("b") == ([], ["b"])
    assert house.peers.peer(VNI, "b") is not None


def test_an_outage_of_the_store_begins_the_grace_again() -> None:
    house = House()
    house.join("b", "192.0.2.2")
    house.leases()
    house.time.pass_by(59)
    house.leases(trusted=False)
    house.time.pass_by(10)
    assert house.leases() == ([], [])
    house.time.pass_by(60)
    assert house.leases() == (["b"], [])


def test_leases_are_shown_as_seconds_left_now() -> None:
    house = House()
    house.join("b", "192.0.2.2")
    assert house.peers.view(lambda vni: "red")[0]["lease"] is None
    house.leases("b")
    house.time.pass_by(0.5)
    assert house.peers.view(lambda vni: "red")[0]["lease"] == 1.5
    house.time.pass_by(10)
    assert house.peers.view(lambda vni: "red")[0]["lease"] == 0.0


# -- static peers ----------------------------------------------------------------------------------------------------


def test_static_peers_stand_in_every_network_or_in_one() -> None:
    house = House()
    blue = house.fdb.add(Table("blue", 200, mtu=1450))
    house.peers.set_static([vtep("192.0.2.8")], {200: (vtep("192.0.2.9"),)})
    assert house.flood() == ["192.0.2.8:4789"]
    assert [str(p.vtep) for p in blue.flood] == ["192.0.2.8:4789", "192.0.2.9:4789"]
    assert all(peer.static and peer.live for peer in blue.flood)
    assert house.states() == {"192.0.2.8:4789": "unprobed", "192.0.2.9:4789": "unprobed"}


def test_a_static_peer_is_not_judged_by_leases() -> None:
    house = House()
    house.peers.set_static([vtep("192.0.2.8")], {})
    house.leases()
    assert house.flood() == ["192.0.2.8:4789"]


def test_a_node_that_is_configured_too_gets_one_copy_and_stays() -> None:
    house = House()
    house.peers.set_static([vtep("192.0.2.2")], {})
    house.join("b", "192.0.2.2")
    assert house.flood() == ["192.0.2.2:4789"]
    house.leases()
    assert house.flood() == ["192.0.2.2:4789"]
    house.peers.leave(VNI, "b")
    house.peers.refresh(VNI)
    assert house.flood() == ["192.0.2.2:4789"] and house.table.flood[0].node is None


def test_ourselves_and_other_families_are_left_out_of_static_peers() -> None:
    house = House()
    house.peers.set_static([vtep("192.0.2.1"), vtep("2001:db8::2"), vtep("192.0.2.2")], {})
    assert house.flood() == ["192.0.2.2:4789"]


def test_a_node_at_another_port_of_a_static_address_wins() -> None:
    house = House()
    house.join("b", "192.0.2.2:8472")
    house.peers.set_static([vtep("192.0.2.2")], {})
    assert house.flood() == ["192.0.2.2:8472"]


def test_static_peers_that_are_no_longer_configured_go() -> None:
    house = House()
    house.peers.set_static([vtep("192.0.2.8"), vtep("192.0.2.9")], {})
    house.peers.set_static([vtep("192.0.2.9")], {})
    assert house.flood() == ["192.0.2.9:4789"]
    assert list(house.fdb.peers) == [vtep("192.0.2.9")]


# -- probes ----------------------------------------------------------------------------------------------------------

B = "192.0.2.2"
STATES = {"answers": "live", "dead": "suspended"}


def with_b() -> House:
    house = House()
    house.join("b", B)
    house.leases("b")
    return house


def test_a_live_probe_outvotes_a_lapsed_lease() -> None:
    """One node that loses only the store is harmless."""
    house = with_b()
    house.answers(B)
    house.leases()
    assert house.states() == {"b": "live"} and house.flood() == ["192.0.2.2:4789"]
    for _ in range(200):
        house.time.pass_by(0.5)
        house.answers(B)
        assert house.leases() == ([], [])
    assert house.states() == {"b": "live"} and house.peers.heard("b")


def test_an_answer_counts_for_a_second() -> None:
    house = with_b()
    house.answers(B)
    house.time.pass_by(0.9)
    house.leases()
    assert house.states() == {"b": "live"}
    house.time.pass_by(0.2)
    assert not house.peers.heard("b")
    house.leases()
    assert house.states() == {"b": "suspended"}


@pytest.mark.parametrize("leased", [True, False])
@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize("probe", ["answers", "dead"])
def test_who_answered_once_is_judged_by_the_probe_whatever_the_store_says(
    leased: bool, trusted: bool, probe: str
) -> None:
    """A node that is killed while the store is down is suspended, too."""
    house = with_b()
    house.answers(B)
    house.leases(*["b"] if leased else [], trusted=trusted)
    house.answers(B, dead=probe == "dead")
    assert house.states() == {"b": STATES[probe]}
    house.leases(*["b"] if leased else [], trusted=trusted)
    assert house.states() == {"b": STATES[probe]}


def test_who_never_answered_is_judged_by_the_lease() -> None:
    house = with_b()
    house.probes[house.fdb.peers[vtep(B)]] = Heard(1472)
    house.peers.look_again()
    assert house.states() == {"b": "live"}
    house.leases()
    assert house.states() == {"b": "suspended"}
    house.leases(trusted=False)
    assert house.states() == {"b": "suspended"}
    house.leases("b")
    assert house.states() == {"b": "live"}


def test_rows_go_only_when_lease_and_probe_were_dead_for_the_grace_period() -> None:
    house = with_b()
    house.answers(B)
    house.answers(B, dead=True)
    for _ in range(100):
        house.time.pass_by(1.0)
        assert house.leases("b") == ([], [])
    assert house.states() == {"b": "suspended"}  # its lease says that it may come back
    house.leases()
    house.time.pass_by(30)
    assert house.leases() == ([], [])
    house.answers(B)
    assert house.states() == {"b": "live"}
    house.answers(B, dead=True)
    house.time.pass_by(59)
    assert house.leases() == ([], [])
    house.time.pass_by(1)
    assert house.leases() == (["b"], [])
    assert house.answers(B, dead=True) == ([], []) and house.states() == {"b": "gone"}
    assert house.answers(B) == ([], ["b"])
    assert house.states() == {"b": "live"}


def test_a_dead_node_with_a_lease_is_suspended_not_gone() -> None:
    house = with_b()
    house.answers(B)
    house.answers(B, dead=True)
    house.leases()
    house.time.pass_by(60)
    assert house.leases() == (["b"], [])
    assert house.leases("b") == ([], ["b"])
    assert house.states() == {"b": "suspended"}


def test_all_silent_is_our_own_underlay_and_deletes_nothing() -> None:
    house = with_b()
    house.join("c", "192.0.2.3")
    house.leases("b", "c")
    for address in (B, "192.0.2.3"):
        house.answers(address)
        house.answers(address, dead=True)
    assert house.flood() == [] and house.table.suspended == 2
    for _ in range(100):
        house.time.pass_by(1.0)
        assert house.leases("b", "c") == ([], []) and house.leases(trusted=False) == ([], [])
    assert house.peers.peer(VNI, "b") is not None
    house.answers(B)
    assert house.flood() == ["192.0.2.2:4789"]


@pytest.mark.parametrize("trusted", [True, False])
def test_who_took_its_lease_back_is_suspended_whatever_its_last_answer_was(trusted: bool) -> None:
    house = with_b()
    house.answers(B, life=7)
    house.leases(trusted=trusted, left=["b"])
    assert house.states() == {"b": "suspended"} and not house.peers.heard("b")
    house.answers(B, life=7)  # it was under way
    assert house.states() == {"b": "suspended"}
    house.leases(trusted=trusted, left=["b"])
    assert house.states() == {"b": "suspended"}


def test_who_left_is_back_with_a_lease_or_as_another_start() -> None:
    house = with_b()
    house.answers(B, life=7)
    house.leases(left=["b"])
    house.leases("b")
    assert house.states() == {"b": "live"}
    house.leases(left=["b"])
    assert house.states() == {"b": "suspended"}
    house.answers(B, life=8)  # the store is away, and it was started again
    assert house.states() == {"b": "live"}
    house.leases(left=["b"])
    assert house.states() == {"b": "live"}


def test_who_left_before_it_ever_answered_needs_a_lease() -> None:
    house = with_b()
    house.leases(left=["b"])
    house.answers(B)
    assert house.states() == {"b": "suspended"}
    house.leases("b")
    assert house.states() == {"b": "live"}


def test_what_another_node_at_that_address_answers_says_nothing_of_this_one() -> None:
    house = with_b()
    house.answers(B, node="c")
    house.leases()
    assert house.states() == {"b": "suspended"} and not house.peers.heard("b")
    house.join("c", B)  # it has taken the address over
    house.leases("c")
    assert house.states()["c"] == "live" and house.peers.heard("c")


def test_a_new_start_is_not_judged_by_the_death_of_the_one_before() -> None:
    house = with_b()
    house.answers(B)
    house.answers(B, dead=True)
    assert house.states() == {"b": "suspended"}
    house.join("b", B, epoch=2)
    house.leases("b")
    assert house.states() == {"b": "live"}


def test_static_peers_are_suspended_while_their_probe_is_dead(caplog: pytest.LogCaptureFixture) -> None:
    house = House()
    house.peers.set_static([vtep(B), vtep("192.0.2.3")], {})
    house.answers(B, node="x")
    assert house.states() == {"192.0.2.2:4789": "live", "192.0.2.3:4789": "unprobed"}
    house.answers(B, dead=True)
    assert house.states() == {"192.0.2.2:4789": "suspended", "192.0.2.3:4789": "unprobed"}
    assert house.flood() == ["192.0.2.3:4789"] and house.senders() == [B, "192.0.2.3"]
    house.leases()
    assert caplog.text.count("static peer 192.0.2.2:4789 answers no probes") == 1
    house.probes[house.fdb.peers[vtep(B)]].forget()  # dead for so long that it may be another kind of VTEP
    house.peers.look_again()
    assert house.flood() == ["192.0.2.2:4789", "192.0.2.3:4789"]


def test_a_configured_node_is_judged_by_its_probe_alone() -> None:
    house = House()
    house.peers.set_static([vtep(B)], {})
    house.join("b", B)
    house.leases()
    assert house.flood() == ["192.0.2.2:4789"]
    house.answers(B)
    house.answers(B, dead=True)
    assert house.flood() == []


def test_what_probes_found_is_shown() -> None:
    house = with_b()
    (row,) = house.peers.view(lambda vni: "red")
    assert {row[key] for key in ("rtt_us", "rtt_last_us", "loss", "mtu")} == {None}
    house.answers(B)
    heard = house.probes[house.fdb.peers[vtep(B)]]
    heard.asked(1, house.time())
    heard.answered(1, heard.sender, house.time() + 0.00025)
    heard.path.answered(1472)
    (row,) = house.peers.view(lambda vni: "red")
    assert (row["rtt_us"], row["rtt_last_us"], row["loss"], row["mtu"]) == (250, 250, 0.0, 1500)
