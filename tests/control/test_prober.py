"""When whom is asked, and what becomes of answers, silence and ICMP errors, on a clock of the test's."""

from __future__ import annotations

import itertools
import logging
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.control.world import FakePlane, Time, World, vtep
from vxswitch.control.heard import MISSES
from vxswitch.control.prober import NO_ANSWERS, PADDED, RATE, Prober
from vxswitch.counters import Drop
from vxswitch.fdb import Fdb, Peer
from vxswitch.store.memory import MemoryStore
from vxswitch.wire import probe
from vxswitch.wire.probe import LEN, Identity

INTERVAL = 0.3
YOU = Identity(5, 6)
Carries = Callable[[Peer, int], bool]  # whether a probe of so many bytes is answered


class Bench:
    """A prober whose peers answer after ``rtt``, if ``carries`` has it so."""

    def __init__(self, *peers: str, static: bool = False, rtt: float = 0.001, interval: float = INTERVAL) -> None:
        self.time, self.fdb, self.rtt = Time(), Fdb(), rtt
        self.plane = FakePlane(self.fdb)
        self.changes: list[float] = []
        self.carries: Carries = lambda peer, size: True
        self.under_way: list[tuple[float, str, probe.Probe]] = []
        self.asked: list[tuple[float, str, int, int]] = []  # when, whom, way, bytes
        self.peers = [self.peer(text, static=static) for text in peers]
        self.prober = Prober(
            self.fdb,
            self.plane,
            interval=interval,
            grace=60.0,
            mtu={vtep("192.0.2.1").family: 1500, vtep("2001:db8::1").family: 1500},
            clock=self.time,
            rng=random.Random(1),
            on_change=lambda: self.changes.append(self.time()),
        )

    def peer(self, text: str, *, static: bool = False) -> Peer:
        return self.fdb.peer(vtep(text), None if static else f"node-{text}", static=static)

    def turn(self) -> None:
        """What is due now, and what came of it."""
        now = self.time()
        for at, address, answer in [entry for entry in self.under_way if entry[0] <= now]:
            self.prober.hear(address, answer, at)
        self.under_way = [entry for entry in self.under_way if entry[0] > now]
        self.prober.tick()
        for peer, way, datagram in self.plane.probes:
            self.asked.append((now, peer.vtep.address, way, len(datagram)))
            asked = probe.parse(datagram, 0, len(datagram))
            assert asked is not None
            if self.carries(peer, len(datagram)):
                answer = probe.parse(probe.answer(asked, YOU), 0, LEN)
                assert answer is not None
                self.under_way.append((now + self.rtt, peer.vtep.address, answer))
        self.plane.probes.clear()

    def run(self, seconds: float) -> None:
        end = self.time() + seconds
        while self.time() < end:
            self.turn()
            soonest = min((at - self.time() for at, _, _ in self.under_way), default=1.0)
            self.time.pass_by(max(0.0005, min(self.prober.pause(), soonest)))

    def heard(self, number: int = 0) -> Any:
        return self.prober.heard[self.peers[number]]

    def small(self, address: str | None = None) -> list[float]:
        return [at for at, whom, _, size in self.asked if size == LEN and address in (None, whom)]


def test_every_peer_is_asked_once_an_interval_and_not_all_at_once() -> None:
    bench = Bench(*(f"192.0.2.{n}" for n in range(1, 31)))
    bench.run(1.0)
    bench.asked.clear()
    bench.run(30 * INTERVAL)
    by_peer = Counter(whom for _, whom, _, size in bench.asked if size == LEN)
    assert set(by_peer.values()) <= {29, 30, 31} and len(by_peer) == 30
    slots = Counter(int((at % INTERVAL) / INTERVAL * 10) for at in bench.small())
    assert max(slots.values()) < 0.4 * sum(slots.values())


def test_source_ports_are_taken_in_turn() -> None:
    bench = Bench("192.0.2.2")
    bench.run(10 * INTERVAL)
    ways = [way for _, _, way, _ in bench.asked]
    assert ways == list(range(ways[0], ways[0] + len(ways)))


def test_round_trip_loss_and_mtu_are_known_soon() -> None:
    bench = Bench("192.0.2.2", rtt=0.02)
    bench.run(2.0)
    heard = bench.heard()
    assert heard.alive and heard.loss == 0.0 and heard.srtt == pytest.approx(0.02)
    assert heard.path.limit == 1500 - 28
    assert bench.plane.stats.probes_heard == len(bench.asked) - len(bench.under_way)


def test_three_probes_unanswered_are_death_within_a_second() -> None:
    for late in range(10):
        bench = Bench("192.0.2.2", "192.0.2.3")
        bench.run(2.0 + late * INTERVAL / 10)
        bench.carries = lambda peer, size: peer.vtep.address != "192.0.2.2"
        bench.under_way.clear()
        killed, known = bench.time(), len(bench.changes)
        bench.run(1.1)
        assert bench.heard(0).alive is False and bench.heard(1).alive
        (found,) = bench.changes[known:]
        assert 2 * INTERVAL < found - killed <= 1.0
        lost = [at for at in bench.small("192.0.2.2") if killed < at < found]
        assert len(lost) >= MISSES - 1  # one may have been under way


def test_the_dead_are_asked_on_and_found_again_by_the_first_answer() -> None:
    bench = Bench("192.0.2.2")
    bench.run(2.0)
    bench.carries = lambda peer, size: False
    bench.run(5.0)
    assert bench.heard().alive is False
    bench.carries = lambda peer, size: True
    bench.run(INTERVAL + 0.01)
    assert bench.heard().alive and len(bench.changes) == 3


@pytest.mark.parametrize("rtt", [0.1, 0.25, 0.4, 0.55])
def test_a_distant_peer_is_not_dead(rtt: float) -> None:
    bench = Bench("192.0.2.2", rtt=rtt)
    bench.run(20.0)
    assert bench.heard().alive and len(bench.changes) == 1
    assert bench.heard().srtt == pytest.approx(rtt, abs=0.01)


def test_a_process_that_stood_still_has_missed_nothing() -> None:
    bench = Bench(*(f"192.0.2.{n}" for n in range(1, 101)))
    bench.run(3.0)
    for _ in range(5):
        bench.time.pass_by(30.0)
        before = len(bench.asked)
        bench.turn()
        assert len(bench.asked) - before <= 32  # and does not shout when it goes on
        bench.run(1.0)
    assert all(bench.heard(n).alive for n in range(100)) and len(bench.changes) == 100


def test_who_never_answers_is_asked_ever_more_rarely() -> None:
    bench = Bench("192.0.2.2", static=True)
    node = bench.peer("192.0.2.3")
    bench.carries = lambda peer, size: False
    bench.run(300.0)
    assert bench.prober.heard[node].alive is None and bench.changes == []
    pauses = {
        whom: [b - a for a, b in itertools.pairwise(times)]
        for whom in ("192.0.2.2", "192.0.2.3")
        for times in [bench.small(whom)]
    }
    assert pauses["192.0.2.2"][-1] == pytest.approx(30.0, abs=0.1)
    assert pauses["192.0.2.3"][-1] == pytest.approx(10 * INTERVAL, abs=0.1)
    assert len(pauses["192.0.2.2"]) < 40
    bench.carries = lambda peer, size: True
    bench.run(31.0)
    bench.asked.clear()
    bench.run(3.0)
    assert len(bench.small("192.0.2.2")) in (10, 11)


def test_a_configured_peer_that_stays_dead_is_unprobed_again() -> None:
    bench = Bench("192.0.2.2", static=True)
    bench.run(2.0)
    bench.carries = lambda peer, size: False
    bench.run(30.0)
    assert bench.heard().alive is False
    bench.run(40.0)
    assert bench.heard().alive is None and len(bench.changes) == 3


def test_a_thousand_peers_stretch_the_interval() -> None:
    bench = Bench(*(f"10.0.{n // 250}.{n % 250 + 1}" for n in range(1000)))
    bench.run(2.0)
    assert bench.prober.interval == 1000 / RATE
    bench.asked.clear()
    bench.run(2.0)
    assert len(bench.asked) <= 2 * RATE + 32
    assert all(bench.heard(n).alive for n in range(1000))


def test_an_icmp_error_brings_the_next_probe_forward_and_no_more() -> None:
    bench = Bench("192.0.2.2")
    bench.run(3.0)
    bench.asked.clear()
    for _ in range(200):  # forged: it answers all the same
        bench.prober.suspect("192.0.2.2")
        bench.prober.suspect("192.0.2.99")
        bench.run(0.005)
    asked = bench.small()
    assert 0.07 < min(b - a for a, b in itertools.pairwise(asked)) < 0.1  # a quarter of the interval
    assert bench.heard().alive and len(bench.changes) == 1
    bench.carries = lambda peer, size: False
    bench.run(0.01)
    bench.under_way.clear()
    killed = bench.time()
    bench.prober.suspect("192.0.2.2")
    bench.run(1.0)
    assert bench.heard().alive is False and bench.changes[-1] - killed < 3 * INTERVAL


def test_peers_come_and_go() -> None:
    bench = Bench("192.0.2.2")
    bench.run(1.0)
    late = bench.peer("2001:db8::9")
    bench.run(2.0)
    assert bench.prober.heard[late].path.limit == 1500 - 48
    del bench.fdb.peers[late.vtep], bench.fdb.peers[bench.peers[0].vtep]
    bench.run(1.0)
    bench.asked.clear()
    bench.run(1.0)
    assert bench.prober.heard == {} and bench.asked == []


def test_forged_answers_say_nothing() -> None:
    bench = Bench("192.0.2.2")
    bench.run(2.0)
    heard = bench.heard()
    last, bench.carries = heard.last, lambda peer, size: False
    bench.under_way.clear()
    bench.run(INTERVAL)
    nonce = next(iter(heard._open))
    for address, answer in (
        ("192.0.2.2", probe.Probe(probe.ANSWER, LEN, nonce ^ 1, 1, YOU)),
        ("192.0.2.3", probe.Probe(probe.ANSWER, LEN, nonce, 1, YOU)),
        ("192.0.2.2", probe.Probe(probe.ANSWER, 1472, nonce, 1, YOU)),  # of a size that was not asked
    ):
        bench.prober.hear(address, answer, bench.time())
    assert heard.last == last and bench.plane.stats.probes_refused == 3
    bench.prober.hear("192.0.2.2", probe.Probe(probe.ANSWER, LEN, nonce, 1, YOU), bench.time())
    assert heard.last == bench.time() and bench.plane.stats.probes_refused == 3


# -- the MTU of the way ----------------------------------------------------------------------------------------------


def test_a_smaller_mtu_on_the_way_is_found_told_once_and_kills_nobody(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench("192.0.2.2")
    bench.carries = lambda peer, size: size <= 1404 - 28
    with caplog.at_level(logging.INFO):
        bench.run(60.0)
        assert bench.heard().path.limit == 1404 - 28
        assert [r.getMessage() for r in caplog.records if "1404" in r.getMessage()] == [
            "VTEP 192.0.2.2:4789 (node node-192.0.2.2): datagrams of at most 1404 bytes get there, "
            "1500 leave here: mind the MTU on the way"
        ]
        assert bench.heard().loss == 0.0 and len(bench.changes) == 1
        bench.carries = lambda peer, size: True
        bench.run(20.0)
    assert bench.heard().path.limit == 1472
    assert "1500 bytes get there again" in caplog.text


def test_another_mtu_of_our_own_device_is_tried_at_once_and_is_no_fault_of_the_way(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench("192.0.2.2")
    bench.run(5.0)
    assert bench.heard().path.limit == 1472
    for mtu in (1400, 9000):
        bench.carries = lambda peer, size, mtu=mtu: size <= mtu - 28
        bench.prober.resize({bench.peers[0].vtep.family: mtu})
        assert bench.heard().path.limit is None
        bench.run(2.0)
        assert bench.heard().path.limit == mtu - 28 and bench.heard().alive
    assert caplog.text == ""


def test_one_probe_in_ten_is_padded() -> None:
    bench = Bench("192.0.2.2")
    bench.run(3.0)
    bench.asked.clear()
    bench.run(100 * INTERVAL)
    padded = [size for *_, size in bench.asked if size != LEN]
    assert set(padded) == {1472} and len(padded) in (9, 10, 11) and PADDED == 10


def test_what_our_own_device_refuses_is_known_at_once() -> None:
    bench = Bench("192.0.2.2")
    bench.plane.probe_verdict = lambda size: Drop.UNDERLAY_MTU if size > 1372 else 0
    bench.carries = lambda peer, size: size <= 1372
    bench.run(20.0)
    assert bench.heard().path.limit == 1372


# -- ourselves -------------------------------------------------------------------------------------------------------


def test_all_peers_silent_is_our_own_matter_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench("192.0.2.2", "192.0.2.3", "192.0.2.4")
    bench.run(2.0)
    assert bench.prober.degraded == []
    bench.carries = lambda peer, size: False
    bench.run(3.0)
    assert bench.prober.degraded == [NO_ANSWERS]
    assert caplog.text.count("no peer answers probes any more") == 1
    bench.carries = lambda peer, size: True
    bench.run(1.0)
    assert bench.prober.degraded == []


def test_without_a_vtep_address_of_our_own_nobody_was_asked() -> None:
    bench = Bench("192.0.2.2", "192.0.2.3")
    bench.run(2.0)
    bench.plane.probe_verdict = lambda size: Drop.NO_VTEP_ADDRESS
    bench.carries = lambda peer, size: False
    bench.run(10.0)
    assert bench.heard(0).alive and bench.heard(1).alive and len(bench.changes) == 2


# -- and the store ---------------------------------------------------------------------------------------------------


async def test_rows_of_a_node_that_lost_only_the_store_stay_as_long_as_it_is_heard(world: World) -> None:
    one, two = await world.node("n1"), await world.node("n2", ["192.0.2.2"])
    for node in (one, two):
        await node.start("red=100")
    mac = (await two.attach("red"))["mac"]
    await world.spread()
    assert isinstance(two.store, MemoryStore)
    two.store.cut = True

    async def minutes(*, answers: bool) -> None:
        for _ in range(120):
            world.time.pass_by(1.0)
            one.prober.tick()
            for peer, _, datagram in one.plane.probes:
                asked = probe.parse(datagram, 0, len(datagram))
                assert asked is not None
                answer = probe.Probe(
                    probe.ANSWER, asked.size, asked.nonce, 1, Identity(probe.node_of(two.state.uid), 9)
                )
                if answers:
                    one.prober.hear(peer.vtep.address, answer, world.time())
            one.plane.probes.clear()
            one.beat()
            await one.hear()

    await minutes(answers=True)
    (row,) = one.peers.view(lambda vni: "red")
    assert (row["state"], row["lease"]) == ("live", None)
    assert one.row("red", mac) is not None and "n2" in world.hub.table(100).members
    await minutes(answers=False)
    assert one.row("red", mac) is None and "n2" not in world.hub.table(100).members
