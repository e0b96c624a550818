from __future__ import annotations

import json
import logging
import os
from typing import Any

import pytest

from tests.control.world import INODE, Node, World, vtep
from vxswitch import config
from vxswitch.control.doors import Place
from vxswitch.errors import ConflictError, VxswitchError
from vxswitch.store.static import StaticStore

PLACE = Place("/run/netns/c1", INODE)


def view(node: Node, ident: str) -> dict[str, Any] | None:
    return next((row for row in node.ports.view() if row["id"] == ident), None)


async def restarted(world: World, *networks: str, inside: bool | None = True, same: bool = True) -> Node:
    """n1 with one container's port, ended and started again; ``inside``: may the TAP be re-attached (None: no TAP)."""
    first = await world.node()
    await first.start(*networks)
    await first.attach("red", ips=["10.1.0.7/24"])
    await world.spread()
    await first.close()
    world.nodes.remove(first)
    again = await world.node()
    if same:
        again.taps.places.add(PLACE)
    if inside is not None:
        again.taps.inside[PLACE.path, "eth0"] = inside
    again.taps.existing_hosts.add("red")
    await again.start(*networks)
    return again


# -- the host's own port ---------------------------------------------------------------------------------------------


async def test_joining_opens_the_hosts_own_port(world: World) -> None:
    node = await world.node(store=StaticStore())
    await node.start("red=100")
    spec = node.plane.specs["red/vx-red"]
    assert (spec.vni, spec.antispoof, spec.max_macs, spec.offloads) == (100, False, 16384, 7)
    row = node.row("red", spec.mac.hex(":") if spec.mac else "")
    assert row.given and row.hop is node.plane.ports["red/vx-red"]
    described = view(node, "red/vx-red")
    assert described is not None
    assert (described["netns"], described["ifname"], described["ips"], described["state"]) == (None, "vx-red", [], "up")


async def test_the_hosts_mac_is_the_same_after_a_restart_and_another_on_another_node(world: World) -> None:
    macs = []
    for name in ("n1", "n1", "n2"):
        node = await world.node(name, store=StaticStore())
        await node.start("red=100")
        macs.append(node.ports.entries["red/vx-red"].record.mac)
        await node.close()
        world.nodes.remove(node)
    assert macs[0] == macs[1] != macs[2] and macs[0].startswith("02:")


async def test_a_host_port_that_cannot_be_opened_ends_the_start(world: World) -> None:
    node = await world.node(store=StaticStore())
    node.taps.fails = ConflictError("cannot make TAP vx-red: the name is taken")
    with pytest.raises(ConflictError, match="the name is taken"):
        await node.start("red=100")


async def test_a_start_that_fails_undoes_the_taps_that_it_made_and_no_others(world: World) -> None:
    node = await world.node(store=StaticStore())
    node.taps.existing_hosts.add("red")
    await node.start("red=100", "blue=200")
    node.ports.undo()
    assert node.taps.forgotten == [node.ports.entries["blue/vx-blue"].fd]


async def test_taps_of_networks_that_are_not_joined_any_more_are_removed(world: World) -> None:
    node = await world.node(store=StaticStore())
    await node.start("red=100", "blue=200")
    await node.close()
    world.nodes.remove(node)
    again = await world.node(store=StaticStore())
    await again.start("red=100")
    assert again.taps.deleted == ["vx-blue"]
    assert {record["id"] for record in json.loads((again.state.path / "ports.json").read_bytes())} == {"red/vx-red"}


# -- from one life to the next ---------------------------------------------------------------------------------------


async def test_a_port_is_attached_again_inside_its_namespace(world: World) -> None:
    node = await restarted(world, "red=100")
    described = view(node, "red/c1/eth0")
    assert described is not None
    assert (described["state"], described["ips"], described["netns"]) == ("up", ["10.1.0.7/24"], PLACE.path)
    assert node.ports.entries["red/c1/eth0"].pinned


async def test_a_port_whose_namespace_is_another_one_is_gone(world: World, caplog: pytest.LogCaptureFixture) -> None:
    node = await restarted(world, "red=100", same=False)
    await world.spread()
    assert view(node, "red/c1/eth0") is None
    assert sum("red/c1/eth0 is gone" in record.getMessage() for record in caplog.records) == 1
    assert len(world.hub.table(100).rows) == 1  # the host's own: the other was released


async def test_a_port_whose_tap_is_no_more_is_gone(world: World) -> None:
    assert view(await restarted(world, "red=100", inside=None), "red/c1/eth0") is None


async def test_a_port_that_may_not_be_entered_waits_and_keeps_its_mac(world: World) -> None:
    node = await restarted(world, "red=100", inside=False)
    await world.spread()
    described = view(node, "red/c1/eth0")
    assert described is not None and described["state"] == "waiting"
    assert len(world.hub.table(100).rows) == 2
    answer = await node.attach("red", pinned=True)
    assert answer["existing"] is False and answer["mac"] == described["mac"]
    again = view(node, "red/c1/eth0")
    assert again is not None and again["state"] == "up"


async def test_a_port_of_a_pending_network_waits_until_that_is_up(world: World) -> None:
    other = await world.node("n2", ["192.0.2.2"])
    await other.start("red=100")
    first = await world.node()
    await first.start("red")
    await first.attach("red")
    await first.close()
    world.nodes.remove(first)
    world.hub.available = False
    again = await world.node()
    again.taps.places.add(PLACE)
    again.taps.inside[PLACE.path, "eth0"] = True
    await again.start("red")
    described = view(again, "red/c1/eth0")
    assert described is not None and (described["state"], described["vni"]) == ("waiting", None)
    world.hub.available = True
    again.beat()
    await again.settle()
    described = view(again, "red/c1/eth0")
    assert described is not None and (described["state"], described["vni"]) == ("up", 100)


async def test_a_corrupt_ports_file_is_moved_aside(world: World, caplog: pytest.LogCaptureFixture) -> None:
    node = await world.node(store=StaticStore())
    node.state.write("ports", [{"id": "x", "network": "red", "ifname": "eth0", "mac": "nonsense"}])
    with caplog.at_level(logging.ERROR):
        await node.start("red=100")
    assert (node.state.path / "ports.corrupt").exists() and "ports.json" in caplog.text
    assert node.ports.entries.keys() == {"red/vx-red"}


# -- gone ------------------------------------------------------------------------------------------------------------


async def test_a_tap_that_vanishes_takes_rows_addresses_and_record_along(world: World) -> None:
    node = await world.node()
    await node.start({"name": "red", "vni": 100, "subnets": ["10.1.0.0/24"]})
    answer = await node.attach("red", ips=["auto"])
    await world.spread()
    assert len(world.hub.table(100).rows) == 2 and answer["ips"] == ["10.1.0.1/24"]
    node.ports.on_gone(node.plane.ports["red/c1/eth0"])
    node.ports.on_gone(node.plane.ports["red/vx-red"])
    await node.ports.finished()
    await world.spread()
    assert node.plane.ports == {} and not world.hub.table(100).rows
    assert json.loads((node.state.path / "ports.json").read_bytes()) == []
    other = await node.attach("red", "c2", ips=["auto"])
    assert other["ips"] == ["10.1.0.2/24"]  # .1 rests in quarantine


async def test_the_watch_lets_go_of_a_namespace_that_only_we_keep_alive(world: World) -> None:
    node = await restarted(world, "red=100")
    node.ports.watch()
    assert view(node, "red/c1/eth0") is not None
    fd = node.ports.entries["red/c1/eth0"].fd
    node.taps.places.clear()
    node.ports.watch()
    assert view(node, "red/c1/eth0") is None and fd in node.taps.forgotten


async def test_the_watch_does_not_judge_ports_that_report_their_own_end(world: World) -> None:
    node = await world.node(store=StaticStore())
    await node.start("red=100")
    await node.attach("red")
    node.taps.places.clear()
    node.ports.watch()
    assert view(node, "red/c1/eth0") is not None


async def test_the_watch_ends_ports_that_wait_in_vain(world: World) -> None:
    node = await restarted(world, "red=100", inside=False)
    node.taps.places.clear()
    node.ports.watch()
    assert view(node, "red/c1/eth0") is None


async def test_a_mac_that_moved_away_is_released_when_its_port_goes(world: World) -> None:
    """It tells the store that the move was orderly."""
    node = await world.node()
    await node.start("red=100")
    await node.attach("red", mac="02:00:00:00:00:07")
    table = node.fdb.tables[100]
    mac = bytes.fromhex("020000000007")
    await world.spread()
    table.install(mac, node.fdb.peer(vtep("192.0.2.9")), "claimed", 0.0, node="b", rev=99)
    node.ports.on_gone(node.plane.ports["red/c1/eth0"])
    assert node.announcer.backlog == 1
    assert table.rows[mac].node == "b"


# -- limits and views ------------------------------------------------------------------------------------------------


async def test_limits_change_while_ports_forward(world: World) -> None:
    node = await world.node(store=StaticStore())
    await node.start("red=100")
    await node.attach("red", rate=10**6, pps=500)
    node.fdb.tables[100].antispoof = "off"
    node.ports.relimit(config.Limits(bum_pps=5, bum_burst=6, mcast_copies=8, port_macs=7))
    spec = node.plane.specs["red/c1/eth0"]
    assert (spec.bum_pps, spec.bum_burst, spec.mcast_copies, spec.max_macs) == (5, 6, 8, 7)
    assert not spec.antispoof
    assert (spec.rate_bits, spec.pps) == (10**6, 500)
    assert node.plane.specs["red/vx-red"].max_macs == 16384


async def test_the_view_has_every_field_of_the_interface(world: World) -> None:
    node = await world.node(store=StaticStore())
    await node.start("red=100")
    await node.attach("red", ips=["10.1.0.7/24", "fd00::7/64"])
    described = view(node, "red/c1/eth0")
    assert described is not None
    assert list(described) == [
        *("id", "network", "vni", "netns", "ifname", "mac", "ips", "mtu", "state"),
        *("rx_frames", "rx_bytes", "tx_frames", "tx_bytes", "offloads", "drops"),
    ]
    assert (described["ips"], described["mtu"], described["vni"]) == (["10.1.0.7/24", "fd00::7/64"], 1450, 100)
    assert described["drops"] and set(described["drops"].values()) == {0}


async def test_a_waiting_tap_is_removed_with_its_network(world: World) -> None:
    node = await restarted(world, "red=100", inside=False)
    node.taps.inside[PLACE.path, "eth0"] = True
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    await node.joining.remove("red")
    assert node.ports.entries == {} and len(node.taps.forgotten) == 2
    assert len(os.listdir("/proc/self/fd")) < before  # noqa: PTH208


async def test_descriptors_are_closed_when_the_data_plane_refuses(world: World) -> None:
    node = await world.node(store=StaticStore())
    await node.start("red=100")

    def refuse(spec: object, fd: int) -> None:
        raise VxswitchError("no more ports")

    node.plane.add_port = refuse  # type: ignore[assignment]
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    with pytest.raises(VxswitchError, match="no more ports"):
        await node.attach("red")
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    assert "red/c1/eth0" not in node.ports.entries


async def test_one_station_uses_a_containers_port_unless_any_source_may(world: World) -> None:
    node = await world.node()
    await node.start("red=100", {"name": "blue", "vni": 200, "antispoof": "off"})
    for network in ("red", "blue"):
        await node.attach(network, netns=f"in-{network}")
    single = {port.id: node.ports.single(port) for port in node.plane.ports.values()}
    assert single == {
        "red/vx-red": False,
        "red/in-red/eth0": True,
        "blue/vx-blue": False,
        "blue/in-blue/eth0": False,
    }
