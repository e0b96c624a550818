from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.control.test_drift import HERE, THERE, raw, two_nodes
from tests.control.world import Node, World
from vxswitch.control import tables as tables_module
from vxswitch.control.tables import Tables
from vxswitch.control.vouching import Vouching


def tables_of(node: Node, vouching: Vouching | None = None) -> Tables:
    vouching = vouching or Vouching(node.world.time, 0.0)
    return Tables(node.state, node.fdb, node.reconciler, node.peers, vouching, cluster="test", uid=node.state.uid)


async def saved(world: World) -> tuple[Node, Path]:
    """The file of n1 as it stands when n1 ends."""
    one, _ = await two_nodes(world)
    await tables_of(one).save()
    return one, one.state.path / "tables.json"


async def born_again(world: World, node: Node, *networks: str) -> tuple[Node, Tables]:
    """The same node in its next life, while the store is away."""
    await node.close()
    world.nodes.remove(node)
    world.hub.available = False
    again = await world.node(node.name)
    tables = tables_of(again)
    tables.load()
    wanted = [again.wanted(network) for network in networks or ("red=100",)]
    await again.networks.start(wanted, (), 0.0, remembered=tables.vni_of)
    return again, tables


async def test_a_node_born_again_without_the_store_forwards_by_what_it_had(world: World) -> None:
    one, _ = await saved(world)
    again, tables = await born_again(world, one)
    assert await tables.restore() == 2  # n2's container and its own TAP
    row = again.row("red", THERE)
    assert (row.node, row.source, row.stale) == ("n2", "claimed", True)
    assert str(row.hop.vtep) == "192.0.2.2:4789"
    assert [str(peer.vtep) for peer in again.fdb.tables[100].flood] == ["192.0.2.2:4789"]
    assert again.row("red", HERE) is None  # our own are the ports' to say


async def test_the_first_snapshot_is_compared_with_it(world: World) -> None:
    one, _ = await saved(world)
    two = world.nodes[1]
    again, tables = await born_again(world, one)
    await tables.restore()
    row = again.row("red", THERE)
    world.hub.available = True
    await two.attach("red", "c7", mac="02:00:00:00:00:07")
    await two.attaching.detach("red", "/run/netns/c1", "eth0")
    for node in (two, again):
        node.beat()
        await node.settle()
    await world.spread()
    assert row.hop is None and again.row("red", THERE) is None  # it was released meanwhile
    assert again.row("red", "02:00:00:00:00:07").node == "n2"
    assert not any(row.stale for row in again.fdb.tables[100].rows.values())
    assert not again.reconciler.resyncs  # the first snapshot is no resync


async def test_rows_stay_as_long_as_the_store_is_away(world: World) -> None:
    one, _ = await saved(world)
    again, tables = await born_again(world, one)
    await tables.restore()
    for _ in range(10):
        world.time.pass_by(600.0)
        again.beat()
        await again.hear()
    assert again.row("red", THERE).stale and again.peers.remotes["n2"].state == "live"


async def test_a_network_known_by_name_alone_has_the_vni_that_it_had(world: World) -> None:
    one, _ = await saved(world)
    again, tables = await born_again(world, one, "red", "new")
    states = {name: (network.state, network.vni) for name, network in again.networks.by_name.items()}
    assert states == {"red": ("up", 100), "new": ("pending", None)}
    assert await tables.restore() == 2


async def test_a_vni_that_another_network_has_by_now_is_not_taken(world: World) -> None:
    one, _ = await saved(world)
    again, tables = await born_again(world, one, "red", "blue=100")
    assert again.networks.by_name["red"].vni is None
    assert await tables.restore() == 0


async def test_what_the_store_has_told_is_not_overwritten(world: World) -> None:
    one, _ = await saved(world)
    tables = tables_of(one)
    tables.load()
    assert await tables.restore() == 0 and not one.row("red", THERE).stale


async def test_nothing_is_written_twice(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = await two_nodes(world)
    tables, written = tables_of(one), []
    monkeypatch.setattr(
        one.state, "write_bytes", lambda name, parts: name == "tables" and written.append(b"".join(parts))
    )
    await tables.save()
    await tables.save()
    assert len(written) == 1
    await two.attach("red", "c7")
    await world.spread()
    await tables.save()
    assert len(written) == 2
    await one.joining.remove("red")
    await tables.save()
    assert len(written) == 3 and json.loads(written[-1])["tables"] == []


async def test_what_the_store_never_told_is_kept_for_the_next_life(world: World) -> None:
    one, file = await saved(world)
    before = json.loads(file.read_bytes())["tables"]
    _, tables = await born_again(world, one)
    await tables.restore()
    await tables.save()
    assert json.loads(file.read_bytes())["tables"] == before


async def test_the_file_says_in_plain_text_who_has_what(world: World) -> None:
    one, file = await saved(world)
    document = json.loads(file.read_bytes())
    assert (document["format"], document["cluster"], document["uid"]) == (1, "test", one.state.uid)
    (red,) = document["tables"]
    assert (red["network"], red["vni"], red["rev"]) == ("red", 100, world.hub.table(100).truth.rev)
    assert THERE in red["rows"] and HERE not in red["rows"] and " n2 192.0.2.2:4789 " in red["rows"][THERE]
    assert red["members"].keys() == {"n2"}


def damage(document: dict[str, Any]) -> bytes:
    text = json.dumps(document)
    return text.replace("192.0.2.2", "192.0.2.3").encode()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda d: b"", "truncated"),
        (lambda d: b"\x00" * 100, "malformed"),
        (lambda d: json.dumps(d).encode()[:-20], "truncated"),
        (lambda d: json.dumps([d]).encode(), "Expected"),
        (damage, "checksum"),
        (lambda d: json.dumps(d | {"format": 2}).encode(), "format is 2"),
        (lambda d: json.dumps(d | {"uid": "other"}).encode(), "of node other"),
        (lambda d: json.dumps(d | {"cluster": "prod"}).encode(), "cluster 'prod'"),
        (lambda d: json.dumps(d | {"extra": 1}).encode(), "unknown field"),
        (lambda d: b"x" * 5000, "bytes, more than 4096"),
    ],
)
async def test_a_file_of_no_use_is_moved_aside_with_the_reason(
    world: World, spoil: Any, reason: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, file = await saved(world)
    monkeypatch.setattr(tables_module, "MAX_BYTES", 4096)
    file.write_bytes(spoil(json.loads(file.read_bytes())))
    again, tables = await born_again(world, one)
    assert await tables.restore() == 0 and again.row("red", THERE) is None
    assert not file.exists() and file.with_suffix(".corrupt").exists()
    (told,) = [record.getMessage() for record in caplog.records if "tables" in record.getMessage()]
    assert reason in told


async def test_rows_that_make_no_sense_do_not_come_in(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checksum only proves that the file is as it was written."""
    one, file = await saved(world)
    document = json.loads(file.read_bytes())
    document["tables"][0]["rows"][THERE] = "1 2 3"
    body = json.dumps(document["tables"]).encode()
    document["checksum"] = tables_module._checksum([body])
    head = json.dumps(document | {"tables": None}).encode()
    file.write_bytes(head.replace(b"null", body))
    again, tables = await born_again(world, one)
    assert await tables.restore() == 0 and again.row("red", THERE) is None
    assert file.with_suffix(".corrupt").exists()


async def test_a_table_too_large_is_not_written(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one, _ = await two_nodes(world)
    monkeypatch.setattr(tables_module, "MAX_BYTES", 4096 + 100)
    tables = tables_of(one)
    await tables.save()
    await tables.save()
    assert not (one.state.path / "tables.json").exists()
    assert sum("is not written" in record.getMessage() for record in caplog.records) == 1


async def test_a_disk_that_refuses_is_logged_and_tried_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    one, _ = await two_nodes(world)
    tables = tables_of(one)
    one.state.path.chmod(0o700)
    (one.state.path / "tables.tmp").mkdir()
    await tables.save()
    assert not (one.state.path / "tables.json").exists()
    (one.state.path / "tables.tmp").rmdir()
    await tables.save()
    assert (one.state.path / "tables.json").exists()


async def test_networks_that_flood_and_learn_are_not_in_it(world: World) -> None:
    one, _ = await two_nodes(world)
    one.fdb.tables[100].learning = "flood"
    await tables_of(one).save()
    assert json.loads((one.state.path / "tables.json").read_bytes())["tables"] == []
    assert raw(THERE) in one.fdb.tables[100].rows
