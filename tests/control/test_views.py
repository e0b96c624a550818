from __future__ import annotations

import json

from tests.control.world import World, vtep
from vxswitch.control.views import FLOOD_MAC, Views
from vxswitch.counters import Drop
from vxswitch.fdb import Table
from vxswitch.store.static import StaticStore

FDB_KEYS = ["network", "vni", "mac", "hop", "port", "vtep", "node", "flags", "source", "age", "rev", "ips"]


async def test_status_has_every_field_of_the_interface(world: World) -> None:
    node = await world.node("n1", ["192.0.2.1", "2001:db8::1"])
    await node.start("red=100", "blue")
    views = Views(node.rooms)
    world.time.pass_by(2.5)
    status = views.status()
    assert list(status)[:11] == [
        *("node", "epoch", "version", "uptime", "vteps", "store", "networks", "ports", "macs", "frames", "drops")
    ]
    assert (status["node"], status["epoch"], status["uptime"]) == ("n1", 1, 2.5)
    assert status["vteps"] == ["192.0.2.1:4789", "[2001:db8::1]:4789"]
    assert list(status["store"]) == ["url", "state", "reason", "since", "rtt_ms"]
    assert status["networks"] == [
        {"name": "blue", "vni": 4096, "mtu": 1450, "learning": "control", "state": "up"},
        {"name": "red", "vni": 100, "mtu": 1450, "learning": "control", "state": "up"},
    ]
    assert (status["ports"], status["macs"], status["drops"]) == (2, 2, 0)
    assert status["frames"] == {"in": 7, "out": 5} and status["degraded"] == []
    json.dumps(status)


async def test_a_pending_network_has_no_vni_and_no_mtu(world: World) -> None:
    world.hub.available = False
    node = await world.node()
    await node.start("blue")
    (network,) = Views(node.rooms).status()["networks"]
    assert network == {"name": "blue", "vni": None, "mtu": None, "learning": "control", "state": "pending"}


async def test_a_missing_vtep_address_is_a_reason_to_be_degraded(world: World) -> None:
    node = await world.node()
    await node.start("red=100")
    rooms = node.rooms
    rooms.vteps.present = ()
    assert Views(rooms).status()["degraded"] == ["no_vtep_address"]


async def test_peers_that_all_fell_silent_are_a_reason_to_be_degraded(world: World) -> None:
    one = await world.node()
    for number in (2, 3):
        node = await world.node(f"n{number}", [f"192.0.2.{number}"])
        await node.start("red=100")
    await one.start("red=100")
    await world.spread()
    one.prober.tick()
    assert len(one.prober.heard) == 2 and Views(one.rooms).status()["degraded"] == []
    for heard in one.prober.heard.values():
        heard.alive = False
    assert Views(one.rooms).status()["degraded"] == ["no_peer_answers"]


async def test_every_drop_reason_is_there(world: World) -> None:
    node = await world.node()
    await node.start("red=100")
    assert Views(node.rooms).drops() == {reason.label: 0 for reason in Drop}


async def test_rows_of_every_kind(world: World) -> None:
    one, two = await world.node("n1"), await world.node("n2", ["192.0.2.2"])
    for node in (one, two):
        await node.start("red=100")
    await one.attach("red", mac="02:00:00:00:00:07")
    await two.attach("red", mac="02:00:00:00:00:08")
    await world.spread()
    table = one.fdb.tables[100]
    table.install(bytes.fromhex("020000000009"), one.fdb.peer(vtep("192.0.2.2")), "static", 0.0, flags=("sticky",))
    table.learn(bytes.fromhex("02000000000a"), one.plane.ports["red/vx-red"], world.time())
    world.time.pass_by(1.5)
    rows = {row["mac"]: row for row in await Views(one.rooms).fdb([table])}
    assert all(list(row) == FDB_KEYS for row in rows.values())
    mine = rows["02:00:00:00:00:07"]
    assert mine == {
        "network": "red",
        "vni": 100,
        "mac": "02:00:00:00:00:07",
        "hop": "local",
        "port": "red/c1/eth0",
        "vtep": "192.0.2.1:4789",
        "node": "n1",
        "flags": [],
        "source": "claimed",
        "age": None,
        "rev": mine["rev"],
        "ips": [],
    }
    theirs = rows["02:00:00:00:00:08"]
    assert (theirs["hop"], theirs["port"], theirs["vtep"]) == ("remote", None, "192.0.2.2:4789")
    assert (theirs["node"], theirs["source"], theirs["age"]) == ("n2", "claimed", None)
    assert isinstance(mine["rev"], int) and isinstance(theirs["rev"], int)
    static = rows["02:00:00:00:00:09"]
    assert (static["source"], static["flags"], static["age"], static["rev"]) == ("static", ["sticky"], None, None)
    learned = rows["02:00:00:00:00:0a"]
    assert (learned["source"], learned["age"], learned["rev"], learned["port"]) == ("learned", 1.5, None, "red/vx-red")
    flood = rows[FLOOD_MAC]
    assert (flood["hop"], flood["vtep"], flood["node"], flood["age"]) == ("flood", "192.0.2.2:4789", "n2", None)


async def test_stale_rows_say_so_and_flooding_has_a_row_per_vtep(world: World) -> None:
    node = await world.node(store=StaticStore())
    await node.start("red=100", peers=["192.0.2.8", "192.0.2.9"])
    table = node.fdb.tables[100]
    table.install(bytes(5) + b"\x02", node.fdb.peer(vtep("192.0.2.8")), "claimed", 0.0, rev=1, stale=True)
    rows = await Views(node.rooms).fdb([table])
    assert [row["flags"] for row in rows if row["mac"] == "00:00:00:00:00:02"] == [["stale"]]
    assert [row["vtep"] for row in rows if row["mac"] == FLOOD_MAC] == ["192.0.2.8:4789", "192.0.2.9:4789"]


async def test_a_given_mac_that_nobody_claims_is_static_and_does_not_age(world: World) -> None:
    node = await world.node(store=StaticStore())
    await node.start("red=100")
    (row,) = await Views(node.rooms).fdb([node.fdb.tables[100]])
    assert (row["source"], row["age"], row["rev"], row["hop"]) == ("static", None, None, "local")


async def test_a_large_table_is_given_away_in_slices(world: World) -> None:
    node = await world.node(store=StaticStore())
    table = Table("big", 7, mtu=1450)
    peer = node.fdb.peer(vtep("192.0.2.2"))
    for number in range(5000):
        table.install(b"\x02" + number.to_bytes(5, "big"), peer, "static", 0.0)
    assert len(await Views(node.rooms).fdb([table])) == 5000


async def test_stats_are_what_is_counted_and_no_drop(world: World) -> None:
    node = await world.node()
    await node.start("red=100")
    stats = Views(node.rooms).stats()
    assert {"probes_sent", "probes_heard", "probes_answered", "probes_refused"} <= stats.keys()
    assert {"frames_in", "frames_out", "copies", "fdb_refused", "claims_waiting", "resyncs"} <= stats.keys()
    assert not stats.keys() & {reason.label for reason in Drop}
