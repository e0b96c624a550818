"""The forwarding table against a plain dict: long random histories, and the rules one by one."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from vxswitch.counters import Stats
from vxswitch.dataplane.flow import Flow
from vxswitch.fdb import Fdb, Hop, LocalPort, Peer, Row, Source, Table
from vxswitch.model import Vtep

AGE = 64.0
TICK = AGE / 64


def mac(n: int) -> bytes:
    return bytes((2, 0, 0, 0, n >> 8, n & 0xFF))


def peer(n: int, *, static: bool = False) -> Peer:
    return Peer(Vtep(f"192.0.2.{n}"), static=static)


def table(learning: str = "flood", **policy: object) -> Table:
    return Table("net", 7, mtu=1450, learning=learning, **policy)  # type: ignore[arg-type]


@dataclass
class Entry:
    """What the model knows of one MAC."""

    hop: Hop
    source: Source
    given: bool = False
    rev: int | None = None
    flags: tuple[str, ...] = ()
    seen: float = 0.0

    @property
    def counted(self) -> bool:
        """Takes room, may be evicted, may age."""
        return self.source == "learned" and not self.given


@dataclass
class Model:
    """The table as a dict, written down from the rules and from nothing else."""

    control: bool
    max_macs: int
    rows: dict[bytes, Entry] = field(default_factory=dict)
    local: dict[bytes, bool] = field(default_factory=dict)  # what on_local must have said last
    refused: int = 0

    def behind(self, hop: Hop) -> int:
        return sum(e.hop is hop and e.counted for e in self.rows.values())

    def stands(self, mac: bytes, entry: Entry) -> None:
        self.rows[mac] = entry
        if entry.hop.local:
            self.local[mac] = True

    def goes(self, mac: bytes) -> None:
        entry = self.rows.pop(mac, None)
        if entry is not None and entry.hop.local:
            self.local[mac] = False

    def may_move(self, entry: Entry, hop: Hop) -> bool:
        if entry.source == "static" or entry.given or {"sticky", "frozen"} & set(entry.flags):
            return False
        if entry.source == "claimed":
            return hop.local
        return hop.local or not (self.control and entry.hop.local)

    def learn(self, mac: bytes, hop: Hop, now: float, evicted: bytes | None) -> None:
        entry = self.rows.get(mac)
        if entry is not None and entry.hop is hop:
            entry.seen = now
        elif entry is not None:
            if self.may_move(entry, hop):
                if self.behind(hop) >= hop.max_macs:
                    self.refused += 1
                    return
                if entry.hop.local and not hop.local:
                    self.local[mac] = False
                self.stands(mac, Entry(hop, "learned", seen=now))
        elif self.behind(hop) >= hop.max_macs:
            self.refused += 1
        elif len(self.rows) < self.max_macs:
            self.stands(mac, Entry(hop, "learned", seen=now))
        else:
            self.learn_when_full(mac, hop, now, evicted)

    def learn_when_full(self, mac: bytes, hop: Hop, now: float, evicted: bytes | None) -> None:
        """The fullest hop makes room, unless the newcomer's own would be no smaller after it. Which row: its choice."""
        most = max((self.behind(e.hop) for e in self.rows.values()), default=0)
        if most <= self.behind(hop) + 1:
            assert evicted is None
            self.refused += 1
            return
        assert evicted is not None
        victim = self.rows[evicted]
        assert victim.counted and victim.hop is not hop and self.behind(victim.hop) == most
        self.goes(evicted)
        self.stands(mac, Entry(hop, "learned", seen=now))


class History:
    """One table and its model, driven by a seed."""

    def __init__(self, seed: int, learning: str) -> None:
        self.random = random.Random(seed)
        self.table = table(learning, max_macs=24, stats=Stats())
        self.model = Model(learning == "control", 24)
        self.told: dict[bytes, bool] = {}
        self.table.on_local = self.on_local
        self.now = 500.0
        self.ports = [LocalPort(f"p{n}", None, limit) for n, limit in enumerate((4, 8, 1000))]
        self.peers = [peer(n) for n in range(1, 5)]
        for port in self.ports:
            self.table.add_port(port)
        self.flows: list[tuple[Flow, bytes, bytes]] = []

    def on_local(self, told_by: Table, row: Row, appeared: bool) -> None:
        assert told_by is self.table
        assert row.hop is not None
        assert row.hop.local or not appeared
        self.told[row.mac] = appeared

    def mac(self) -> bytes:
        return mac(self.random.randrange(40))

    def hop(self) -> Hop:
        return self.random.choice([*self.ports, *self.peers])

    def learn(self) -> None:
        mac, hop, before = self.mac(), self.hop(), set(self.table.rows)
        row = self.table.learn(mac, hop, self.now)
        gone = before - set(self.table.rows)
        assert len(gone) <= 1
        self.model.learn(mac, hop, self.now, gone.pop() if gone else None)
        assert row is self.table.rows.get(mac)

    def install(self) -> None:
        mac, hop = self.mac(), self.hop()
        source: Source = self.random.choice(("static", "claimed", "learned"))
        given = hop.local and self.random.random() < 0.3
        rev = self.random.choice((None, 5))
        flags = self.random.choice(((), ("sticky",), ("frozen",), ("gateway",)))
        old = self.model.rows.get(mac)
        same = old is not None and (old.hop, old.source, old.given) == (hop, source, given)
        self.table.install(mac, hop, source, self.now, given=given, rev=rev, flags=flags)
        if old is not None and old.hop.local and not hop.local and source == "learned":
            self.model.local[mac] = False  # of a claim control knows by itself
        self.model.stands(mac, Entry(hop, source, given, rev, flags, old.seen if same and old else self.now))

    def withdraw(self) -> None:
        mac = self.mac()
        row = self.table.withdraw(mac)
        assert (row is not None) == (mac in self.model.rows)
        assert row is None or row.hop is None
        self.model.goes(mac)

    def withdraw_hop(self) -> None:
        hop, source = self.hop(), self.random.choice((None, "learned", "claimed"))
        expected = {m for m, e in self.model.rows.items() if e.hop is hop and source in (None, e.source)}
        assert set(self.table.withdraw_hop(hop, source)) == expected  # type: ignore[arg-type]
        for mac in expected:
            self.model.goes(mac)

    def replace_port(self) -> None:
        port = self.random.choice(self.ports)
        expected = {m for m, e in self.model.rows.items() if e.hop is port}
        assert set(self.table.remove_port(port)) == expected
        assert port not in self.table.ports
        for mac in expected:
            self.model.goes(mac)
        self.table.add_port(port)

    def flush(self) -> None:
        expected = [m for m, e in self.model.rows.items() if e.counted]
        assert self.table.flush() == len(expected)
        for mac in expected:
            self.model.goes(mac)

    def tick(self) -> None:
        self.now += TICK
        before = set(self.table.rows)
        gone = self.table.age(self.now, AGE)
        aged = before - set(self.table.rows)
        assert len(aged) == gone
        for mac in aged:
            entry = self.model.rows[mac]
            assert entry.counted and self.now - entry.seen >= AGE, "aged too soon, or does not age at all"
            self.model.goes(mac)
        late = [m for m, e in self.model.rows.items() if e.counted and self.now - e.seen > 1.25 * AGE]
        assert not late, "older than 1.25 x age and still there"

    def decide(self) -> None:
        """Keep a decision between two rows, as the data plane would."""
        rows = list(self.table.rows.values())
        if len(rows) >= 2:
            src, dst = self.random.sample(rows, 2)
            self.flows.append((Flow(self.table, src, dst, None), src.mac, dst.mac))

    def step(self) -> None:
        operations = (self.learn, self.install, self.withdraw, self.tick, self.decide)
        rare = (self.flush, self.withdraw_hop, self.replace_port)
        if self.random.random() < 0.01:
            self.random.choice(rare)()
        else:
            self.random.choices(operations, (10, 3, 1, 4, 2))[0]()
        self.check()

    def check(self) -> None:
        real, model = self.table.rows, self.model.rows
        assert {m: (r.hop, r.source, r.given, r.rev, r.flags) for m, r in real.items()} == {
            m: (e.hop, e.source, e.given, e.rev, e.flags) for m, e in model.items()
        }
        assert self.told == self.model.local
        assert self.table.stats.fdb_refused == self.model.refused
        learned: dict[Hop, set[bytes]] = {}
        for m, e in model.items():
            if e.counted:
                learned.setdefault(e.hop, set()).add(m)
        assert {hop: set(rows) for hop, rows in self.table.learned.items()} == learned
        self.check_flows()

    def check_flows(self) -> None:
        """A decision holds exactly as long as nothing changed that it was made from."""
        for flow, src, dst in self.flows:
            as_it_was = (
                self.table.rows.get(src) is flow.src
                and self.table.rows.get(dst) is flow.dst
                and flow.src.hop is flow.src_hop
                and flow.dst.hop is flow.hop
                and flow.generation == self.table.generation
            )
            assert flow.holds() == as_it_was
        self.flows = [kept for kept in self.flows if kept[0].holds()][-50:]


@pytest.mark.parametrize("learning", ["flood", "control"])
@pytest.mark.parametrize("seed", [1, 2])
def test_ten_thousand_steps_like_a_plain_dict(seed: int, learning: str) -> None:
    history = History(seed, learning)
    for _ in range(10_000):
        history.step()
    assert history.table.stats.fdb_evicted > 10, "the history never filled the table"
    assert history.model.refused > 10


# -- the rules one by one ------------------------------------------------------------------------------------------


def test_a_given_row_takes_no_room_and_is_never_evicted() -> None:
    """A frame may have taught the MAC before the port was told that it is its own."""
    t = table(max_macs=3)
    port, other = LocalPort("p", None, 8), peer(1)
    own = mac(1)
    t.learn(own, port, 0.0)
    t.install(own, port, "learned", 0.0, given=True)
    t.learn(mac(2), port, 0.0)
    t.learn(mac(3), port, 0.0)
    assert t.learn(mac(4), other, 1.0) is not None
    assert own in t.rows
    for _ in range(4):
        t.age(10 * AGE, AGE)
    assert list(t.rows) == [own], "a given row does not age"


@pytest.mark.parametrize("count", [1, 15, 16, 17, 300, 5000])
def test_silent_rows_go_between_one_and_one_and_a_quarter_ages(count: int) -> None:
    """Whatever the size of the table, and whichever slice a row stands in."""
    t = table()
    now = 0.0
    for n in range(count):
        t.learn(n.to_bytes(6, "big"), peer(1), now)
    while t.rows:
        now += TICK
        if t.age(now, AGE):
            assert now >= AGE
        assert now <= 1.25 * AGE, f"{len(t.rows)} rows left"


@pytest.mark.parametrize("phase", range(32))
def test_a_row_pushed_back_in_the_sweep_still_goes_in_time(phase: int) -> None:
    """Rows learned behind an earlier hop move a row from the first slice of one pass to the last of the next."""
    t, first, second, never = table(), peer(1), peer(2), 1e9
    t.learn(mac(0), first, never)
    now = phase * TICK
    old = t.learn(mac(1), second, now)
    for n in range(200):
        t.learn((10_000 + n).to_bytes(6, "big"), second, never)
    for tick in range(phase):
        t.age(tick * TICK, AGE)
    while old is not None and old.hop is not None:
        now += TICK
        if now - old.seen == AGE - TICK:
            for n in range(5000):
                t.learn((20_000 + n).to_bytes(6, "big"), first, never)
        t.age(now, AGE)
        assert now - old.seen <= 1.25 * AGE


def test_ageing_counts_what_a_mac_sends_alone() -> None:
    """Looking a row up, which every frame to it does, does not keep it alive."""
    t, far = table(), peer(1)
    t.learn(mac(1), far, 0.0)
    t.learn(mac(2), far, 0.0)
    now = 0.0
    while now < 1.25 * AGE:
        now += TICK
        assert t.learn(mac(2), far, now) is not None
        t.lookup(mac(1))
        t.age(now, AGE)
    assert set(t.rows) == {mac(2)}


def test_eviction_spares_what_still_sends() -> None:
    t, big, small = table(max_macs=4), peer(1), peer(2)
    for n in range(4):
        t.learn(mac(n), big, 0.0)
    t.learn(mac(0), big, 5.0)
    assert t.learn(mac(9), small, 6.0) is not None
    assert mac(0) in t.rows and mac(1) not in t.rows
    assert t.stats.fdb_evicted == 1


def test_a_flood_of_sources_behind_one_hop_leaves_the_others_alone() -> None:
    t, loud, quiet = table(max_macs=100), peer(1), peer(2)
    for n in range(30):
        t.learn(mac(n), quiet, 0.0)
    for n in range(1000, 6000):
        t.learn(mac(n), loud, 1.0)
    assert len(t.learned[quiet]) == 30
    assert len(t.rows) == 100
    assert t.stats.fdb_refused == 5000 - 70


def test_a_port_may_not_learn_more_than_its_share() -> None:
    t, port = table(), LocalPort("p", None, 3)
    rows = [t.learn(mac(n), port, 0.0) for n in range(5)]
    assert [row is not None for row in rows] == [True] * 3 + [False] * 2
    t.learn(mac(7), peer(1), 0.0)
    assert t.learn(mac(7), port, 1.0) is t.rows[mac(7)]
    assert t.rows[mac(7)].hop is not port, "moving in is learning, too"
    assert t.stats.fdb_refused == 3


@pytest.mark.parametrize("source", ["static", "claimed"])
def test_a_learned_row_never_displaces_a_better_one(source: Source) -> None:
    t, owner, thief = table("control"), peer(1), peer(2, static=True)
    t.install(mac(1), owner, source, 0.0)
    assert t.learn(mac(1), thief, 1.0) is t.rows[mac(1)]
    assert t.rows[mac(1)].hop is owner


def test_in_control_mode_a_remote_frame_moves_no_local_mac() -> None:
    """A static peer's frames are learned in every mode, but a MAC that is here moves away by a claim alone."""
    t, port = table("control"), LocalPort("p", None, 8)
    t.learn(mac(1), port, 0.0)
    t.learn(mac(1), peer(1, static=True), 1.0)
    assert t.rows[mac(1)].hop is port
    t.install(mac(1), peer(2), "claimed", 2.0, node="b")
    assert t.rows[mac(1)].hop is not port


def test_a_local_frame_moves_a_claimed_row_and_leaves_nothing_of_the_claim() -> None:
    t, port = table("control"), LocalPort("p", None, 8)
    t.install(mac(1), peer(1), "claimed", 0.0, node="b", rev=9, flags=("gateway",), stale=True)
    row = t.learn(mac(1), port, 5.0)
    assert row is not None
    assert (row.hop, row.source, row.node, row.rev, row.flags, row.stale) == (port, "learned", None, None, (), False)
    assert row.seen == row.since == 5.0


def test_removing_a_network_voids_every_decision_about_it() -> None:
    fdb = Fdb()
    t = fdb.add(table())
    src, dst = t.learn(mac(1), peer(1), 0.0), t.learn(mac(2), LocalPort("p", None, 8), 0.0)
    assert src is not None and dst is not None
    flow = Flow(t, src, dst, None)
    assert flow.holds()
    fdb.remove(7)
    assert not flow.holds() and not fdb.tables and not t.rows
    fdb.remove(7)


def test_one_peer_object_per_vtep() -> None:
    fdb = Fdb()
    first = fdb.peer(Vtep("192.0.2.1"))
    assert fdb.peer(Vtep("192.0.2.1"), "b", static=True) is first
    assert (first.node, first.static) == ("b", True)
    assert fdb.peer(Vtep("192.0.2.1", 8472)) is not first
    assert "192.0.2.1:4789" in repr(first)


def test_peers_ports_and_policy_void_decisions() -> None:
    t, port, far = table(), LocalPort("p", None, 8), peer(1)
    src, dst = t.learn(mac(1), port, 0.0), t.learn(mac(2), far, 0.0)
    assert src is not None and dst is not None
    changes: tuple[Callable[[], None], ...] = (
        lambda: t.set_peers([far], 1, {"192.0.2.1": far}),
        lambda: t.add_port(LocalPort("q", None, 8)),
        t.changed,
    )
    for change in changes:
        flow = Flow(t, src, dst, None)
        assert flow.holds()
        change()
        assert not flow.holds()
    assert (t.flood, t.suspended) == ((far,), 1)
