from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from tests.control.world import Time, record, vtep
from vxswitch.control.peers import Peers
from vxswitch.control.reconciler import SLICE, Reconciler
from vxswitch.fdb import Fdb, LocalPort, Row, Table
from vxswitch.model import Claim, Claimed, LeaseState, MemberJoined, MemberLeft, NodeRecord, Snapshot, Withdrawn

VNI = 100
MAC, OTHER = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
B, C = record("b", "192.0.2.2"), record("c", "192.0.2.3")


@dataclass
class Announcements:
    """``Announces``: what would be told to the store."""

    claimed: list[bytes] = field(default_factory=list)
    seen: list[bytes] = field(default_factory=list)
    released: list[bytes] = field(default_factory=list)
    lost: list[bytes] = field(default_factory=list)
    under_way: set[bytes] = field(default_factory=set)
    doubtful: list[bytes] = field(default_factory=list)
    asked_way: list[bytes] = field(default_factory=list)

    def announce(self, vni: int, mac: bytes, *, seen: bool = False) -> None:
        self.claimed.append(mac)
        if seen:
            self.seen.append(mac)

    def release(self, vni: int, mac: bytes) -> None:
        self.released.append(mac)

    def moved_away(self, vni: int, mac: bytes) -> None:
        self.lost.append(mac)

    def gives_way(self, vni: int, mac: bytes) -> bool:
        self.asked_way.append(mac)
        self.doubtful.append(mac)
        return not self.pending(vni, mac)

    def crossed(self, vni: int, mac: bytes) -> None:
        self.doubtful.append(mac)

    def pending(self, vni: int, mac: bytes) -> bool:
        return mac in self.under_way


@dataclass
class Given:
    """``KnowsPorts``."""

    ports: dict[bytes, LocalPort] = field(default_factory=dict)
    waiting: set[bytes] = field(default_factory=set)

    def given(self, vni: int, mac: bytes) -> LocalPort | None:
        return self.ports.get(mac)

    def expects(self, vni: int, mac: bytes) -> bool:
        return mac in self.waiting


class House:
    """A reconciler with one network and one local port."""

    def __init__(self) -> None:
        self.time, self.fdb = Time(), Fdb()
        self.table = self.fdb.add(Table("red", VNI, mtu=1450))
        self.table.on_local = lambda table, row, appeared: None
        self.peers = Peers(self.fdb, uid="uid-me", own=[vtep("192.0.2.1")], grace=60.0, clock=self.time)
        self.said, self.ports = Announcements(), Given()
        self.reconciler = Reconciler(self.fdb, self.peers, self.said, node="me", uid="uid-me", epoch=5, clock=self.time)
        self.reconciler.ports = self.ports
        self.reconciler.join(VNI)
        self.port = LocalPort("red/c1/eth0", MAC, 64)
        self.table.add_port(self.port)

    def hear(self, *events: object) -> None:
        for event in events:
            self.reconciler.apply(event)  # type: ignore[arg-type]

    def members(self, *nodes: NodeRecord) -> None:
        self.hear(*(MemberJoined(VNI, node, i + 1) for i, node in enumerate(nodes or (B, C))))

    def local(self, mac: bytes = MAC, *, given: bool = True, rev: int | None = None) -> Row:
        return self.table.install(mac, self.port, "learned", self.time(), given=given, rev=rev)

    def hop(self, mac: bytes = MAC) -> str | None:
        """The node behind which a MAC stands, "local", or None."""
        row = self.table.rows.get(mac)
        return None if row is None else "local" if row.hop is self.port else row.node


def claim(
    node: NodeRecord, rev: int, mac: bytes = MAC, *, epoch: int | None = None, flags: tuple[str, ...] = ()
) -> Claim:
    owner_epoch = node.epoch if epoch is None else epoch
    return Claim(VNI, mac, node.name, node.uid, owner_epoch, node.vteps, ("10.0.0.1",), flags, 0.0, rev)


ME = record("me", "192.0.2.1", epoch=5)


# -- claims of other nodes -------------------------------------------------------------------------------------------


def test_a_claim_becomes_a_row_behind_its_nodes_vtep() -> None:
    house = House()
    house.members()
    house.hear(Claimed(claim(B, 10, flags=("sticky",))))
    row = house.table.rows[MAC]
    assert (row.source, row.node, row.rev, row.flags, row.stale) == ("claimed", "b", 10, ("sticky",), False)
    assert row.hop is house.fdb.peers[vtep("192.0.2.2")]


def test_a_later_claim_moves_the_row_and_keeps_the_object() -> None:
    house = House()
    house.members()
    house.hear(Claimed(claim(B, 10)))
    row = house.table.rows[MAC]
    house.hear(Claimed(claim(C, 11)))
    assert house.table.rows[MAC] is row and house.hop() == "c"


def test_a_withdrawal_removes_the_row() -> None:
    house = House()
    house.members()
    house.hear(Claimed(claim(B, 10)), Withdrawn(VNI, MAC, 11))
    assert house.hop() is None


def test_a_withdrawal_removes_nothing_that_the_claim_did_not_install() -> None:
    house = House()
    house.members()
    static = house.fdb.peer(vtep("192.0.2.9"))
    house.table.install(MAC, static, "static", 0.0)
    house.hear(Claimed(claim(B, 10)))
    assert house.table.rows[MAC].hop is static  # an admin's row outranks claims
    house.hear(Withdrawn(VNI, MAC, 11))
    assert house.table.rows[MAC].hop is static


def test_a_claim_waits_for_its_node_to_be_a_member() -> None:
    """Never a datagram to an address that only a row names; and never a row lost because it came first."""
    house = House()
    house.hear(Claimed(claim(B, 10)))
    assert house.hop() is None
    house.members(B)
    assert house.hop() == "b"


def test_rows_of_a_node_that_leaves_wait_too() -> None:
    house = House()
    house.members()
    house.hear(Claimed(claim(B, 10)), MemberLeft(VNI, "b", 11))
    assert house.hop() is None
    house.hear(MemberJoined(VNI, B, 12))
    assert house.hop() == "b"


def test_a_node_without_a_family_of_ours_gets_no_row() -> None:
    house = House()
    six = record("six", "2001:db8::6")
    house.members(six)
    house.hear(Claimed(claim(six, 10)))
    assert house.hop() is None
    house.hear(MemberJoined(VNI, replace(six, epoch=2, vteps=(vtep("192.0.2.6"),)), 11))
    assert house.hop() == "six"


def test_a_vtep_that_changes_takes_its_rows_along() -> None:
    house = House()
    house.members(B)
    house.hear(Claimed(claim(B, 10)))
    house.hear(MemberJoined(VNI, replace(B, epoch=2, vteps=(vtep("192.0.2.22"),)), 11))
    assert house.table.rows[MAC].hop is house.fdb.peers[vtep("192.0.2.22")]


def test_events_of_networks_that_are_not_joined_are_ignored() -> None:
    house = House()
    house.hear(MemberJoined(7, B, 1), Claimed(replace(claim(B, 2), vni=7)), Withdrawn(7, MAC, 3))
    assert house.table.rows == {}
    house.reconciler.leave(VNI)
    house.hear(Claimed(claim(B, 10)))
    assert house.table.rows == {}


def test_a_network_that_floods_and_learns_takes_members_but_no_rows() -> None:
    house = House()
    house.table.learning = "flood"
    house.members()
    house.hear(Claimed(claim(B, 10)))
    assert house.hop() is None and len(house.table.flood) == 2


# -- what is ours ----------------------------------------------------------------------------------------------------


def test_our_own_claim_confirms_the_local_row() -> None:
    house = House()
    house.local()
    house.hear(Claimed(claim(ME, 10, flags=("frozen",))))
    row = house.table.rows[MAC]
    assert (row.rev, row.flags, house.hop()) == (10, ("frozen",), "local")
    assert house.said.claimed == house.said.released == []


def test_a_claim_of_an_earlier_start_is_made_again_while_the_mac_is_here() -> None:
    house = House()
    house.local()
    house.hear(Claimed(claim(ME, 10, epoch=4)))
    assert house.said.claimed == [MAC]
    assert house.table.rows[MAC].rev is None


def test_a_claim_of_an_earlier_start_is_released_when_the_mac_is_gone() -> None:
    house = House()
    house.hear(Claimed(claim(ME, 10, epoch=4)))
    assert house.said.released == [MAC] and house.hop() is None


def test_the_mac_of_a_port_that_waits_stays_ours() -> None:
    house = House()
    house.ports.waiting.add(MAC)
    house.hear(Claimed(claim(ME, 10, epoch=4)))
    assert house.said.released == []


def test_nothing_is_released_while_a_claim_is_under_way() -> None:
    house = House()
    house.said.under_way.add(MAC)
    house.hear(Claimed(claim(ME, 10, epoch=4)))
    assert house.said.released == house.said.claimed == []


def test_a_local_mac_moves_away_to_a_later_claim() -> None:
    house = House()
    house.members()
    house.local(rev=10)
    house.hear(Claimed(claim(B, 11)))
    row = house.table.rows[MAC]
    assert house.hop() == "b" and not row.given and row.rev == 11


def test_a_local_mac_stays_while_our_own_claim_is_under_way() -> None:
    house = House()
    house.members()
    house.local()
    house.said.under_way.add(MAC)
    house.hear(Claimed(claim(B, 11)))
    assert house.hop() == "local"


def test_what_is_read_while_our_own_claim_is_under_way_leaves_its_answer_in_doubt() -> None:
    house = House()
    house.members()
    house.local(rev=12)
    house.said.under_way.add(MAC)
    house.hear(Claimed(claim(B, 11)), Claimed(claim(B, 13)), Withdrawn(VNI, MAC, 14))
    assert house.said.doubtful == [MAC] * 3 and house.said.asked_way == [MAC]
    assert house.hop() == "local"


def test_a_rev_that_a_snapshot_has_come_past_is_of_a_lost_history() -> None:
    house = House()
    house.members()
    house.local(rev=6)
    house.hear(snapshot(12, claim(B, 4), reason="gen"))
    assert house.hop() == "b"


@pytest.mark.parametrize(("before", "stays"), [(5.0, True), (50.0, False)])
def test_what_a_failover_lost_is_ours_if_we_had_it_later(before: float, stays: bool) -> None:
    house = House()
    house.members()
    house.local(rev=20)
    house.hear(snapshot(20, replace(claim(ME, 20), since=20.0), reason="start"))
    house.hear(snapshot(40, replace(claim(B, 10), since=before), reason="rev"))
    assert house.hop() == ("local" if stays else "b")
    assert house.said.seen == ([MAC] if stays else [])
    house.hear(snapshot(41, claim(B, 10)))
    assert house.hop() == "b", "it counts once"


def test_a_rev_beyond_a_snapshot_of_the_same_history_stays() -> None:
    house = House()
    house.members()
    house.local(rev=8)
    house.hear(snapshot(6, claim(B, 4)), Claimed(claim(B, 7)))
    assert house.hop() == "local" and house.table.rows[MAC].rev == 8


def test_an_older_claim_does_not_take_a_mac_that_was_confirmed_later() -> None:
    house = House()
    house.members()
    house.local(rev=12)
    house.hear(Claimed(claim(B, 11)))
    assert house.hop() == "local"


def test_a_refused_claim_puts_the_owners_row_back() -> None:
    house = House()
    house.members()
    house.hear(Claimed(claim(B, 10)))
    house.table.learn(MAC, house.port, 0.0)
    assert house.hop() == "local"
    house.reconciler.put_back(claim(B, 10))
    assert house.hop() == "b"


def test_a_refused_mac_moves_when_its_owner_can_be_reached_whatever_was_confirmed_before() -> None:
    house = House()
    house.members(C)
    house.local(rev=22)
    house.reconciler.put_back(claim(B, 11))
    assert house.hop() == "local", "there is nowhere to send to yet"
    house.hear(Claimed(claim(B, 11)))
    house.members(B)
    assert house.hop() == "b"


def test_what_is_here_stays_whatever_another_node_of_our_name_had() -> None:
    house = House()
    before = record("me", "192.0.2.9", uid="uid-before")  # this host, before it had another address and a new disk
    house.members(before)
    house.local()
    house.reconciler.put_back(claim(before, 10))  # our claim was refused: that one's lease is not over yet
    assert house.hop() == "local"
    house.hear(Claimed(claim(before, 11)), Snapshot(VNI, 12, (claim(before, 11),), (before,), "rev"))
    assert house.hop() == "local" and house.said.lost == []
    house.hear(Claimed(claim(before, 13, OTHER)))  # not here: it may be a node that has our name now
    assert house.hop(OTHER) == "me"


def test_events_that_an_answer_has_overtaken_change_nothing() -> None:
    house = House()
    house.members()
    house.reconciler.put_back(claim(C, 20))
    house.hear(Claimed(claim(B, 18)), Withdrawn(VNI, MAC, 19))
    assert house.hop() == "c"
    house.hear(Claimed(claim(C, 20)), Withdrawn(VNI, MAC, 21))
    assert house.hop() is None


def test_an_answer_in_a_new_history_does_not_make_its_events_look_old() -> None:
    """FLUSHALL: what is kept has revs of before. One answer later all other claims began to look overtaken."""
    house = House()
    house.hear(snapshot(20, claim(B, 18), claim(B, 6, OTHER), reason="start"))
    house.hear(snapshot(0, claim(B, 18), claim(B, 6, OTHER), reason="gen"))
    house.reconciler.put_back(claim(B, 7))
    house.hear(Claimed(claim(C, 4, OTHER)), Claimed(claim(B, 7)))
    assert (house.hop(), house.hop(OTHER)) == ("b", "c")


def test_a_withdrawal_of_a_mac_that_is_here_has_it_claimed_again() -> None:
    house = House()
    house.local(rev=10)
    house.hear(Withdrawn(VNI, MAC, 11))
    assert (house.hop(), house.table.rows[MAC].rev, house.said.claimed) == ("local", None, [MAC])


def test_a_mac_given_to_a_port_comes_home_when_its_thief_lets_go() -> None:
    house = House()
    house.members()
    house.ports.ports[MAC] = house.port
    house.hear(Claimed(claim(B, 10)))
    assert house.hop() == "b"
    house.hear(Withdrawn(VNI, MAC, 11))
    assert house.hop() == "local" and house.table.rows[MAC].given


def test_deleting_a_static_row_brings_the_claim_back() -> None:
    house = House()
    house.members()
    house.table.install(MAC, house.fdb.peer(vtep("192.0.2.9")), "static", 0.0)
    house.hear(Claimed(claim(B, 10)))
    house.table.withdraw(MAC)
    house.reconciler.reinstate(house.table, MAC)
    assert house.hop() == "b"


# -- liveness --------------------------------------------------------------------------------------------------------


def leases(*live: str) -> LeaseState:
    return LeaseState(dict.fromkeys(live, 2.0), trusted=True)


def test_a_suspended_nodes_rows_stay_and_a_gone_ones_go_and_come_back() -> None:
    house = House()
    house.members()
    house.hear(Claimed(claim(B, 10)), leases("c"))
    assert house.hop() == "b"
    house.time.pass_by(60)
    house.hear(leases("c"))
    assert house.hop() is None
    house.hear(leases("b", "c"))
    assert house.hop() == "b"  # its claim was there all the time: nobody has to say it again


def test_rows_of_a_node_that_was_refused_stand_when_the_address_is_free() -> None:
    house = House()
    heir = record("heir", "192.0.2.2")
    house.members(B, heir)
    house.hear(Claimed(claim(heir, 10)))
    assert house.hop() is None
    house.hear(MemberLeft(VNI, "b", 11))
    assert house.hop() == "heir"


def test_a_local_mac_that_moved_to_a_node_out_of_reach_follows_when_that_is_a_member() -> None:
    house = House()
    house.local(rev=5)
    house.hear(Claimed(claim(B, 10)))
    assert house.hop() == "local"  # better than nothing
    house.hear(MemberJoined(VNI, B, 11))
    assert house.hop() == "b"


def test_a_claim_counts_again_when_the_local_row_is_gone() -> None:
    house = House()
    house.members()
    house.hear(Claimed(claim(B, 10)))
    house.table.on_local = lambda table, row, appeared: (
        None if appeared else house.reconciler.fall_back(table.vni, row.mac)
    )
    house.local()
    assert house.hop() == "local"
    house.table.remove_port(house.port)
    assert house.hop() == "b"
    house.table.withdraw(MAC)
    assert house.hop() is None  # only local rows fall back


# -- snapshots -------------------------------------------------------------------------------------------------------


def snapshot(rev: int, *claims: Claim, members: tuple[NodeRecord, ...] = (B, C), reason: str = "gap") -> Snapshot:
    return Snapshot(VNI, rev, claims, members, reason)


def test_a_snapshot_is_compared_not_replayed() -> None:
    house = House()
    house.hear(snapshot(20, claim(B, 10), claim(C, 11, OTHER), reason="start"))
    kept = house.table.rows[MAC]
    withdrawn: list[bytes] = []
    original = house.table.withdraw
    house.table.withdraw = lambda mac, **kw: withdrawn.append(mac) or original(mac, **kw)  # type: ignore
    house.hear(snapshot(30, claim(B, 10)))
    assert withdrawn == [OTHER]
    assert house.table.rows == {MAC: kept} and kept.hop is not None
    assert house.reconciler.resyncs == {"gap": 1}


def test_a_large_snapshot_goes_in_steps_and_what_was_answered_meanwhile_stands() -> None:
    house = House()
    house.members()
    rows = [claim(B, n + 10, b"\x02\x01" + n.to_bytes(4, "big")) for n in range(2 * SLICE)]
    steps = house.reconciler.steps(snapshot(5000, *rows, reason="start"))
    next(steps)
    last = rows[-1].mac
    assert rows[0].mac in house.table.rows and last not in house.table.rows
    house.reconciler.put_back(claim(C, 6000, last))
    house.reconciler.put_back(claim(C, 5, rows[-2].mac))  # earlier than the snapshot's
    assert len(list(steps)) == 1
    assert len(house.table.rows) == len(rows)
    assert (house.hop(rows[0].mac), house.hop(rows[-2].mac), house.hop(last)) == ("b", "b", "c")
    assert len(list(house.reconciler.steps(snapshot(7000)))) == 2
    assert house.table.rows == {}


def test_a_snapshot_brings_and_takes_members() -> None:
    house = House()
    house.hear(snapshot(20, members=(B,), reason="start"))
    assert [p.node for p in house.table.flood] == ["b"]
    house.hear(snapshot(30, members=(C,)))
    assert [p.node for p in house.table.flood] == ["c"]


def test_a_snapshot_without_a_local_mac_has_it_announced() -> None:
    house = House()
    house.local()
    house.hear(snapshot(20, reason="start"))
    assert house.said.claimed == [MAC]
    house.hear(snapshot(21, claim(ME, 21)))
    assert house.said.claimed == [MAC] and house.table.rows[MAC].rev == 21


def test_rows_that_the_store_has_lost_stand_stale_until_it_gives_them_up() -> None:
    house = House()
    house.hear(snapshot(20, claim(B, 10), claim(C, 19, OTHER), reason="start"))
    house.hear(snapshot(2, claim(B, 10), claim(C, 19, OTHER), reason="gen"))  # another history, both kept
    assert house.table.rows[MAC].stale and house.table.rows[OTHER].stale
    house.hear(Claimed(claim(B, 3)))  # asserted again, in the new history
    assert not house.table.rows[MAC].stale and house.table.rows[MAC].rev == 3
    house.hear(Withdrawn(VNI, OTHER, 3))  # never came back
    assert house.hop(OTHER) is None and house.hop() == "b"


def test_our_own_rows_that_the_store_has_lost_are_announced_at_once() -> None:
    house = House()
    house.local(rev=15)
    house.hear(snapshot(20, claim(ME, 15), reason="start"))
    house.hear(snapshot(1, claim(ME, 15), reason="gen"))
    assert set(house.said.claimed) == {MAC}
    assert house.table.rows[MAC].rev is None


@pytest.mark.parametrize("order", [1, -1])
def test_rows_and_members_of_one_snapshot_need_no_order(order: int) -> None:
    house = House()
    claims = (claim(B, 10), claim(C, 11, OTHER))[::order]
    house.hear(snapshot(20, *claims, members=(C, B)[::order], reason="start"))
    assert (house.hop(), house.hop(OTHER)) == ("b", "c")


def test_addresses_of_claims_can_be_asked_for() -> None:
    house = House()
    house.hear(Claimed(claim(B, 10)))
    assert house.reconciler.owner_of(VNI, "10.0.0.1") == MAC
    assert house.reconciler.ips_of(VNI, MAC) == ("10.0.0.1",)
    assert house.reconciler.owner_of(VNI, "10.0.0.2") is None and house.reconciler.ips_of(7, MAC) == ()


# -- addresses, duplicates, soft rows ----------------------------------------------------------------------------------

IP = b"\x0a\0\0\x01"


def test_the_addresses_of_claims_are_bound_as_long_as_the_claims_stand() -> None:
    house = House()
    house.members()
    house.hear(Claimed(claim(B, 10)))
    assert house.table.bindings.mac_of(IP) == MAC
    house.hear(Claimed(replace(claim(C, 11), ips=("10.0.0.2", "nonsense"))))
    assert house.table.bindings.mac_of(IP) is None and house.table.bindings.of(MAC) == (b"\x0a\0\0\x02",)
    house.hear(Withdrawn(VNI, MAC, 12))
    assert house.table.bindings.of(MAC) == ()


def test_a_duplicate_is_named_once_with_both_nodes_and_our_port(caplog: pytest.LogCaptureFixture) -> None:
    house = House()
    house.members()
    house.hear(Claimed(claim(B, 10)))
    house.table.install(MAC, house.port, "learned", 0.0)
    house.hear(Claimed(claim(C, 11, flags=("frozen",))), Claimed(claim(C, 12, flags=("frozen",))))
    assert house.reconciler.freezes == 1 and "frozen" in house.table.rows[MAC].flags
    (told,) = [record.message for record in caplog.records if "duplicate" in record.message]
    assert "node c" in told and "node b" in told and "red/c1/eth0" in told


def test_a_mac_that_only_stood_here_is_released_when_it_moves_away_and_a_given_one_is_not() -> None:
    house = House()
    house.members()
    house.local(MAC, given=False)
    house.local(OTHER)
    house.hear(Claimed(claim(B, 10)), Claimed(claim(B, 11, OTHER)))
    assert house.said.lost == [MAC]


def test_hybrid_a_learned_row_stands_in_for_a_missing_claim_and_never_for_one_that_is_there() -> None:
    house = House()
    house.table.learning = "hybrid"
    house.members()
    b, c = (house.fdb.peers[vtep(f"192.0.2.{n}")] for n in (2, 3))
    house.table.learn(MAC, b, 0.0)
    assert house.table.rows[MAC].source == "learned" and house.table.stats.learned_soft == 1
    house.hear(Claimed(claim(C, 10)))
    house.table.learn(MAC, b, 0.0)
    assert (house.table.rows[MAC].source, house.table.rows[MAC].hop) == ("claimed", c)
    house.hear(Withdrawn(VNI, MAC, 11))
    assert MAC not in house.table.rows
    house.local(OTHER, given=False)
    house.table.learn(OTHER, b, 0.0)
    assert house.hop(OTHER) == "local", "what is here moves away by a claim, not by a frame"
    assert house.table.stats.learned_soft == 1
