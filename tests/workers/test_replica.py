"""The tables of a worker equal the main process's, whatever happens there; what they do not explain is asked."""

from __future__ import annotations

import os
import random

import pytest

from vxswitch.dataplane.flow import FlowCache
from vxswitch.dataplane.port import TapPort
from vxswitch.fdb import Fdb, Hop, Peer, Table
from vxswitch.groups import Family, GroupTable, Members
from vxswitch.model import PortSpec, Vtep
from vxswitch.wire.multicast import BAD, Message
from vxswitch.wire.neighbour import ASK, Said
from vxswitch.workers.feed import Feed
from vxswitch.workers.messages import (
    Groups,
    Heard,
    Learned,
    NetworkGone,
    NetworkState,
    Overheard,
    Question,
    Rows,
    decode_to_worker,
    encode,
)
from vxswitch.workers.replica import QUESTIONS, Replica, ReplicaTable

VNI = 100
SPEC = PortSpec("p", VNI, None, False, 64, 1000, 2000)
NOWHERE = os.open(os.devnull, os.O_RDONLY)  # their TAP; nobody reads it
PEERS = [Vtep(f"192.0.2.{n}") for n in range(1, 5)]
MACS = [bytes((2, 0, 0, 0, 0, n)) for n in range(12)]
GROUPS = [bytes((239, 0, 0, n)) for n in range(4)] + [bytes((0xFF, 0x0E, *bytes(13), n)) for n in range(4)]


class Both:
    """Main's tables and a replica of them, joined by bytes."""

    def __init__(self) -> None:
        self.fdb = Fdb()
        self.numbers: dict[Hop, int] = {}
        self.due: list[object] = []
        self.questions: list[Question] = []
        self.answers = True
        self.copy = Fdb()
        self.ports: dict[int, TapPort] = {}
        self.replica = Replica(self.copy, self.ports, self._ask)
        self.messages = 0
        self.feed = Feed(self.fdb, self.numbers, tell=self._tell, call_soon=self.due.append)
        self.fdb.watcher = self.feed
        self.table = self.fdb.add(Table("red", VNI, mtu=1450, learning="flood", max_macs=8))
        for vtep in PEERS:
            self.fdb.peer(vtep, "node")
        self.set_peers(self.fdb.peers.values())
        for number in (1, 2):
            port = TapPort(SPEC, self.table, FlowCache(), 0.0, NOWHERE)
            self.numbers[port] = number
            self.table.add_port(port)
            self.ports[number] = TapPort(SPEC, self.copy.tables[VNI], FlowCache(), 0.0, NOWHERE)
            self.copy.tables[VNI].add_port(self.ports[number])

    def _ask(self, question: Question) -> bool:
        self.questions.append(question)
        return self.answers

    def _tell(self, message: object) -> None:
        self.messages += 1
        told = decode_to_worker(encode(message))
        match told:
            case NetworkState():
                self.replica.network(told)
            case Rows():
                self.replica.rows(told, 0.0)
            case Groups():
                self.replica.groups(told)
            case NetworkGone(vni):
                self.copy.remove(vni)

    def set_peers(self, peers: object) -> None:
        live = [peer for peer in peers if peer.live]  # type: ignore[attr-defined]
        senders = {peer.vtep.address: peer for peer in peers}  # type: ignore[attr-defined]
        self.table.set_peers(live, len(senders) - len(live), senders)

    def flush(self) -> None:
        if self.due:
            self.due.clear()
            self.feed.flush()

    def same(self) -> None:
        """Both sides say the same of everything that a frame can meet."""
        self.flush()
        table, copy = self.table, self.copy.tables[VNI]
        assert _rows(table, self.numbers) == _rows(copy, {port: n for n, port in self.ports.items()})
        policy = ("mtu", "learning", "unknown", "antispoof", "vlan", "suppress", "suspended")
        assert [getattr(table, key) for key in policy] == [getattr(copy, key) for key in policy]
        assert [p.vtep for p in table.flood] == [p.vtep for p in copy.flood]
        assert {a: _peer(p) for a, p in table.senders.items()} == {a: _peer(p) for a, p in copy.senders.items()}
        assert _groups(table, self.numbers) == _groups(copy, {port: n for n, port in self.ports.items()})


def _peer(peer: Peer) -> tuple[object, ...]:
    return peer.vtep, peer.node, peer.live, peer.static


def _groups(table: Table, numbers: dict[Hop, int]) -> object:
    """Where frames of the groups in these tests go, and what hosts tell routers; None: everywhere."""
    known = table.groups
    if known is None:
        return None
    ways = [known.audience(group) for group in GROUPS] + [known.routers(family) for family in (4, 6)]
    return [([numbers[port] for port in ports], [peer.vtep for peer in peers]) for ports, peers in ways]


def _rows(table: Table, numbers: dict[Hop, int]) -> dict[bytes, tuple[object, ...]]:
    return {
        mac: (
            row.hop.vtep if isinstance(row.hop, Peer) else numbers[row.hop],
            row.source,
            row.given,
            row.node,
            row.flags,
            row.stale,
            table.bindings.of(mac),
        )
        for mac, row in table.rows.items()
        if row.hop is not None
    }


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_the_replica_follows(seed: int) -> None:
    both, chance = Both(), random.Random(seed)
    hops: list[Hop] = [*both.fdb.peers.values(), *both.numbers]
    for now in range(300):
        mac, hop, table = chance.choice(MACS), chance.choice(hops), both.table
        match chance.randrange(9):
            case 0 | 1 | 2:
                table.learn(mac, hop, float(now))
            case 3:
                source = chance.choice(("static", "claimed", "learned"))
                given, stale = hop.local and chance.random() < 0.3, chance.random() < 0.3
                table.install(mac, hop, source, float(now), given=given, node="n", stale=stale)
                table.bind(mac, [bytes((10, 0, 0, n)) for n in range(chance.randrange(4))])
            case 4:
                table.withdraw(mac)
                table.bind(mac, ())
            case 5:
                table.age(float(now), 20.0)
            case 6:
                table.withdraw_hop(hop)
            case 7:
                table.unknown, table.mtu = chance.choice(("flood", "drop")), chance.randrange(1280, 1500)
                table.suppress = chance.random() < 0.5
                table.changed()
            case 8:
                peers = chance.sample(list(both.fdb.peers.values()), 3)
                for peer in peers:
                    peer.live, peer.static = chance.random() < 0.7, chance.random() < 0.2
                both.set_peers(peers)
        if chance.random() < 0.3:
            both.same()
    both.same()


def test_many_changes_are_few_messages() -> None:
    both = Both()
    both.flush()
    both.messages = 0
    peer = both.fdb.peer(PEERS[0])
    for number in range(2000):
        both.table.install(number.to_bytes(6, "big"), peer, "claimed", 0.0)
        both.table.changed()
    both.flush()
    assert both.messages == 5  # the network, and 2000 rows by 512
    both.same()


def test_a_network_that_goes_takes_its_rows_along_and_may_come_back() -> None:
    both = Both()
    both.table.learn(MACS[0], both.fdb.peer(PEERS[0]), 0.0)
    both.fdb.remove(VNI)
    both.flush()
    assert both.copy.tables == {}
    both.table = both.fdb.add(Table("red", VNI, mtu=1400))
    both.same()


def test_a_source_is_asked_about_once_and_never_learned() -> None:
    both = Both()
    both.flush()
    copy = both.copy.tables[VNI]
    assert isinstance(copy, ReplicaTable)
    peer, port = both.copy.peers[PEERS[0]], both.ports[2]
    for _ in range(3):
        assert copy.learn(MACS[0], peer, 1.0) is None
    assert both.questions == [Learned(VNI, MACS[0], None, ("192.0.2.1", 4789))] and not copy.rows
    assert copy.learn(MACS[0], port, 2.0) is None  # it moved before there was an answer
    assert both.questions[1:] == [Learned(VNI, MACS[0], 2, None)]
    both.table.learn(MACS[0], next(p for p, n in both.numbers.items() if n == 2), 2.0)
    both.same()
    row = copy.learn(MACS[0], port, 3.0)
    assert row is not None and row.seen == 3.0 and len(both.questions) == 2
    assert copy.learn(MACS[0], peer, 4.0) is row and row.hop is port  # asked: it has moved
    assert len(both.questions) == 3


def test_a_move_that_no_frame_may_make_is_not_asked_about() -> None:
    both = Both()
    port = next(iter(both.numbers))
    both.table.install(MACS[0], port, "learned", 0.0, given=True)
    both.flush()
    copy = both.copy.tables[VNI]
    assert copy.learn(MACS[0], both.copy.peers[PEERS[0]], 1.0) is not None
    assert both.questions == []


def test_questions_are_bounded_and_may_be_asked_again() -> None:
    both = Both()
    both.flush()
    copy, port = both.copy.tables[VNI], both.ports[1]
    for number in range(QUESTIONS + 100):
        copy.learn(number.to_bytes(6, "big"), port, 1.0)
    assert len(both.questions) == QUESTIONS
    both.replica.new_period()
    copy.learn(bytes(6), port, 1.0)
    assert len(both.questions) == QUESTIONS + 1


def test_what_could_not_be_asked_is_asked_with_the_next_frame() -> None:
    both = Both()
    both.flush()
    both.answers = False
    both.copy.tables[VNI].learn(MACS[0], both.ports[1], 1.0)
    both.answers = True
    both.copy.tables[VNI].learn(MACS[0], both.ports[1], 2.0)
    assert len(both.questions) == 2


def test_only_learned_macs_that_sent_since_are_told() -> None:
    both = Both()
    for number, mac in enumerate(MACS[:4]):
        both.table.learn(mac, both.fdb.peer(PEERS[number]), 0.0)
    both.table.install(MACS[5], both.fdb.peer(PEERS[0]), "claimed", 0.0)
    both.flush()
    both.replica.seen(5.0)
    copy = both.copy.tables[VNI]
    for mac in (MACS[1], MACS[5]):
        copy.rows[mac].seen = 7.0
    assert [(told.vni, told.rows) for told in both.replica.seen(8.0)] == [(VNI, [(MACS[1], 7.0)])]
    assert both.replica.seen(9.0) == []


@pytest.mark.parametrize("seed", range(10))
def test_group_frames_go_the_same_ways_everywhere(seed: int) -> None:
    both, chance = Both(), random.Random(seed)
    for number, peer in enumerate(both.fdb.peers.values()):
        peer.node = f"n{number}" if number else None
    both.set_peers(both.fdb.peers.values())

    def ports() -> frozenset[Hop]:
        return frozenset(chance.sample(sorted(both.numbers, key=both.numbers.get), chance.randrange(3)))  # type: ignore[arg-type]

    def nodes() -> frozenset[str]:
        return frozenset(chance.sample(("n1", "n2", "n3", "n9"), chance.randrange(4)))

    known = GroupTable(both.table, lambda hop, message: None)
    both.table.set_groups(known)
    for _ in range(200):
        match chance.randrange(6):
            case 0 | 1 | 2:
                known.put(chance.choice(GROUPS), Members(ports(), nodes()))
            case 3:
                known.set_family(
                    chance.choice((4, 6)), Family(Members(ports(), nodes()), ports(), chance.random() < 0.3)
                )
            case 4:
                known.set_tellers(nodes())
            case 5:
                both.table.set_groups(None if chance.random() < 0.3 else known)
        if chance.random() < 0.4:
            both.same()
    both.same()


def test_news_of_one_group_leaves_other_cached_decisions_alone() -> None:
    both = Both()
    known = GroupTable(both.table, lambda hop, message: None)
    both.table.set_groups(known)
    for group in GROUPS[:2]:
        known.put(group, Members(nodes=frozenset({"n1"})))
    both.same()
    copy = both.copy.tables[VNI]
    assert copy.groups is not None
    generation, (first, second) = copy.generation, (copy.groups.listeners(group) for group in GROUPS[:2])
    known.put(GROUPS[0], Members(nodes=frozenset({"n1", "n2"})))
    both.same()
    assert copy.generation == generation and first.hop is None and second.hop is not None


def test_what_stations_say_about_groups_is_told_to_the_main_process_within_bounds() -> None:
    both = Both()
    both.table.set_groups(GroupTable(both.table, lambda hop, message: None))
    both.flush()
    copy = both.copy.tables[VNI]
    assert copy.groups is not None
    message = Message(BAD, 4)
    copy.groups.hear(both.ports[2], message)
    copy.groups.hear(both.copy.peers[PEERS[0]], message)
    assert both.questions == [Overheard(VNI, 2, None, message), Overheard(VNI, None, ("192.0.2.1", 4789), message)]
    for _ in range(2 * QUESTIONS):
        copy.groups.hear(both.ports[1], message)
    assert len(both.questions) == QUESTIONS
    both.replica.new_period()
    copy.groups.hear(both.ports[1], message)
    assert len(both.questions) == QUESTIONS + 1


def test_what_a_station_says_is_told_once_a_period() -> None:
    both = Both()
    both.flush()
    said = Said(ASK, MACS[0], b"\x0a\0\0\1", b"\x0a\0\0\2", "frame")
    for _ in range(3):
        both.copy.tables[VNI].hear(both.ports[1], said)
    assert both.questions == [Heard(VNI, 1, ASK, MACS[0], said.ip, said.target, "frame")]
    both.replica.new_period()
    both.copy.tables[VNI].hear(both.ports[1], said)
    both.copy.tables[VNI].hear(both.ports[2], said)
    assert [question.port for question in both.questions] == [1, 1, 2]
    both.answers = False
    both.copy.tables[VNI].hear(both.ports[2], said._replace(ip=None))
    both.answers = True
    both.copy.tables[VNI].hear(both.ports[2], said._replace(ip=None))
    assert len(both.questions) == 5, "what could not be told is told again"
