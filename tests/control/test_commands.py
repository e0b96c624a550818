from __future__ import annotations

from typing import Any

import pytest

from tests.control.world import Node, World, vtep
from vxswitch.control import commands
from vxswitch.control.commands import AddRow, Commands, Flush, OneRow, Trace, parse
from vxswitch.errors import ConflictError, NotFoundError, UsageError
from vxswitch.store.static import StaticStore

MAC = "02:00:00:00:00:42"


async def node_with_peer(world: World) -> tuple[Node, Commands]:
    node = await world.node(store=StaticStore())
    await node.start("red=100", peers=["192.0.2.2"])
    return node, Commands(node.rooms)


# -- rows ------------------------------------------------------------------------------------------------------------


async def test_a_static_row_behind_a_vtep_or_a_port(world: World) -> None:
    node, wanted = await node_with_peer(world)
    wanted.add_row(AddRow(network="red", mac=MAC, vtep="192.0.2.9:8472", sticky=True))
    row = node.row("red", MAC)
    assert (row.source, row.flags, row.hop.vtep) == ("static", ("sticky",), vtep("192.0.2.9:8472"))
    wanted.add_row(AddRow(network="red", mac=MAC, port="red/vx-red"))
    row = node.row("red", MAC)
    assert row.hop is node.plane.ports["red/vx-red"] and row.flags == ()


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"mac": MAC}, UsageError),
        ({"mac": MAC, "port": "x", "vtep": "192.0.2.9"}, UsageError),
        ({"mac": "01:00:00:00:00:01", "vtep": "192.0.2.9"}, UsageError),
        ({"mac": "00:00:00:00:00:00", "vtep": "192.0.2.9"}, UsageError),
        ({"mac": "nonsense", "vtep": "192.0.2.9"}, UsageError),
        ({"mac": MAC, "vtep": "192.0.2.1"}, UsageError),
        ({"mac": MAC, "vtep": "2001:db8::9"}, UsageError),
        ({"mac": MAC, "vtep": "nonsense"}, UsageError),
        ({"mac": MAC, "port": "nosuch"}, NotFoundError),
        ({"mac": MAC, "vtep": "192.0.2.9", "network": "nosuch"}, NotFoundError),
    ],
)
async def test_a_row_that_cannot_be_is_refused(world: World, body: dict[str, Any], error: type[Exception]) -> None:
    node, wanted = await node_with_peer(world)
    with pytest.raises(error):
        wanted.add_row(AddRow(**({"network": "red"} | body)))
    assert len(node.fdb.tables[100].rows) == 1


async def test_the_mac_of_a_port_here_cannot_be_put_elsewhere(world: World) -> None:
    node, wanted = await node_with_peer(world)
    mac = node.ports.entries["red/vx-red"].record.mac
    with pytest.raises(ConflictError):
        wanted.add_row(AddRow(network="red", mac=mac, vtep="192.0.2.9"))
    with pytest.raises(ConflictError, match="detach"):
        wanted.delete_row("red", mac)


async def test_static_and_learned_rows_can_be_deleted_claimed_ones_are_their_owners(world: World) -> None:
    one, two = await world.node("n1"), await world.node("n2", ["192.0.2.2"])
    for node in (one, two):
        await node.start("red=100")
    await two.attach("red", mac=MAC)
    await world.spread()
    wanted = Commands(one.rooms)
    with pytest.raises(ConflictError, match="claimed by node n2"):
        wanted.delete_row("red", MAC)
    wanted.add_row(AddRow(network="red", mac=MAC, vtep="192.0.2.77"))
    assert one.row("red", MAC).source == "static"
    wanted.delete_row("red", MAC)
    assert (one.row("red", MAC).source, one.row("red", MAC).node) == ("claimed", "n2")
    one.fdb.tables[100].learn(bytes.fromhex("020000000043"), one.plane.ports["red/vx-red"], 0.0)
    wanted.delete_row("red", "02:00:00:00:00:43")
    assert one.row("red", "02:00:00:00:00:43") is None
    with pytest.raises(NotFoundError):
        wanted.delete_row("red", "02:00:00:00:00:43")


async def test_a_static_row_behind_a_local_port_is_claimed_and_released(world: World) -> None:
    node = await world.node()
    await node.start("red=100")
    wanted = Commands(node.rooms)
    wanted.add_row(AddRow(network="red", mac=MAC, port="red/vx-red", sticky=True))
    await world.spread()
    mac = bytes.fromhex(MAC.replace(":", ""))
    assert world.hub.table(100).rows[mac].flags == ("sticky",)
    wanted.delete_row("red", MAC)
    await world.spread()
    assert mac not in world.hub.table(100).rows and node.row("red", MAC) is None


async def test_flush_forgets_what_was_learned_and_nothing_else(world: World) -> None:
    node, wanted = await node_with_peer(world)
    table = node.fdb.tables[100]
    for number in range(3):
        table.learn(bytes([2, 0, 0, 0, 0, number]), node.plane.ports["red/vx-red"], 0.0)
    assert wanted.flush(Flush(network="red")) == {"flushed": 3}
    assert wanted.flush(Flush()) == {"flushed": 0}
    assert len(table.rows) == 1
    with pytest.raises(NotFoundError):
        wanted.flush(Flush(network="nosuch"))


async def test_a_mac_that_two_live_nodes_fight_for_freezes_until_it_is_thawed(world: World) -> None:
    one, two = await world.node("n1"), await world.node("n2", ["192.0.2.2"])
    for node in (one, two):
        await node.start("red=100")
    wanted = Commands(one.rooms)
    with pytest.raises(NotFoundError, match="not frozen"):
        await wanted.thaw(OneRow(network="red", mac=MAC))
    for node in (one, two):
        await node.attach("red", mac=MAC)
        await world.spread()
    for fighter in (one, two) * 3:
        world.time.pass_by(1.5)  # longer than the hold-down of a plain frame
        for node in (one, two):
            node.beat()
        fighter.fdb.tables[100].learn(bytes.fromhex(MAC.replace(":", "")), fighter.plane.ports["red/c1/eth0"], 0.0)
        await world.spread()
    rows = one.row("red", MAC), two.row("red", MAC)
    assert rows[0].flags == rows[1].flags == ("frozen",)
    assert sum(row.hop.local for row in rows) == 1  # one of them has it, and both know who
    assert await wanted.thaw(OneRow(network="red", mac=MAC)) == {}
    with pytest.raises(NotFoundError, match="not frozen"):
        await wanted.thaw(OneRow(network="red", mac=MAC))


# -- trace -----------------------------------------------------------------------------------------------------------


async def test_trace_finds_ends_by_address_and_builds_their_packet(world: World) -> None:
    one, two = await world.node("n1"), await world.node("n2", ["192.0.2.2"])
    for node in (one, two):
        await node.start("red=100")
    await one.attach("red", ips=["10.1.0.7/24"], mac="02:00:00:00:00:07")
    await two.attach("red", ips=["10.1.0.8/24"], mac="02:00:00:00:00:08")
    await world.spread()
    stages = Commands(one.rooms).trace(Trace(network="red", src="10.1.0.7", dst="10.1.0.8", proto="tcp", dport=80))
    assert stages == [{"stage": "lookup", "verdict": "ok", "detail": "here"}]
    vni, src, dst, frame, port = one.plane.traced[0]
    assert (vni, src.hex(), dst.hex()) == (100, "020000000007", "020000000008")
    assert frame[:14].hex() == "020000000008020000000007" + "0800" and len(frame) == 54
    assert port is one.plane.ports["red/c1/eth0"]


async def test_trace_to_a_group(world: World) -> None:
    node = await world.node()
    await node.start("red=100")
    await node.attach("red", mac="02:00:00:00:00:07", ips=["10.1.0.7/24"])
    Commands(node.rooms).trace(Trace(network="red", src="10.1.0.7", dst="239.129.2.3", proto="udp", dport=53))
    _, _, dst, frame, _ = node.plane.traced[0]
    assert dst.hex(":") == "01:00:5e:01:02:03" == frame[:6].hex(":") and frame[30:34] == bytes((239, 129, 2, 3))


async def test_trace_by_mac_uses_the_addresses_that_are_known(world: World) -> None:
    node, wanted = await node_with_peer(world)
    await node.attach("red", ips=["fd00::7/64", "10.1.0.7/24"], mac="02:00:00:00:00:07")
    await node.attach("red", "c2", ips=["10.1.0.8/24"], mac="02:00:00:00:00:08")
    wanted.trace(Trace(network="red", src="02:00:00:00:00:07", dst="02:00:00:00:00:08", proto="udp", dport=53))
    assert node.plane.traced[0][3][12:14].hex() == "0800"
    wanted.trace(Trace(network="red", src="02:00:00:00:00:07", dst="02:00:00:00:00:99"))
    assert node.plane.traced[1][3][12:14].hex() == "88b5"
    wanted.trace(Trace(network="red", src="02:00:00:00:00:99", dst="02:00:00:00:00:07"))
    assert node.plane.traced[2][4] is None  # as if a VTEP had brought it
    wanted.trace(Trace(network="red", src="02:00:00:00:00:99", dst="ff:ff:ff:ff:ff:ff", port="red/c2/eth0"))
    assert node.plane.traced[3][4] is node.plane.ports["red/c2/eth0"]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"src": "10.9.9.9"}, NotFoundError),
        ({"src": "nonsense"}, UsageError),
        ({"src": "ff:ff:ff:ff:ff:ff"}, UsageError),
        ({"port": "nosuch"}, NotFoundError),
        ({"proto": "tcp"}, UsageError),
        ({"network": "nosuch"}, NotFoundError),
    ],
)
async def test_a_trace_that_cannot_be_is_refused(world: World, body: dict[str, Any], error: type[Exception]) -> None:
    _, wanted = await node_with_peer(world)
    good = {"network": "red", "src": MAC, "dst": "02:00:00:00:00:43"}
    with pytest.raises(error):
        wanted.trace(Trace(**(good | body)))


# -- bodies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [b"{", b"[]", b'{"network": 7}', b'{"network": "red", "frob": 1}', b'{"mac": "x"}', b"\xff", b"null", b'"x"'],
)
def test_a_body_that_is_not_what_is_wanted_is_a_usage_error(content: bytes) -> None:
    with pytest.raises(UsageError, match="request refused"):
        parse(OneRow, content)


def test_no_body_is_an_empty_one() -> None:
    assert parse(Flush, b"") == Flush()
    assert parse(commands.Detach, b'{"network": "red", "netns": "/x"}').ifname == "eth0"
