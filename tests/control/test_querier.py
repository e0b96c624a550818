"""When the switch asks who listens, and when it leaves that to others."""

from __future__ import annotations

from tests.control.world import Time
from vxswitch.config import Mcast
from vxswitch.control.querier import Querier
from vxswitch.fdb import LocalPort
from vxswitch.wire import snoop
from vxswitch.wire.multicast import QUERY, Message

G = bytes((239, 1, 2, 3))
SETTINGS = Mcast(query_interval=100.0, response=10.0, robustness=2, last_member=1.0)


class Hosts:
    """Ports, and what was said to them."""

    def __init__(self, count: int = 1, *, asks: bool = True, settings: Mcast = SETTINGS) -> None:
        self.time = Time()
        self.said: list[tuple[str, Message]] = []
        self.ports = [LocalPort(f"p{n}", None, 1) for n in range(count)]
        self.querier = Querier(settings, self.say, self.time(), asks=asks)

    def say(self, port: LocalPort, frame: bytes) -> None:
        message = snoop.read(frame, 0, len(frame))
        assert message is not None and message.kind == QUERY and not message.router
        self.said.append((port.id, message))

    def until(self, seconds: float) -> list[tuple[float, str, int, bytes]]:
        """Tick four times a second; what was said: (when, port, IP version, group)."""
        found = []
        for _ in range(round(seconds * 4)):
            self.time.pass_by(0.25)
            self.querier.tick(self.ports, self.time())
            found += [(self.time() - 1000.0, port, m.family, m.group) for port, m in self.said]
            self.said.clear()
        return found


def test_ports_of_a_new_switch_are_asked_at_once_and_again() -> None:
    hosts = Hosts(2)
    for port in hosts.ports:
        hosts.querier.add(port, hosts.time())
    said = hosts.until(5.0)
    assert {(when, port, family) for when, port, family, _ in said} == {
        (when, port, family) for when in (0.25, 1.25) for port in ("p0", "p1") for family in (4, 6)
    }
    assert hosts.querier.knows(4, 1003.0) and not hosts.querier.knows(4, 1002.9)


def test_a_port_that_comes_later_has_time_to_come_up() -> None:
    hosts = Hosts()
    hosts.until(10.0)
    hosts.querier.add(hosts.ports[0], hosts.time())
    assert [when for when, _, family, _ in hosts.until(10.0) if family == 4] == [11.0, 12.0]
    assert hosts.querier.knows(4, hosts.time())


def test_everybody_is_asked_once_an_interval() -> None:
    hosts = Hosts(2)
    said = hosts.until(320.0)
    assert [(when, port) for when, port, family, group in said if family == 6 and not group] == [
        (when, port) for when in (100.0, 200.0, 300.0) for port in ("p0", "p1")
    ]


def test_it_is_quiet_while_somebody_else_asks_of_that_ip_version() -> None:
    hosts = Hosts()
    for _ in range(5):
        hosts.querier.heard(Message(QUERY, 4, response=10.0, router=True), hosts.time())
        assert [s for s in hosts.until(100.0) if s[2] == 4] == []
    assert [when for when, _, family, _ in hosts.until(30.0) if family == 4] == [510.0]  # the other one is late


def test_a_question_that_takes_longer_or_is_about_one_group_is_none() -> None:
    hosts = Hosts()
    hosts.querier.heard(Message(QUERY, 4, response=10.1, router=True), hosts.time())
    hosts.querier.heard(Message(QUERY, 4, G, 1.0, True), hosts.time())
    assert [when for when, _, family, _ in hosts.until(105.0) if family == 4] == [100.0]


def test_one_who_never_asks_knows_only_while_others_do() -> None:
    hosts = Hosts(asks=False)
    hosts.querier.add(hosts.ports[0], hosts.time())
    assert hosts.until(300.0) == [] and not hosts.querier.knows(4, hosts.time())
    began = hosts.time()
    hosts.querier.heard(Message(QUERY, 4, response=10.0), began)
    known = [hosts.querier.knows(4, began + after) for after in (0, 9.9, 10, 209.9, 210)]
    assert known == [False, False, True, True, False]
    hosts.querier.heard(Message(QUERY, 4, response=10.0), began + 200)
    assert hosts.querier.knows(4, began + 201) and hosts.querier.knows(4, began + 409)
    hosts.querier.heard(Message(QUERY, 4, response=10.0), began + 1000)
    assert not hosts.querier.knows(4, began + 1001)  # what was heard before is too old
    assert not hosts.querier.knows(6, began + 201)


def test_a_group_is_asked_about_at_one_port_until_it_is_gone() -> None:
    hosts = Hosts(2)
    hosts.querier.press(hosts.ports[1], G, hosts.time())
    assert hosts.until(5.0) == [(0.25, "p1", 4, G), (1.25, "p1", 4, G)]
    hosts.querier.press(hosts.ports[1], G, hosts.time())
    hosts.querier.add(hosts.ports[1], hosts.time())
    hosts.querier.remove(hosts.ports[1])
    assert hosts.until(5.0) == []


def test_it_says_when_to_look_again() -> None:
    hosts = Hosts()
    assert hosts.querier.next(hosts.time()) == 1003.0  # by then it knows
    assert hosts.querier.next(1003.0) == 1100.0
    hosts.querier.press(hosts.ports[0], G, 1050.0)
    assert hosts.querier.next(1049.0) == 1050.0
    deaf = Hosts(asks=False)
    deaf.querier.heard(Message(QUERY, 4, response=10.0), 1000.0)
    assert [deaf.querier.next(now) for now in (1000.0, 1010.0)] == [1010.0, 1210.0]
