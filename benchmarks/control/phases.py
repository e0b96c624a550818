"""The phases of a run: grow the cluster step by step, start one more node, let one burst, lose all data.

Between the steps nothing changes: what the server then executes is heartbeats and waiting readers, and has to be in
proportion to the nodes. All times in seconds, memory in bytes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

from benchmarks.control import member
from benchmarks.control.crew import Crew
from benchmarks.control.server import Reading, Server
from benchmarks.control.shape import CLUSTER, Shape
from vxswitch.lab import until
from vxswitch.store.redis_scripts import Keys
from vxswitch.store.rules import FIRST_VNI, Rules

STEPS = (0.25, 0.5, 1.0)  # of the nodes
NETWORKS = (1, 10, 32, 100)  # networks of a node, for what a network costs
FEW = 40  # nodes for that
BURST = 10_000  # MACs
ANSWER = 30.0  # seconds for a call of a simulated node
BACK = 300.0  # seconds for all tables to be whole after a loss

Say = Callable[[str], None]


def cluster(shape: Shape, rules: Rules, processes: int, steady: float, say: Say, burst: int = BURST) -> dict[str, Any]:
    """Everything about one large cluster; ``steady``: seconds to look at each step, ``burst``: MACs."""
    with Server() as server, _crews(processes, shape, server, rules) as crews:
        steps = [_step(server, crews, shape, rules, round(shape.nodes * part), steady, say) for part in STEPS]
        say(f"one more node, in all {shape.networks} networks")
        vnis = list(range(FIRST_VNI, FIRST_VNI + shape.networks))
        start = member.started(server.endpoint, rules, vnis, shape.rows)
        say(f"a burst of {burst} MACs in one network")
        before = server.read(time.monotonic())
        drained = member.burst(server.endpoint, rules, FIRST_VNI, burst)
        after = server.read(time.monotonic())
        say("FLUSHALL")
        return {
            "server": server.version(),
            "shape": asdict(shape),
            "beat": rules.beat,
            "steps": steps,
            "start": asdict(start),
            "burst": asdict(drained) | {"commands": (after - before).commands},
            "flush": _flush(server, crews, shape),
        }


def networks(macs: int, rules: Rules, steady: float, say: Say) -> list[dict[str, Any]]:
    """What a node costs the server by the number of its networks."""
    found = []
    for each in NETWORKS:
        shape = Shape(FEW, each * 4, each, macs)
        with Server() as server, _crews(1, shape, server, rules) as crews:
            found.append(_step(server, crews, shape, rules, FEW, steady, say) | {"each": each})
    return found


@contextmanager
def _crews(processes: int, shape: Shape, server: Server, rules: Rules) -> Iterator[list[Crew]]:
    crews = [Crew(shape, server.endpoint, rules) for _ in range(processes)]
    try:
        yield crews
    finally:
        for crew in crews:
            crew.end()


def _step(
    server: Server, crews: list[Crew], shape: Shape, rules: Rules, nodes: int, steady: float, say: Say
) -> dict[str, Any]:
    """Grow to so many nodes, wait until all know everything, then look at the server for a while."""
    there = sum(crew.nodes for crew in crews)
    began, before = time.monotonic(), server.read(time.monotonic())
    for at, crew in enumerate(crews):
        crew.start(range(there + at, nodes, len(crews)))
    for crew in crews:
        crew.answer()
    _all(crews, "whole", nodes)
    grown = time.monotonic() - began
    growing = server.read(time.monotonic()) - before
    time.sleep(rules.lease)
    told = _told(crews)
    before = server.read(time.monotonic())
    time.sleep(steady)
    idle = server.read(time.monotonic()) - before
    result = _per_node(idle, _told(crews), told, nodes) | {
        "nodes": nodes,
        "grown": grown,
        "growing_commands": growing.commands,
        "memory": server.memory(),
        "keys": server.admin.dbsize(),
    }
    say(
        f"{nodes} nodes, {shape.each} networks each: whole after {grown:.1f} s; a node and beat cost the server "
        f"{result['server_us']:.0f} us and {result['commands']:.1f} commands, "
        f"the node {result['node_us']:.0f} us; {idle.commands / idle.time:,.0f} commands/s, "
        f"{100 * idle.cpu / idle.time:.1f} % of a processor"
    )
    return result


def _per_node(idle: Reading, now: dict[str, float], then: dict[str, float], nodes: int) -> dict[str, float]:
    """The steady state, by node and beat."""
    beats = max(1.0, now["beats"] - then["beats"])
    return {
        "beats": beats / idle.time,
        "commands_per_s": idle.commands / idle.time,
        "scripts_per_s": idle.scripts / idle.time,
        "server_cpu": idle.cpu / idle.time,
        "commands": idle.commands / beats,
        "server_us": 1e6 * idle.cpu / beats,
        "node_us": 1e6 * (now["cpu"] - then["cpu"]) / beats,
        "bytes_to_node": idle.sent / beats,
        "bytes_from_node": idle.received / beats,
        "rtt_p50": now["rtt_p50"],
        "rtt_max": now["rtt_max"],
        "resyncs": now["resyncs"] - then["resyncs"],
        "errors": now["errors"] - then["errors"],
    }


def _flush(server: Server, crews: list[Crew], shape: Shape) -> dict[str, Any]:
    """All data are lost: until every row is in the store again, and until every node has read that."""
    keys = Keys(CLUSTER)
    tables = [keys.parts(FIRST_VNI + at, "fdb")[0] for at in range(shape.networks)]

    def claimed() -> bool:
        pipe = server.admin.pipeline(transaction=False)
        for table in tables:
            pipe.hlen(table)
        return int(sum(pipe.execute())) >= shape.rows

    until(lambda: not sum(_all(crews, "behind", _digests(server, shape))), BACK, "all read", interval=0.25)
    told = _told(crews)
    before, began = server.read(time.monotonic()), time.monotonic()
    server.admin.flushall()
    until(claimed, BACK, "all rows in the store again", interval=0.1)
    seconds = time.monotonic() - began
    until(lambda: not sum(_all(crews, "behind", _digests(server, shape))), BACK, "all read again", interval=0.25)
    whole, work = time.monotonic() - began, server.read(time.monotonic()) - before
    now = _told(crews)
    return {
        "seconds": seconds,
        "whole": whole,
        "commands_per_mac": work.commands / shape.rows,
        "server_cpu": work.cpu,
        "node_cpu": (now["cpu"] - told["cpu"]) / shape.nodes,
        "resyncs": now["resyncs"] - told["resyncs"],
        "errors": now["errors"] - told["errors"],
    }


def _digests(server: Server, shape: Shape) -> dict[int, tuple[int, str]]:
    """Rev and digest of every network, as the store has them."""
    keys, pipe = Keys(CLUSTER), server.admin.pipeline(transaction=False)
    vnis = range(FIRST_VNI, FIRST_VNI + shape.networks)
    for vni in vnis:
        pipe.hmget(keys.parts(vni, "meta")[0], "rev", "digest")
    return {vni: (int(rev or 0), digest or "") for vni, (rev, digest) in zip(vnis, pipe.execute(), strict=True)}


def _all(crews: list[Crew], *words: Any) -> list[Any]:
    """Tell all, then wait for all."""
    for crew in crews:
        crew.tell(*words)
    return [crew.answer() for crew in crews]


def _told(crews: list[Crew]) -> dict[str, float]:
    """The crews' words, summed up; of round trips the worst."""
    told = _all(crews, "told")
    return {key: (max if key.startswith("rtt") else sum)(one[key] for one in told) for key in told[0]}


def rules(beat: float) -> Rules:
    """Timers for a run: the lease is three beats, as by default.

    Hundreds of simulated nodes share a processor: they are given more time for an answer than a node of its own has.
    """
    return replace(Rules(), beat=beat, lease=3 * beat, connect_timeout=ANSWER, command_timeout=ANSWER)
