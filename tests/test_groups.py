"""The group table: what is kept, what is found anew, and who is told of changes."""

from __future__ import annotations

from vxswitch.fdb import LocalPort, Peer, Table
from vxswitch.groups import Family, GroupTable, Members
from vxswitch.model import Vtep

G, H = bytes((239, 1, 2, 3)), bytes((239, 9, 9, 9))


class Watcher:
    """What the table tells of itself."""

    def __init__(self) -> None:
        self.told: list[bytes] = []

    def network(self, table: Table) -> None:
        pass

    def row(self, table: Table, mac: bytes) -> None:
        pass

    def gone(self, table: Table) -> None:
        pass

    def groups(self, table: Table, group: bytes) -> None:
        self.told.append(group)


def made() -> tuple[Table, GroupTable, list[LocalPort], list[Peer]]:
    table = Table("net", 7, mtu=1450)
    ports = [LocalPort(f"p{n}", None, 1) for n in range(3)]
    for port in ports:
        table.add_port(port)
    peers = [Peer(Vtep(f"192.0.2.{n}"), f"n{n}") for n in range(3)]
    table.set_peers(peers, 0, {})
    return table, GroupTable(table, lambda hop, message: None), ports, peers


def test_until_it_is_told_anything_everybody_listens() -> None:
    table, known, _, _ = made()
    assert known.audience(G) == (table.ports, table.flood)


def test_an_audience_is_found_once_and_unknown_groups_share_one() -> None:
    table, known, ports, _ = made()
    known.set_family(4, Family(open=False))
    known.put(G, Members(frozenset(ports[:1])))
    assert known.audience(G) is known.audience(G)
    shared = known.audience(H)
    for n in range(1000):
        assert known.audience(bytes((239, 2, n >> 8, n & 0xFF))) is shared
    table.changed()
    assert known.audience(H) is not shared


def test_whoever_keeps_listeners_sees_when_they_are_out_of_date() -> None:
    table, known, ports, peers = made()
    known.set_family(4, Family(open=False))
    six = bytes((0xFF, 0x0E, *bytes(13), 9))
    known.put(H, Members(frozenset(ports[:1])))

    def voided(change: object) -> list[bytes]:
        kept = {group: known.listeners(group) for group in (G, H, six)}
        assert all(found.hop is not None and found.joined == (group in known.members) for group, found in kept.items())
        change()  # type: ignore[operator]
        gone = [group for group, found in kept.items() if known.listeners(group) is not found]
        assert gone == [group for group, found in kept.items() if found.hop is None]
        return gone

    assert voided(lambda: known.put(G, Members(frozenset(ports[1:])))) == [G]  # who has it shared with others until now
    assert voided(lambda: known.put(H, Members(frozenset(ports[1:])))) == [H]
    assert voided(lambda: known.put(H, Members(frozenset(ports[1:])))) == []
    assert voided(lambda: known.put(H, Members())) == [H]
    assert voided(lambda: known.set_tellers(frozenset({"n1"}))) == [G, H, six]
    assert voided(lambda: known.set_family(6, Family(open=False))) == [G, H, six]
    assert voided(lambda: table.set_peers(peers[1:], 1, {})) == [G, H, six]


def test_a_static_vtep_gets_everything_until_a_node_that_tells_is_behind_it() -> None:
    table, known, _, peers = made()
    known.set_family(4, Family(open=False))
    known.set_tellers(frozenset(("n0", "n1", "n2")))
    peers[0].node, peers[0].static = None, True
    assert known.audience(G).peers == (peers[0],)
    peers[0].node = "n0"
    table.changed()
    assert known.audience(G).peers == ()


def test_only_changes_are_told() -> None:
    table, known, ports, _ = made()
    watcher = table.watcher = Watcher()
    table.set_groups(known)
    known.put(G, Members())
    known.put(G, Members(frozenset(ports)))
    known.put(G, Members(frozenset(ports)))
    known.set_tellers(frozenset())
    known.set_tellers(frozenset({"n1"}))
    known.set_family(6, Family())
    known.set_family(6, Family(open=False))
    known.put(G, Members())
    assert watcher.told == [b"", G, b"", b"", G] and known.members == {}
