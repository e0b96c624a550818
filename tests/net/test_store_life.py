"""The store stops, dies and comes back empty, while frames between known MACs flow at 200 a second: none is lost."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.net.containers import ask, attach, full_mesh, rows
from tests.net.pair import Pair, claimed, joined_pair, reaches
from tests.net.wire import DEADLINE
from vxswitch.lab import LossMeter, StoreServer, SwitchProcess, until

EVERY = 0.005  # seconds: 200 frames a second each way
MEANWHILE = 100  # frames each way, at least, while the store is away
RETURN = 20.0  # seconds for tables to be whole again


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with joined_pair() as made:
        yield made


def table(switch: SwitchProcess) -> dict[str, tuple[Any, ...]]:
    """What the rows say, without age and rev."""
    return {
        mac: (row["hop"], row["vtep"], row["node"], row["port"], row["source"])
        for mac, row in rows(switch, "red").items()
    }


def seen_from_outside(switch: SwitchProcess) -> dict[str, Any]:
    """Who has which MAC, said alike by every node."""
    return {mac: (row["vtep"], row["node"]) for mac, row in rows(switch, "red").items()}


def state(switch: SwitchProcess) -> str:
    return str(ask(switch, "status")["store"]["state"])


def stopped_in_order(store: StoreServer, gone: Callable[[], None]) -> None:
    store.stop()
    gone()
    store.start()


def killed(store: StoreServer, gone: Callable[[], None]) -> None:
    store.kill()
    gone()
    store.start()


def killed_and_back_empty(store: StoreServer, gone: Callable[[], None]) -> None:
    store.kill()
    gone()
    shutil.rmtree(store.directory / "appendonlydir")
    store.start()


def hung(store: StoreServer, gone: Callable[[], None]) -> None:
    store.pause()
    gone()
    store.resume()


@pytest.mark.parametrize("accident", [stopped_in_order, killed, killed_and_back_empty, hung])
def test_known_macs_lose_nothing_whatever_the_store_does(
    pair: Pair, accident: Callable[[StoreServer, Callable[[], None]], None]
) -> None:
    before = [table(switch) for switch in pair.switches]

    def noticed() -> None:
        until(lambda: all(state(s) in ("down", "degraded") for s in pair.switches), DEADLINE, "both to notice")
        for _ in range(MEANWHILE):
            there.next_reply(DEADLINE)
            back.next_reply(DEADLINE)
        assert [table(switch) for switch in pair.switches] == before
        assert full_mesh(pair.switches, "red")  # nobody was suspended

    with (
        LossMeter(pair.one.namespace, pair.two.ip, EVERY) as there,
        LossMeter(pair.two.namespace, pair.one.ip, EVERY) as back,
    ):
        there.first_reply(DEADLINE)
        back.first_reply(DEADLINE)
        accident(pair.store, noticed)
        until(lambda: all(state(s) == "up" for s in pair.switches), RETURN, "both to be connected again")
        macs = {pair.one.mac, pair.two.mac}
        until(lambda: all(claimed(s) >= macs for s in pair.switches), RETURN, "all claims to be confirmed again")
    for meter in (there, back):
        assert meter.result.sent > MEANWHILE
        assert (meter.result.lost, meter.result.duplicates) == (0, 0), meter.result.longest_gap()
    assert [table(switch) for switch in pair.switches] == before
    one, two = (seen_from_outside(switch) for switch in pair.switches)
    assert one == two


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
