"""What can go wrong with a node: the third one, while the stream flows between the two others."""

from __future__ import annotations

import os
import signal

from benchmarks.faults.fault import Fault
from benchmarks.faults.store import store_is
from benchmarks.faults.world import World, ask


def _kill(world: World) -> None:
    world.switches[2].kill()


def _start(world: World) -> None:
    world.switches[2].start()


def _stop(world: World) -> None:
    os.kill(world.switches[2].pid, signal.SIGSTOP)


def _go_on(world: World) -> None:
    os.kill(world.switches[2].pid, signal.SIGCONT)


def _restart_without_store(world: World) -> None:
    world.store.kill()
    world.switches[2].kill()
    world.switches[2].start()


def _start_store(world: World) -> None:
    world.store.start()


def suspended(world: World) -> str | None:
    """The two others do not flood to the third node any more."""
    states = {peer["state"] for switch in world.switches[:2] for peer in ask(switch, "peers") if peer["node"] == THIRD}
    return f"`peers`: {states.pop()}" if states and "live" not in states and len(states) == 1 else None


THIRD = "h3"  # as a lab names it

FAULTS = (
    Fault("node_killed", "another node: SIGKILL, then started", _kill, _start, suspended),
    Fault("node_stopped", "another node: SIGSTOP past its lease, then SIGCONT", _stop, _go_on, suspended),
    Fault(
        "node_restarted",
        "another node restarted while the store is down",
        _restart_without_store,
        _start_store,
        store_is("down"),
    ),
)
