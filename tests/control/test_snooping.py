"""What local ports listen to: how it begins, how it ends, and that no limit costs anybody a frame."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tests.control.world import Time
from vxswitch.config import Mcast
from vxswitch.control.elsewhere import TELLS, Elsewhere
from vxswitch.control.snooping import Snooping
from vxswitch.counters import Stats
from vxswitch.fdb import LocalPort, Peer, Table
from vxswitch.model import Vtep
from vxswitch.wire import snoop
from vxswitch.wire.multicast import BAD, DOUBTFUL, JOINED, LEFT, QUERY, REPORT, ROUTER, Message

G, H, LINK_LOCAL = bytes((239, 1, 2, 3)), bytes((239, 9, 9, 9)), bytes((224, 0, 0, 251))
SIX = bytes((0xFF, 0x0E, *bytes(13), 9))
LASTS = 210.0  # 2 * 100 + 10


class World:
    """A network with ports p0, p1, ...; one station may use each, unless told otherwise."""

    def __init__(self, ports: int = 2, *, asks: bool = True, settled: bool = True, **settings: object) -> None:
        self.time = Time()
        self.stats = Stats()
        self.table = Table("red", 7, mtu=1450, stats=self.stats)
        self.ports = [LocalPort(f"p{n}", None, 1) for n in range(ports)]
        for port in self.ports:
            self.table.add_port(port)
        self.elsewhere = Elsewhere()
        self.asked: list[tuple[str, bytes]] = []
        self.shared: set[LocalPort] = set()
        self.changes = 0
        given = {"query_interval": 100.0, "response": 10.0, **settings}
        self.snooping = Snooping(
            self.table,
            Mcast(**given),  # type: ignore[arg-type]
            self.elsewhere,
            asks=asks,
            say=self.say,
            single=lambda port: port not in self.shared,
            on_change=self.changed,
            clock=self.time,
        )
        if settled:
            self.until(3.0)
            self.asked.clear()

    def say(self, port: LocalPort, frame: bytes) -> None:
        message = snoop.read(frame, 0, len(frame))
        assert message is not None
        self.asked.append((port.id, message.group))

    def changed(self, vni: int) -> None:
        self.changes += 1

    def until(self, seconds: float) -> None:
        for _ in range(round(seconds * 4)):
            self.time.pass_by(0.25)
            self.snooping.tick()

    def report(self, port: int, *records: tuple[bytes, int], family: int = 4) -> None:
        self.snooping.hear(self.ports[port], Message(REPORT, family, records=records))

    def joins(self, port: int, *groups: bytes) -> None:
        self.report(port, *((group, JOINED) for group in groups))

    def audience(self, group: bytes) -> list[str]:
        return [port.id for port in self.snooping.known.audience(group).ports if isinstance(port, LocalPort)]

    @property
    def told(self) -> set[str]:
        return set(self.snooping.groups) - {TELLS}


def test_a_report_makes_a_member_until_it_is_not_repeated() -> None:
    world = World()
    world.joins(0, G)
    assert world.audience(G) == ["p0"] and world.told == {"239.1.2.3"}
    world.until(LASTS - 1)
    assert world.audience(G) == ["p0"]
    world.joins(0, G)
    world.until(LASTS - 1)
    assert world.audience(G) == ["p0"]
    world.until(1.25)
    assert world.audience(G) == [] and world.told == set()


def test_groups_of_both_ip_versions_in_one_network() -> None:
    world = World()
    world.joins(0, G)
    world.report(1, (SIX, JOINED), family=6)
    assert (world.audience(G), world.audience(SIX)) == (["p0"], ["p1"])
    assert world.told == {"239.1.2.3", "ff0e::9"}


def test_a_leave_is_over_at_once_where_one_station_is() -> None:
    world = World()
    world.joins(0, G)
    world.joins(1, G)
    world.report(0, (G, LEFT))
    assert world.audience(G) == ["p1"] and world.asked == []
    world.report(0, (G, LEFT))
    world.report(1, (G, LEFT))
    assert world.told == set()


@pytest.mark.parametrize("answers", [True, False])
def test_where_many_may_be_they_are_asked_first(answers: bool) -> None:
    world = World()
    world.shared.add(world.ports[0])
    world.joins(0, G)
    world.report(0, (G, LEFT))
    assert world.audience(G) == ["p0"]
    world.until(2.0)
    assert world.asked == [("p0", G), ("p0", G)]
    if answers:
        world.joins(0, G)
    world.until(1.25)
    assert world.audience(G) == (["p0"] if answers else [])


def test_without_fast_leave_every_port_is_asked() -> None:
    world = World(fast_leave=False)
    world.joins(0, G)
    world.report(0, (G, LEFT))
    assert world.audience(G) == ["p0"]


def test_where_nobody_may_ask_a_leave_changes_nothing_but_time_does() -> None:
    world = World(asks=False)
    world.shared.add(world.ports[0])
    world.snooping.hear(world.ports[1], Message(QUERY, 4, response=10.0, router=True))
    world.joins(0, G)
    world.report(0, (G, LEFT))
    world.until(20.0)
    assert world.audience(G) == ["p0", "p1"]  # p1 has the router
    assert world.asked == []


def test_sources_that_are_not_wanted_any_more_are_a_reason_to_ask() -> None:
    world = World()
    world.joins(0, G)
    world.report(0, (G, DOUBTFUL))
    assert world.audience(G) == ["p0"]
    world.until(3.25)
    assert world.asked == [("p0", G), ("p0", G)] and world.audience(G) == []


def test_nobody_is_kept_as_a_member_of_what_is_flooded_anyway() -> None:
    world = World()
    world.joins(0, LINK_LOCAL)
    assert world.snooping.members == {} and world.told == set()


def test_what_makes_no_sense_is_counted_and_changes_nothing() -> None:
    world = World()
    world.snooping.hear(world.ports[0], Message(BAD, 4))
    assert world.stats.groups_malformed == 1 and world.told == set()


def test_stations_elsewhere_are_told_of_by_their_own_nodes() -> None:
    world = World()
    peer = Peer(Vtep("192.0.2.2"), "n2")
    for message in (Message(REPORT, 4, records=((G, JOINED),)), Message(ROUTER, 4), Message(BAD, 4)):
        world.snooping.hear(peer, message)
    assert world.told == set() and world.audience(H) == []


# -- who gets everything -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("message", [Message(QUERY, 4, response=10.0, router=True), Message(ROUTER, 4)])
def test_routers_get_every_group_of_their_ip_version(message: Message) -> None:
    world = World()
    world.snooping.hear(world.ports[1], message)
    world.joins(0, G)
    assert (world.audience(G), world.audience(H), world.audience(SIX)) == (["p0", "p1"], ["p1"], [])
    assert world.told == {"0.0.0.0", "239.1.2.3"}
    assert [port.id for port in world.snooping.known.routers(4).ports] == ["p1"]  # type: ignore[attr-defined]
    world.until(LASTS + 0.25)
    assert world.audience(H) == [] and world.told == set()


def test_a_stand_in_is_no_router() -> None:
    world = World()
    world.snooping.hear(world.ports[1], Message(QUERY, 4, response=10.0, router=False))
    assert world.audience(H) == []


def test_a_new_switch_lets_everything_through_until_hosts_have_answered() -> None:
    world = World(settled=False)
    world.joins(0, G)
    assert world.audience(H) == ["p0", "p1"] and world.told == {"0.0.0.0", "::", "239.1.2.3"}
    world.until(2.75)
    assert world.audience(H) == ["p0", "p1"]
    changes = world.changes
    world.until(0.25)
    assert world.audience(H) == [] and world.told == {"239.1.2.3"} and world.changes > changes


def test_where_nobody_asks_everything_goes_through() -> None:
    world = World(asks=False)
    world.joins(0, G)
    world.until(1000.0)
    assert world.audience(G) == world.audience(H) == ["p0", "p1"] and world.told == {"0.0.0.0", "::"}


@pytest.mark.parametrize(
    ("limit", "said"), [({"port_groups": 2}, [0, 0, 0]), ({"network_groups": 2, "port_groups": 9}, [1, 1, 0])]
)
def test_what_is_over_a_limit_comes_with_everything_else(limit: dict[str, int], said: list[int]) -> None:
    world = World(**limit)
    for port, group in zip(said, (G, H, bytes((239, 5, 5, 5))), strict=True):
        world.joins(port, group)
    assert len(world.snooping.members) == 2 and world.stats.groups_refused == 1
    assert "p0" in world.audience(bytes((239, 5, 5, 5))) and "0.0.0.0" in world.told
    assert world.audience(bytes((239, 7, 7, 7))) == ["p0"]  # its own copies, nobody else's
    assert list(world.snooping.known.routers(4).ports) == []  # it is not told what hosts say
    world.until(LASTS + 0.25)
    assert world.audience(bytes((239, 7, 7, 7))) == []


def test_a_full_network_still_takes_members_of_groups_that_it_has() -> None:
    world = World(network_groups=1)
    world.joins(0, G)
    world.joins(1, G)
    assert world.audience(G) == ["p0", "p1"] and world.stats.groups_refused == 0


# -- ports and nodes come and go ---------------------------------------------------------------------------------------


def test_a_port_that_goes_takes_its_memberships_along() -> None:
    world = World()
    world.joins(0, G)
    world.snooping.hear(world.ports[0], Message(ROUTER, 4))
    world.table.remove_port(world.ports[0])
    assert world.audience(G) == []  # at once
    world.until(0.25)
    assert world.told == set() and world.snooping.members == {}


def test_a_port_that_nobody_looked_at_leaves_nothing_behind() -> None:
    world = World()
    port = LocalPort("brief", None, 1)
    world.table.add_port(port)
    world.snooping.hear(port, Message(REPORT, 4, records=((G, JOINED),)))
    world.table.remove_port(port)
    world.until(0.25)
    world.table.add_port(LocalPort("p9", None, 1))
    world.until(0.25)
    assert world.snooping.members == {}


def test_a_port_that_comes_is_asked() -> None:
    world = World()
    world.table.add_port(LocalPort("p9", None, 1))
    world.until(2.25)
    assert {port for port, _ in world.asked} == {"p9"} and len(world.asked) == 4


def test_a_node_without_ports_wants_nothing() -> None:
    world = World(0, settled=False)
    assert world.told == set()


def test_other_nodes_listeners_stand_beside_ours() -> None:
    world = World()
    peers = [Peer(Vtep(f"192.0.2.{n}"), f"n{n}") for n in (2, 3)]
    world.table.set_peers(peers, 0, {})

    def vteps(group: bytes) -> Iterable[str | None]:
        return [peer.node for peer in world.snooping.known.audience(group).peers]

    assert vteps(G) == ["n2", "n3"]  # neither has told
    world.joins(0, G)
    for node, words in (("n2", {TELLS, "239.1.2.3"}), ("n3", {TELLS, "0.0.0.0"})):
        for group in world.elsewhere.tell(node, words):
            world.snooping.publish(group)
    world.snooping.publish_nodes()
    assert (vteps(G), vteps(H), vteps(SIX)) == (["n2", "n3"], ["n3"], [])
    world.report(0, (G, LEFT))
    assert vteps(G) == ["n2", "n3"]
    assert world.told == set()


def test_closing_floods_again() -> None:
    world = World()
    assert world.table.groups is world.snooping.known
    world.snooping.close()
    assert world.table.groups is None
