"""Restarts and crashes of a node: its TAPs and MACs stay, its peers suspend it and take it back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
import redis

from tests.net.containers import Container, ask, flood_list, full_mesh, rows
from tests.net.pair import Pair, joined_pair, link, port, reaches
from tests.net.wire import DEADLINE
from vxswitch.lab import SwitchProcess, tcp_transfer, until


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with joined_pair() as made:
        yield made


@pytest.mark.parametrize("end", ["SIGTERM", "SIGKILL"])
def test_a_restart_keeps_taps_macs_and_addresses(pair: Pair, end: str) -> None:
    first, second = pair.switches
    described = until(lambda: is_up(first, pair.one), DEADLINE, "a port that is up")
    before, epoch = link(pair.one.namespace), ask(first, "status")["epoch"]
    assert before is not None
    if end == "SIGTERM":
        assert first.stop() == 0
    else:
        first.kill()
    meanwhile = link(pair.one.namespace)
    assert meanwhile is not None and meanwhile["ifindex"] == before["ifindex"]
    assert pair.one.mac in rows(second, "red")  # suspended, but claimed
    first.start()
    assert port(first, pair.one) is not None  # re-attached before `ready`
    again = until(lambda: is_up(first, pair.one), DEADLINE, "a port that is up again")
    after = link(pair.one.namespace)
    assert after is not None
    for key in ("ifindex", "address", "mtu"):
        assert after[key] == before[key]
    for key in ("id", "network", "vni", "netns", "ifname", "mac", "ips", "mtu", "state", "offloads"):
        assert again[key] == described[key]
    assert ask(first, "status")["epoch"] > epoch
    until(lambda: reaches(pair.one, pair.two) and reaches(pair.two, pair.one), DEADLINE, "both ways again")
    row = rows(second, "red")[pair.one.mac]
    assert (row["hop"], row["source"], row["node"]) == ("remote", "claimed", "h1")


def is_up(switch: SwitchProcess, container: Container) -> dict[str, Any] | None:
    """The container's port once its carrier is up: the kernel tells of that in its own time, after the TAP is there."""
    found = port(switch, container)
    return found if found is not None and found["state"] == "up" else None


def test_a_tcp_connection_outlives_the_switch_under_it(pair: Pair) -> None:
    """One end's switch is stopped, the other's killed: the TAPs keep their queues, the rest is TCP's to send again."""
    with ThreadPoolExecutor(1) as pool:
        moved = pool.submit(tcp_transfer, pair.one.namespace, pair.two.namespace, pair.two.ip, 300_000_000)
        for switch, container, end in zip(pair.switches, (pair.one, pair.two), ("stop", "kill"), strict=True):
            enough = counted(switch, container) + 10_000_000
            until(partial(has_moved, switch, container, enough), DEADLINE, "traffic")
            getattr(switch, end)()
            assert not moved.done()
            switch.start()
        assert moved.result(60.0).intact


def has_moved(switch: SwitchProcess, container: Container, amount: int) -> bool:
    return counted(switch, container) >= amount


def counted(switch: SwitchProcess, container: Container) -> int:
    """Bytes that a port has moved, both ways."""
    found = port(switch, container)
    return int(found["rx_bytes"]) + int(found["tx_bytes"]) if found is not None else 0


def test_the_hosts_own_tap_survives_a_restart_too(pair: Pair) -> None:
    host, switch = pair.lab.hosts[0], pair.switches[0]
    before = link(host, "vx-red")
    assert before is not None and "UP" in before["flags"]
    switch.restart()
    after = link(host, "vx-red")
    assert after is not None
    assert [after[key] for key in ("ifindex", "address", "mtu")] == [
        before[key] for key in ("ifindex", "address", "mtu")
    ]


def test_a_killed_node_leaves_the_flood_lists_and_comes_back(pair: Pair) -> None:
    first, second = pair.switches
    until(lambda: full_mesh(pair.switches, "red"), DEADLINE, "both to be live")
    first.kill()
    until(lambda: flood_list(second, "red") == [], DEADLINE, "the dead node out of the flood list")
    (peer,) = ask(second, "peers")
    assert (peer["node"], peer["state"]) == ("h1", "suspended")
    assert rows(second, "red")[pair.one.mac]["hop"] == "remote"  # its rows stay
    first.start()
    until(lambda: full_mesh(pair.switches, "red"), DEADLINE, "it to be back")
    assert reaches(pair.two, pair.one)


def test_a_start_right_after_a_life_whose_lease_ran_out_is_not_fenced(pair: Pair) -> None:
    """Each time the store gave that life a later epoch, and it was killed while its last lease was still live."""
    first = pair.switches[0]
    until(lambda: full_mesh(pair.switches, "red"), DEADLINE, "both to be live")
    store = redis.Redis(unix_socket_path=str(pair.store.unix_socket), protocol=2, decode_responses=True)
    (lease,) = store.keys("vx:*:lease")
    for _ in range(3):
        before = registered(store)
        store.zadd(lease, {"h1": int(1000 * time.time())})
        until(lambda: registered(store) > before, DEADLINE, "a later epoch")  # noqa: B023
    time.sleep(0.5)  # it is on disk soon after
    first.kill()
    first.start()
    assert "fenced" not in first.stderr_tail(100)
    assert ask(first, "status")["epoch"] == registered(store) > before
    until(lambda: full_mesh(pair.switches, "red"), DEADLINE, "both to be live")


def registered(store: Any) -> int:
    """The epoch of the first host's node, as the store has it."""
    (nodes,) = store.keys("vx:*:nodes")
    return int(store.hget(nodes, "h1").split(" ")[1])


def test_a_stopped_node_is_suspended_before_its_lease_runs_out(pair: Pair) -> None:
    first, second = pair.switches
    until(lambda: full_mesh(pair.switches, "red"), DEADLINE, "both to be live")
    assert first.stop() == 0
    until(lambda: ask(second, "peers")[0]["state"] == "suspended", 1.0, "the stopped node to be suspended")
    first.start()
    until(lambda: full_mesh(pair.switches, "red"), DEADLINE, "it to be back")


def test_purge_leaves_neither_taps_nor_rows() -> None:
    with joined_pair("--purge") as pair:
        first, second = pair.switches
        host_mac = link(pair.lab.hosts[0], "vx-red")
        assert host_mac is not None
        assert first.stop() == 0
        assert link(pair.one.namespace) is None
        assert link(pair.lab.hosts[0], "vx-red") is None
        gone = {pair.one.mac, host_mac["address"]}
        until(lambda: not gone & rows(second, "red").keys(), DEADLINE, "its rows to be released")
        assert pair.two.mac in rows(second, "red")
