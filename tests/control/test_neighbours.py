"""The addresses of local MACs: heard, confirmed by questions, given up when nobody answers."""

from __future__ import annotations

from tests.control.world import Time
from vxswitch.bindings import pack
from vxswitch.control.neighbours import ASK_MAX, RETRANS, TRIES, Neighbours, pause
from vxswitch.fdb import Fdb, LocalPort, Table
from vxswitch.store.rules import MAX_IPS

VNI, AGE = 100, 300.0
MAC = b"\x02\0\0\0\0\1"
ONE, TWO, SIX = pack(("10.0.0.1", "10.0.0.2", "fd00::1"))


class House:
    """One MAC behind one port; who is asked answers if it is ``alive``."""

    def __init__(self) -> None:
        self.time, self.fdb = Time(), Fdb()
        self.table = self.fdb.add(Table("red", VNI, mtu=1450))
        self.port = LocalPort("p", None, 64)
        self.table.learn(MAC, self.port, 0.0)
        self.lost: list[bytes] = []
        self.asked: list[bytes] = []
        self.alive: set[bytes] = set()
        self.neighbours = Neighbours(self.fdb, clock=self.time, lost=lambda vni, mac: self.lost.append(mac))
        self.neighbours.ask = self.ask

    def ask(self, port: LocalPort, mac: bytes, address: bytes) -> None:
        assert port is self.port and mac == MAC
        self.asked.append(address)
        if address in self.alive:
            self.hear(address)

    def hear(self, address: bytes, room: int = MAX_IPS) -> bool:
        return self.neighbours.heard((VNI, MAC), address, room)

    def pass_by(self, seconds: float) -> None:
        for _ in range(int(seconds / pause(AGE))):
            self.time.pass_by(pause(AGE))
            self.neighbours.tick(AGE)

    @property
    def ips(self) -> tuple[str, ...]:
        return self.neighbours.ips(VNI, MAC)


def test_what_is_heard_is_new_once() -> None:
    house = House()
    assert house.hear(ONE) and not house.hear(ONE) and house.hear(SIX)
    assert house.ips == ("10.0.0.1", "fd00::1") and len(house.neighbours) == 2


def test_a_silent_address_is_asked_for_and_given_up_when_nobody_answers() -> None:
    house = House()
    house.hear(ONE)
    house.hear(TWO)
    house.alive = {TWO}
    house.pass_by(AGE * 0.75 - 2)
    assert house.asked == []
    house.pass_by(2 + (TRIES + 1) * RETRANS)
    assert house.asked.count(ONE) == TRIES and house.asked.count(TWO) == 1
    assert house.ips == ("10.0.0.2",) and house.lost == [MAC] and house.neighbours.given_up == 1


def test_a_word_between_two_questions_saves_it() -> None:
    house = House()
    house.hear(ONE)
    house.pass_by(AGE * 0.75 + RETRANS)
    assert house.asked
    house.hear(ONE)
    house.pass_by(AGE * 0.7)
    assert house.ips == ("10.0.0.1",) and house.lost == []


def test_a_mac_has_as_many_addresses_as_a_row_may_have() -> None:
    house = House()
    assert sum(house.hear(bytes((10, 0, 1, n))) for n in range(MAX_IPS + 5)) == MAX_IPS
    assert house.neighbours.refused == 5 and not house.hear(ONE, room=1)


def test_who_moves_away_takes_its_addresses_along() -> None:
    house = House()
    house.hear(ONE)
    house.table.withdraw(MAC)
    house.neighbours.tick(AGE)
    assert house.ips == () and house.lost == []


def test_so_many_questions_at_once_and_no_more() -> None:
    house = House()
    for number in range(ASK_MAX * 2):
        mac = number.to_bytes(6)
        house.table.learn(mac, house.port, 0.0)
        house.neighbours.heard((VNI, mac), ONE, MAX_IPS)
    house.neighbours.ask = lambda port, mac, address: house.asked.append(mac)
    house.port.max_macs = 1000
    house.time.pass_by(AGE)
    house.neighbours.tick(AGE)
    first = len(house.asked)
    house.neighbours.tick(AGE)
    assert first <= ASK_MAX and len(set(house.asked)) == len(house.asked)
