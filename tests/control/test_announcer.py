from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import pytest

from tests.control.world import Time
from vxswitch.control.announcer import BATCH, CLAIM_BURST, CLAIMS_PER_SECOND, Announcer
from vxswitch.errors import StoreUnavailableError
from vxswitch.fdb import Fdb, LocalPort, Table
from vxswitch.model import Claim
from vxswitch.store.base import ClaimResult, LocalMac, StoreStatus
from vxswitch.wire.neighbour import ANNOUNCE, ASK, Said

VNI = 100


@dataclass
class Shop:
    """The part of a store that takes claims."""

    calls: list[list[LocalMac]] = field(default_factory=list)
    released: list[tuple[int, bytes]] = field(default_factory=list)
    away: bool = False
    refuses: dict[bytes, tuple[str, Claim | None]] = field(default_factory=dict)
    state: str = "up"
    rev: int = 0
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    def status(self) -> StoreStatus:
        return StoreStatus("fake:", self.state, None, 0.0, None)  # type: ignore[arg-type]

    async def claim(self, macs: list[LocalMac]) -> list[ClaimResult]:
        assert len(macs) <= BATCH
        self.asked.set()
        if self.away:
            raise StoreUnavailableError("away")
        self.calls.append(macs)
        return [self._answer(mac) for mac in macs]

    async def release(self, macs: list[tuple[int, bytes]]) -> None:
        if self.away:
            raise StoreUnavailableError("away")
        self.released += macs

    def _answer(self, mac: LocalMac) -> ClaimResult:
        if mac.mac in self.refuses:
            why, row = self.refuses[mac.mac]
            return ClaimResult(row, why)
        self.rev += 1
        return ClaimResult(Claim(mac.vni, mac.mac, "me", "uid-me", 1, (), mac.ips, mac.flags, 0.0, self.rev))


class House:
    def __init__(self, learning: str = "control", state: str = "up") -> None:
        self.time, self.fdb, self.store = Time(), Fdb(), Shop(state=state)
        self.table = self.fdb.add(Table("red", VNI, mtu=1450, learning=learning))  # type: ignore[arg-type]
        self.put_back: list[Claim] = []
        self.waiting: list[LocalMac] = []
        self.announcer = Announcer(self.fdb, self.store, clock=self.time)  # type: ignore[arg-type]
        self.announcer.ports = self
        self.announcer.put_back = self.put_back.append
        self.announcer.watch(self.table)
        self.port, self.host = LocalPort("p1", mac(1), 64), LocalPort("vx", mac(9), 16384)

    def ips(self, port_id: str) -> tuple[str, ...]:
        return ("10.0.0.1",) if port_id == "p1" else ()

    def expected(self, vni: int) -> Iterable[LocalMac]:
        return iter(self.waiting)

    def appear(self, number: int, port: LocalPort | None = None, *, given: bool = False) -> None:
        """As the data plane does when it sees a MAC for the first time."""
        if given:
            self.table.install(mac(number), port or self.port, "learned", self.time(), given=True)
        else:
            self.table.learn(mac(number), port or self.host, self.time())

    async def flush(self) -> int:
        return await self.announcer.flush()

    def claimed(self) -> list[bytes]:
        return [one.mac for call in self.store.calls for one in call]


def mac(number: int) -> bytes:
    return b"\x02" + number.to_bytes(5, "big")


async def test_evidence_is_attach_for_a_given_mac_and_frame_for_a_learned_one() -> None:
    house = House()
    house.appear(1, given=True)
    house.appear(2)
    await house.flush()
    assert house.store.calls == [[LocalMac(VNI, mac(1), "attach", ("10.0.0.1",)), LocalMac(VNI, mac(2), "frame")]]
    assert house.table.rows[mac(1)].rev == 1 and house.announcer.backlog == 0


async def test_only_the_last_wish_counts() -> None:
    house = House()
    house.appear(2)
    house.table.withdraw(mac(2))
    house.appear(2)
    house.appear(3)
    house.table.withdraw(mac(3))
    assert house.announcer.pending(VNI, mac(2)) and not house.announcer.pending(VNI, mac(3))
    await house.flush()
    assert house.claimed() == [mac(2)] and house.store.released == [(VNI, mac(3))]


async def test_claims_leave_in_batches() -> None:
    house = House()
    for number in range(100, 300):
        house.appear(number)
    while house.announcer.backlog:
        await house.flush()
    assert [len(call) for call in house.store.calls] == [64, 64, 64, 8]


async def test_what_was_there_before_is_announced_when_watching_begins() -> None:
    house = House()
    house.table.on_local = None
    house.appear(2)
    assert house.announcer.backlog == 0
    house.announcer.watch(house.table)
    await house.flush()
    assert house.claimed() == [mac(2)]


@pytest.mark.parametrize(("learning", "state"), [("flood", "up"), ("control", "static")])
def test_nothing_is_announced_where_nobody_claims(learning: str, state: str) -> None:
    house = House(learning, state)
    house.appear(2)
    assert house.announcer.backlog == 0 and house.table.on_local is None


async def test_while_the_store_is_away_the_queue_is_the_journal() -> None:
    house = House()
    house.store.away = True
    for _ in range(50):  # however often they come and go
        house.appear(2)
        house.table.withdraw(mac(2))
        house.appear(2)
        house.appear(3)
        with pytest.raises(StoreUnavailableError):
            await house.flush()
        house.table.withdraw(mac(3))
    assert house.announcer.backlog == 2
    house.store.away = False
    await house.flush()
    assert house.claimed() == [mac(2)] and house.store.released == [(VNI, mac(3))]


async def test_a_wish_made_while_the_old_one_failed_is_not_overwritten() -> None:
    house = House()
    house.appear(2)
    under_way = asyncio.Event()

    async def fail(macs: list[LocalMac]) -> list[ClaimResult]:
        under_way.set()
        await asyncio.sleep(0)
        house.table.withdraw(mac(2))
        raise StoreUnavailableError("lost on the way")

    house.store.claim = fail  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailableError):
        await house.flush()
    await house.flush()
    assert house.store.released == [(VNI, mac(2))]


async def test_a_mac_that_went_before_its_claim_left_is_not_claimed() -> None:
    house = House()
    house.announcer.announce(VNI, mac(7))  # not in the table
    house.announcer.announce(999, mac(7))  # nor its network
    await house.flush()
    assert house.store.calls == [] and house.announcer.backlog == 0


@pytest.mark.parametrize("why", ["hold_down", "sticky", "frozen"])
async def test_a_refused_claim_gives_the_row_to_be_put_back(why: str) -> None:
    house = House()
    owner = Claim(VNI, mac(2), "b", "uid-b", 1, (), rev=9)
    house.store.refuses[mac(2)] = (why, owner)
    house.appear(2)
    await house.flush()
    assert house.put_back == [owner] and house.announcer.refused == {why: 1}
    assert house.announcer.backlog == 0


async def test_without_a_lease_the_claim_is_made_again() -> None:
    house = House()
    house.store.refuses[mac(2)] = ("no_lease", None)
    house.appear(2)
    await house.flush()
    assert house.announcer.pending(VNI, mac(2)) and house.put_back == []
    house.store.refuses.clear()
    await house.flush()
    assert house.table.rows[mac(2)].rev == 1


async def test_a_full_store_leaves_the_mac_local_and_unclaimed() -> None:
    house = House()
    house.store.refuses[mac(2)] = ("full", None)
    house.appear(2)
    await house.flush()
    assert house.table.rows[mac(2)].rev is None and house.announcer.backlog == 0


async def test_a_port_that_claims_too_much_waits_and_others_pass() -> None:
    house = House()
    for number in range(100, 100 + int(CLAIM_BURST) + 40):
        house.appear(number)
    house.appear(1, house.port, given=True)
    while await house.flush():
        pass
    assert len(house.claimed()) == int(CLAIM_BURST) + 1
    assert mac(1) in house.claimed()
    assert house.announcer.backlog == 40
    house.time.pass_by(20 / CLAIMS_PER_SECOND)
    while await house.flush():
        pass
    assert house.announcer.backlog == 20


async def test_reassert_names_what_is_here_and_what_waits() -> None:
    house = House()
    house.waiting = [LocalMac(VNI, mac(50), "attach", ("10.0.0.50",))]
    house.appear(1, given=True)
    house.appear(2)
    assert [one.mac for one in house.announcer.reassert(VNI)] == [mac(50), mac(1), mac(2)]
    assert list(house.announcer.reassert(999)) == []


async def test_sticky_static_rows_are_claimed_as_such() -> None:
    house = House()
    house.table.install(mac(4), house.host, "static", 0.0, flags=("sticky",))
    await house.flush()
    assert house.store.calls == [[LocalMac(VNI, mac(4), "attach", (), ("sticky",))]]


async def test_the_task_empties_the_queue_and_says_when_it_is_empty() -> None:
    house = House()
    task = asyncio.create_task(house.announcer.run())
    try:
        house.appear(2)
        async with asyncio.timeout(5):
            await house.announcer.drained()
        assert house.claimed() == [mac(2)]
        house.store.away = True
        house.store.asked.clear()
        house.appear(3)
        async with asyncio.timeout(5):
            await house.store.asked.wait()
        house.store.away = False
        async with asyncio.timeout(5):
            await house.announcer.drained()
        assert house.claimed() == [mac(2), mac(3)]
    finally:
        task.cancel()


async def test_nothing_is_lost_when_the_store_flaps_at_random() -> None:
    """Every MAC that is here in the end is claimed, every other one released: whatever failed in between."""
    house = House()

    def fates() -> Iterable[bool]:
        state = 12345
        while True:
            state = (1103515245 * state + 12345) % 2**31
            yield state % 3 == 0

    fate = iter(fates())
    held: dict[tuple[int, bytes], bool] = {}
    claim, release = house.store.claim, house.store.release

    async def flaky_claim(macs: list[LocalMac]) -> list[ClaimResult]:
        if next(fate):
            raise StoreUnavailableError("flap")
        held.update({(one.vni, one.mac): True for one in macs})
        return await claim(macs)

    async def flaky_release(macs: list[tuple[int, bytes]]) -> None:
        if next(fate):
            raise StoreUnavailableError("flap")
        held.update(dict.fromkeys(macs, False))
        await release(macs)

    house.store.claim, house.store.release = flaky_claim, flaky_release  # type: ignore[method-assign]
    for step in range(400):
        number = step % 17
        house.appear(number) if next(fate) else house.table.withdraw(mac(number))
        house.time.pass_by(0.1)
        try:
            await house.flush()
        except StoreUnavailableError:
            continue
    while house.announcer.backlog:
        try:
            await house.flush()
        except StoreUnavailableError:
            continue
    assert {key[1] for key, here in held.items() if here} == set(house.table.rows)


async def test_confirmation_keeps_the_flags_that_the_store_tells() -> None:
    house = House()
    house.appear(2)
    answer = house.store._answer

    def frozen(one: LocalMac) -> ClaimResult:
        result = answer(one)
        assert result.row is not None
        return replace(result, row=replace(result.row, flags=("frozen",)))

    house.store._answer = frozen  # type: ignore[method-assign,assignment]
    await house.flush()
    assert house.table.rows[mac(2)].flags == ("frozen",)


# -- what stations say of themselves -----------------------------------------------------------------------------------

IP = b"\x0a\0\0\x09"


def announcement(number: int, evidence: str = "garp") -> Said:
    return Said(ANNOUNCE, mac(number), IP, IP, evidence)  # type: ignore[arg-type]


@pytest.mark.parametrize("evidence", ["garp", "na", "rarp"])
async def test_an_announcement_is_claimed_as_what_it_is(evidence: str) -> None:
    house = House()
    house.appear(2)
    house.table.hear(house.host, announcement(2, evidence))
    await house.flush()
    assert house.store.calls == [[LocalMac(VNI, mac(2), evidence, ("10.0.0.9",))]]  # type: ignore[arg-type]
    house.appear(3)
    await house.flush()
    assert house.store.calls[1][0].evidence == "frame", "the evidence was for one claim"


async def test_an_announcement_passes_frames_in_the_queue() -> None:
    house = House()
    for number in range(100, 400):
        house.appear(number)
    house.appear(2)
    house.table.hear(house.host, announcement(2))
    await house.flush()
    assert house.claimed()[0] == mac(2)
    while house.announcer.backlog:
        await house.flush()
    assert sorted(house.claimed()) == sorted([mac(2), *map(mac, range(100, 400))])


async def test_evidence_outlasts_the_stores_absence() -> None:
    house = House()
    house.store.away = True
    house.appear(2)
    house.table.hear(house.host, announcement(2))
    with pytest.raises(StoreUnavailableError):
        await house.flush()
    house.store.away = False
    await house.flush()
    assert house.store.calls[0][0].evidence == "garp"


# What no frame is behind, and answers that crossed with the log.


async def test_what_is_claimed_again_has_no_evidence_until_a_frame_comes() -> None:
    house = House()
    house.appear(2)
    house.appear(1, given=True)
    await house.flush()
    for number in (2, 1):
        house.announcer.announce(VNI, mac(number))
    await house.flush()
    assert {one.mac: one.evidence for one in house.store.calls[1]} == {mac(2): "reassert", mac(1): "attach"}
    house.announcer.announce(VNI, mac(2))
    house.table.hear(house.host, announcement(2))
    await house.flush()
    house.appear(3)
    house.announcer.announce(VNI, mac(3))
    await house.flush()
    house.announcer.announce(VNI, mac(3))
    house.announcer.announce(VNI, mac(3), seen=True)
    await house.flush()
    assert [call[0].evidence for call in house.store.calls[2:]] == ["garp", "frame", "frame"]


async def test_what_is_claimed_again_gives_way_to_anothers_claim() -> None:
    house = House()
    house.appear(2)
    await house.flush()
    house.announcer.announce(VNI, mac(2))
    assert house.announcer.gives_way(VNI, mac(2))
    await house.announcer.drained()
    assert house.announcer.backlog == 0
    house.appear(3)
    assert not house.announcer.gives_way(VNI, mac(3)), "a frame came from here: the answer decides"


async def test_an_answer_that_crossed_with_the_log_decides_nothing() -> None:
    house = House()
    other = Claim(VNI, mac(3), "other", "uid-other", 1, (), (), (), 0.0, 9)
    house.store.refuses[mac(3)] = ("hold_down", other)
    ask = house.store.claim

    async def crossed(macs: list[LocalMac]) -> list[ClaimResult]:
        answers = await ask(macs)
        assert not any(house.announcer.gives_way(VNI, one.mac) for one in macs)
        return answers

    house.store.claim = crossed  # type: ignore[method-assign]
    house.appear(2)
    house.appear(3)
    await house.flush()
    assert house.table.rows[mac(2)].rev is None and house.put_back == []
    house.store.claim, house.store.refuses = ask, {mac(2): ("moved", other)}  # type: ignore[method-assign]
    await house.flush()
    assert [one.evidence for one in house.store.calls[1]] == ["reassert", "reassert"]
    assert house.put_back == [other] and house.table.rows[mac(3)].rev is not None
    assert house.announcer.backlog == 0


async def test_a_claim_that_nobody_judged_keeps_its_evidence() -> None:
    house = House()
    house.store.refuses[mac(2)] = ("no_lease", None)
    ask = house.store.claim

    async def crossed(macs: list[LocalMac]) -> list[ClaimResult]:
        house.announcer.crossed(VNI, mac(2))
        return await ask(macs)

    house.store.claim = crossed  # type: ignore[method-assign]
    house.appear(2)
    house.table.hear(house.host, announcement(2))
    await house.flush()
    house.store.claim, house.store.refuses = ask, {}  # type: ignore[method-assign]
    await house.flush()
    assert [call[0].evidence for call in house.store.calls] == ["garp", "garp"]


async def test_a_new_address_is_claimed_and_an_old_one_is_not() -> None:
    house = House()
    house.appear(1, given=True)
    await house.flush()
    question = Said(ASK, mac(1), IP, b"\x0a\0\0\x01", "frame")
    for _ in range(3):
        house.table.hear(house.port, question)
    await house.flush()
    assert house.store.calls[1:] == [[LocalMac(VNI, mac(1), "attach", ("10.0.0.1", "10.0.0.9"))]]
    house.table.hear(house.port, question._replace(ip=b"\x0a\0\0\x01"))
    house.table.hear(house.port, question._replace(ip=b"\xfe\x80" + bytes(13) + b"\x01"))
    assert house.announcer.backlog == 0, "given with the port, and link-local"
    assert [one.ips for one in house.announcer.reassert(VNI)] == [("10.0.0.1", "10.0.0.9")]


async def test_who_lost_a_mac_for_good_tells_that_it_moved_in_an_orderly_way() -> None:
    house = House()
    house.announcer.moved_away(VNI, mac(2))
    house.announcer.moved_away(VNI, mac(3))
    house.appear(3)  # it is here, too: nothing orderly about that
    house.announcer.tick(300.0)
    assert not house.announcer.pending(VNI, mac(2)) and house.announcer.backlog == 1
    house.time.pass_by(3.0)
    house.announcer.tick(300.0)
    await house.flush()
    assert house.store.released == [(VNI, mac(2))] and house.claimed() == [mac(3)]
