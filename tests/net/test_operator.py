"""What an operator asks at night, of real switches: verify, fdb --why, monitor, network wait, convergence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from tests.net.containers import ask, attach, rows
from tests.net.pair import Pair, joined_pair
from tests.net.wire import DEADLINE
from vxswitch.client import Client
from vxswitch.lab import SwitchProcess, until


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with joined_pair() as made:
        yield made


@pytest.fixture(autouse=True)
def store_is_up(pair: Pair) -> None:
    until(lambda: all(ask(s, "status")["store"]["state"] == "up" for s in pair.switches), DEADLINE, "the store")


def verify(switch: SwitchProcess, *args: str) -> tuple[int, dict[str, Any]]:
    done = switch.cli("verify", "red", *args, "--json", check=False)
    return done.returncode, json.loads(done.stdout)[0]


def test_every_node_says_that_all_is_the_same(pair: Pair) -> None:
    answers = []
    for switch, other in zip(pair.switches, ("h2", "h1"), strict=True):
        code, found = verify(switch)
        assert (code, found["same"], found["reasons"]) == (0, True, [])
        assert found["peers"][other]["same"]
        answers.append((found["rev"], found["digest"], found["store_digest"]))
    assert answers[0] == answers[1]
    assert "1 of 1" in pair.switches[0].vx("verify")


def test_rows_changed_behind_everybodys_back_are_found_and_repaired(pair: Pair) -> None:
    """A row is taken out of the store by hand: digests tell, and the owner puts it back when told to repair."""
    first, second = pair.switches
    with redis.Redis(unix_socket_path=str(pair.store.unix_socket)) as server:
        (key,) = server.keys("*:100:fdb")
        assert server.hdel(key, pair.one.mac) == 1
    code, found = verify(first)
    assert (code, found["same"]) == (1, False), found
    code, found = verify(first, "--repair")
    assert found["claimed_again"] >= 1
    until(lambda: verify(first)[0] == 0 and verify(second)[0] == 0, DEADLINE, "all to be the same again")
    assert rows(second, "red")[pair.one.mac]["node"] == "h1"


def test_why_names_owner_history_and_the_way(pair: Pair) -> None:
    first, second = pair.switches
    (told,) = second.vx("fdb", "--why", pair.one.mac, "red", "--json")
    assert (told["claim"]["node"], told["owner"]["state"], told["row"]["hop"]) == ("h1", "live", "remote")
    assert told["history"] and told["history"][-1]["node"] == "h1" and told["history"][-1]["time"] > 1e9
    assert told["trace"][-1]["stage"] == "encap" and told["trace"][-1]["verdict"] == "ok"
    assert pair.lab.hosts[0].ip4 in told["trace"][-1]["detail"]
    (told,) = first.vx("fdb", "--why", pair.one.mac, "--json")
    assert told["port"]["id"] == pair.one.port and told["owner"]["state"] == "self"
    assert "this node" in first.vx("fdb", "--why", pair.one.mac)


def test_wait_returns_when_the_others_have_it(pair: Pair) -> None:
    first, second = pair.switches
    late = attach(pair.lab, first, "red", "late", "10.9.0.9")
    answer = first.vx("network", "wait", "red", "--timeout", "10", "--json")
    assert answer["rev"] > 0 and late.mac in rows(second, "red")


def test_monitor_tells_what_happens(pair: Pair) -> None:
    first, second = pair.switches
    env = {**os.environ, "VXSWITCH_SOCKET": str(second.socket)}
    argv = [sys.executable, "-m", "vxswitch", "monitor", "--json"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=env) as listening:
        assert listening.stdout is not None
        until(lambda: ask(second, "stats")["monitors"] == 1, DEADLINE, "the monitor to listen")
        seen = attach(pair.lab, first, "red", "seen", "10.9.0.10")
        event = next(e for e in map(json.loads, listening.stdout) if e.get("mac") == seen.mac)
        assert (event["event"], event["network"], event["node"]) == ("row.claimed", "red", "h1")
        seen_here = attach(pair.lab, second, "red", "seen2", "10.9.0.12")
        ours = (e["event"] for e in map(json.loads, listening.stdout) if e.get("port") == seen_here.port)
        assert [next(ours), next(ours)] == ["port.added", "port.up"]
        seen_here.namespace.ip("link set eth0 down")
        assert next(ours) == "port.down"
        pair.store.kill()
        event = next(e for e in map(json.loads, listening.stdout) if e["event"].startswith("store."))
        assert event["event"] in ("store.down", "store.degraded") and event["reason"]
        pair.store.start()
        listening.kill()


def test_convergence_is_measured_by_the_stores_clock(pair: Pair) -> None:
    first, second = pair.switches
    before = ask(second, "stats")["convergence"]["rows"]
    attach(pair.lab, first, "red", "timed", "10.9.0.11")
    until(lambda: ask(second, "stats")["convergence"]["rows"] > before, DEADLINE, "the row to be measured")
    text = Client(str(second.socket)).text("/metrics")
    assert 'vxswitch_convergence_seconds_bucket{le="+Inf"}' in text
    assert ask(second, "stats")["convergence"]["p50"] is not None
