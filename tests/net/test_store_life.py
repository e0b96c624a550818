"""What a node does while the store is away: it starts, attaches and makes networks, and the rest follows.

What the store's accidents do to frames between known MACs: test_store_faults.py.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.net.containers import ask, attach, rows
from tests.net.pair import Pair, joined_pair, reaches
from tests.net.wire import DEADLINE
from vxswitch.lab import SwitchProcess, until

RETURN = 20.0  # seconds for tables to be whole again


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with joined_pair() as made:
        yield made


def state(switch: SwitchProcess) -> str:
    return str(ask(switch, "status")["store"]["state"])


def test_a_restart_while_the_store_is_away_forwards_what_is_local(pair: Pair) -> None:
    """`ready` waits for no store; ports are re-attached, and what needs the store follows when it is back."""
    first = pair.switches[0]
    near = attach(pair.lab, first, "red", "near", "10.9.0.11")
    pair.store.kill()
    first.restart()
    assert state(first) != "up"
    assert reaches(pair.one, near)
    pair.store.start()
    until(lambda: all(state(s) == "up" for s in pair.switches), RETURN, "both to be connected again")
    until(lambda: reaches(pair.two, near) and reaches(pair.two, pair.one), RETURN, "the other host to reach both")


def test_an_attach_while_the_store_is_away_works_locally_and_follows(pair: Pair, away: None) -> None:
    first, second = pair.switches
    late = attach(pair.lab, first, "red", "late", "10.9.0.12")
    assert reaches(pair.one, late)
    automatic = first.cli(
        *("attach", "red", "--netns", late.namespace.name, "--ifname", "eth1", "--ip", "auto"), check=False
    )
    assert automatic.returncode in (1, 2) and len(automatic.stderr.splitlines()) == 1  # only the store could give one
    pair.store.start()
    until(lambda: late.mac in rows(second, "red"), RETURN, "the late claim to follow")
    until(lambda: reaches(pair.two, late), RETURN, "the other host to reach it")


def test_a_network_created_while_the_store_is_away_is_pending_and_follows(pair: Pair, away: None) -> None:
    """With a VNI it forwards at once and its record follows; without one only the store can tell it."""
    first, second = pair.switches
    first.vx("network", "create", "green", "--vni", "300", "--json")
    first.vx("network", "create", "grey", "--json")
    assert states(first) == {"red": "up", "green": "up", "grey": "pending"}
    assert second.cli("network", "wait", "green", "--timeout", "0.1", check=False).returncode == 1
    pair.store.start()
    first.vx("network", "wait", "grey")
    assert states(first) == {"red": "up", "green": "up", "grey": "up"}
    until(lambda: {"green", "grey"} <= {n["name"] for n in ask(second, "networks")}, RETURN, "both to be recorded")


@pytest.fixture
def away(pair: Pair) -> Iterator[None]:
    """The store is dead; a test that does not bring it back leaves that to us."""
    until(lambda: all(state(s) == "up" for s in pair.switches), RETURN, "both to be connected")
    pair.store.kill()
    until(lambda: all(state(s) in ("down", "degraded") for s in pair.switches), DEADLINE, "both to notice")
    yield
    until(lambda: all(state(s) == "up" for s in pair.switches), RETURN, "both to be connected again")


def states(switch: SwitchProcess) -> dict[str, str]:
    return {network["name"]: network["state"] for network in ask(switch, "status")["networks"]}
