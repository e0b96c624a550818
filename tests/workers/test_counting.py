"""Counts go from a worker to the main process once: nothing is lost on the way and nothing counted twice."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest

from vxswitch.counters import Drop
from vxswitch.dataplane.plane import Plane
from vxswitch.dataplane.port import TapPort
from vxswitch.dataplane.sockets import UnderlayOptions
from vxswitch.fdb import Fdb, Table
from vxswitch.model import PortSpec
from vxswitch.workers import counting
from vxswitch.workers.messages import decode_to_main, encode

VNI = 100


@pytest.fixture
def planes() -> Iterator[tuple[Plane, Plane]]:
    """Main's and a worker's, with a network, and no socket or loop."""
    made = []
    for _ in range(2):
        fdb = Fdb()
        fdb.add(Table("red", VNI, mtu=1450))
        ignore = lambda *_: None  # noqa: E731
        made.append(
            Plane(
                fdb,
                UnderlayOptions(),
                clock=lambda: 0.0,
                call_soon=ignore,
                call_later=ignore,
                add_reader=ignore,
                remove_reader=ignore,
                on_port_gone=ignore,
                on_bug=ignore,
            )
        )
    yield made[0], made[1]
    for plane in made:
        plane.close()


def port(plane: Plane, number: int) -> TapPort:
    spec = PortSpec(f"p{number}", VNI, None, False, 64, 1000, 2000)
    plane.add_port(spec, os.open(os.devnull, os.O_RDONLY), reads=False)
    return plane.ports[spec.id]


def deliver(worker: Plane, theirs: dict[int, TapPort], main: Plane, ours: dict[int, TapPort]) -> bool:
    counted = counting.take(worker, theirs)
    if counted is not None:
        message = decode_to_main(encode(counted))
        counting.add(main, ours, message)  # type: ignore[arg-type]
    return counted is not None


def test_nothing_is_told_where_nothing_was_counted(planes: tuple[Plane, Plane]) -> None:
    _, worker = planes
    theirs = {1: port(worker, 1)}
    assert counting.take(worker, theirs) is None
    theirs[1].rx_frames += 1
    assert counting.take(worker, theirs) is not None
    assert counting.take(worker, theirs) is None


def test_what_goes_up_and_down_is_right_in_the_end(planes: tuple[Plane, Plane]) -> None:
    main, worker = planes
    for step, held in enumerate((3, -1, -2), 1):
        worker.stats.held += held
        worker.stats.arp_answered += 1
        assert deliver(worker, {}, main, {})
        assert main.stats.held == (3, 2, 0)[step - 1] and main.stats.arp_answered == step


@pytest.mark.parametrize("seed", range(10))
def test_counts_are_conserved(planes: tuple[Plane, Plane], seed: int) -> None:
    main, worker = planes
    chance = random.Random(seed)
    ours = {n: port(main, n) for n in (1, 2)}
    theirs = {n: port(worker, n) for n in (1, 2)}
    offered = delivered = dropped = copies = 0
    for step in range(100):
        frames = chance.randrange(1, 50)
        at = chance.choice(list(theirs.values()) or [None])
        match chance.randrange(7):
            case 0 if at is not None:
                at.rx_frames += frames
                offered += frames
            case 1 if at is not None:
                at.tx_frames += frames
                delivered += frames
            case 2 if at is not None:
                at.counts.by_reason[chance.choice((Drop.STORM, Drop.PORT_BUSY))] += frames
                dropped += frames
            case 3:
                worker.underlay.sent += frames
                delivered += frames
            case 4:
                worker.underlay.counts.by_reason[Drop.UNKNOWN_VNI] += frames
                dropped += frames
            case 5:
                worker.stats.copies += frames
                worker.stats.probes_answered += frames
                copies += frames
            case 6:
                deliver(worker, theirs, main, ours)
        if step == 50:  # gone in the main process first, its last counts still under way
            main.remove_port(ours.pop(1))
        if step == 60:
            worker.remove_port(theirs.pop(1))
    deliver(worker, theirs, main, ours)
    assert not deliver(worker, theirs, main, ours)
    assert main.frames() == (offered, delivered)
    assert sum(main.drops().values()) == dropped
    assert (main.stats.copies, main.stats.probes_answered) == (copies, copies)
