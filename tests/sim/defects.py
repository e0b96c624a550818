"""Defects put in on purpose: what the simulation is there to find, and how soon it finds it.

Each stands for a rule that the code keeps: most were real and are mended, the others are the rule left out. ``measure``
lets seeds run over each and says which share of them notices, and what finding it once costs in processor time. A
change of the simulation that makes seeds cheaper is a gain only if that price falls.

Some are rarer than one in a thousand seeds: their stories (``test_seeds``) or the unit tests of their rules find them.

    python -m tests.sim --defects 100
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any, NamedTuple
from unittest import mock

from tests.sim.run import run
from vxswitch.control import peers
from vxswitch.control.networks import Networks
from vxswitch.control.peers import Peers
from vxswitch.control.ports import Ports
from vxswitch.control.reconciler import Reconciler
from vxswitch.control.reconciling import Mirror
from vxswitch.dataplane import neighbours
from vxswitch.store import mirror
from vxswitch.store.lease import OwnLease


async def _caught_up(self: Networks) -> bool:
    return True


def _gives_way_to_anybody(holder: Any, other: Any) -> bool:
    return bool(holder.state != "live" or holder.record.uid == other.record.uid)


def _overtaken(self: Mirror, mac: bytes, rev: int) -> bool:
    known = self.rows.get(mac)
    return known is not None and rev < known.rev <= self.rev


Defect = tuple[Any, str, Any]
DEFECTS: dict[str, Defect] = {
    "network records are not made again": (Networks, "catch_up", _caught_up),
    "an address that is free now stays refused": (Peers, "_settle_refused", lambda self: []),
    "kept rows are given up while nobody could claim": (OwnLease, "may_give_up", lambda self, now: True),
    "another's claim does not count again": (Reconciler, "fall_back", lambda self, vni, mac: None),
    "a late heartbeat fences its own node": (OwnLease, "answered", lambda self, ahead=0: False),
    "leases are believed at once": (OwnLease, "trusted", lambda self, now: True),
    "the dead are reaped at once": (OwnLease, "may_reap", lambda self, now: True),
    "waiting claims are not placed": (Reconciler, "_place_all", lambda self, node: None),
    "nothing is kept over a broken history": (mirror, "BROKEN_HISTORY", frozenset()),
    "the dead name of a node takes its address back": (peers, "_gives_way", _gives_way_to_anybody),
    "an answer makes events of another history look old": (Mirror, "overtaken", _overtaken),
    "who is dead is vouched for": (neighbours, "vouched_for", lambda row: True),
    "a vanished port stays": (Ports, "on_gone", lambda self, port: None),
}


class Found(NamedTuple):
    """What seeds made of a defect: how many of them ran, how many noticed, and the processor's seconds for all."""

    runs: int
    noticed: int
    seconds: float

    @property
    def price(self) -> float:
        """Seconds of processor until it is found once; infinity: not found."""
        return self.seconds / self.noticed if self.noticed else float("inf")


@contextlib.contextmanager
def put_in(name: str) -> Iterator[None]:
    """The defect is there as long as the block lasts."""
    with mock.patch.object(*DEFECTS[name]):
        yield


def measure(name: str, seeds: int) -> Found:
    """Let the first seeds run over a defect."""
    began = time.process_time()
    with put_in(name):
        noticed = sum(bool(run(seed).wrong) for seed in range(seeds))
    return Found(seeds, noticed, time.process_time() - began)
