from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vxswitch.config import CommandLine, Config, load
from vxswitch.control.doors import Device
from vxswitch.control.state import StateDir
from vxswitch.dataplane.plane import Plane
from vxswitch.dataplane.port import TapPort
from vxswitch.fdb import Table
from vxswitch.model import PortSpec, Vtep
from vxswitch.store.embedded import EmbeddedStore
from vxswitch.store.redis import RedisStore
from vxswitch.store.static import StaticStore
from vxswitch.switch.compose import build, make_plane, make_store
from vxswitch.switch.door import OwnVteps
from vxswitch.wire.probe import NOBODY

OWN = OwnVteps((Vtep("127.0.0.1", 47890),), (Device("lo", 1500, True),))


def configured(tmp_path: Path, *keys: str, store: str = "static:") -> Config:
    options = CommandLine(node="n1", state_dir=str(tmp_path / "n1"), store=store, set=keys)
    return load(options, {})


@pytest.fixture
async def plane(tmp_path: Path) -> Any:
    made = make_plane(configured(tmp_path), lambda port: None, lambda error: None, NOBODY)
    yield made
    made.close()


async def test_every_key_of_the_underlay_reaches_its_sockets(tmp_path: Path) -> None:
    config = configured(
        tmp_path,
        "underlay.send_sockets=3",
        "underlay.ttl=7",
        "underlay.receive_buffer=1Mi",
        "underlay.send_buffer=512Ki",
        "underlay.accept_fragments=false",
        "underlay.strict_reserved=true",
        "underlay.udp_checksum=zero",
        "underlay.udp6_zero_rx=true",
        "underlay.copy_dscp=true",
        "underlay.busy_poll=50",
    )
    plane = make_plane(config, lambda port: None, lambda error: None, NOBODY)
    options = plane.underlay.options
    assert (options.send_sockets, options.ttl) == (3, 7)
    assert (options.receive_buffer, options.send_buffer) == (2**20, 2**19)
    assert (options.accept_fragments, options.strict_reserved, options.copy_dscp) == (False, True, True)
    assert (options.udp_checksum, options.udp6_zero_rx, options.busy_poll) == (False, True, 50e-6)
    plane.close()


@pytest.mark.parametrize(
    ("url", "kind"),
    [("static:", StaticStore), ("redis://192.0.2.1", RedisStore), ("embedded:", EmbeddedStore)],
)
def test_the_store_follows_from_its_url(tmp_path: Path, url: str, kind: type) -> None:
    assert type(make_store(configured(tmp_path, store=url))) is kind


async def test_the_rooms_know_each_other(tmp_path: Path, plane: Plane) -> None:
    config = configured(tmp_path)
    state = StateDir(config.node.state_dir)
    built = build(config, state, OWN, plane, make_store(config))
    rooms = built.rooms
    assert (rooms.node.name, rooms.node.uid, rooms.node.vteps) == ("n1", state.uid, OWN.vteps)
    assert rooms.networks.follower is rooms.ports
    assert rooms.reconciler.ports is rooms.ports
    assert list(rooms.announcer.reassert(7)) == []
    state.close()


@pytest.fixture
def pipe() -> Iterator[int]:
    """A descriptor that a loop can watch; the port that gets it closes it."""
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    yield reading
    os.close(writing)


async def test_limits_of_a_port_change_while_it_forwards(plane: Plane, pipe: int) -> None:
    table = plane.fdb.add(Table("red", 100, mtu=1450))
    first = PortSpec("p", 100, None, False, 64, 1000, 2000)
    port = plane.add_port(first, pipe)
    assert isinstance(port, TapPort)
    generation = table.generation
    plane.update_port(port, PortSpec("p", 100, None, True, 5, 10, 20, mcast_copies=300))
    assert (port.antispoof, port.max_macs, port.bum.rate, port.bum.burst) == (True, 5, 10, 20)
    assert port.copies is not None and (port.copies.rate, port.copies.burst) == (300, 30)
    assert table.generation > generation  # cached decisions are void
