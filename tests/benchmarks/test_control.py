"""What the measurement of a cluster stands on: its shape, and a run on a cluster small enough for tests."""

from __future__ import annotations

from collections import Counter

from benchmarks.control import phases, table
from benchmarks.control.shape import Shape
from benchmarks.facts import facts


def test_every_network_has_as_many_members_and_rows_as_the_next() -> None:
    shape = Shape(nodes=40, networks=20, each=5, macs=2000)
    members = Counter(vni for node in range(shape.nodes) for vni in shape.vnis(node))
    assert set(members.values()) == {10}
    macs = {mac.mac for node in range(shape.nodes) for vni in shape.vnis(node) for mac in shape.local_macs(node, vni)}
    assert len(macs) == shape.rows == 2000
    assert shape.expected(3, shape.nodes) == 5 * 10 * shape.macs_there
    assert shape.expected(0, 1) == 5 * shape.macs_there


def test_a_small_cluster_is_measured_and_told() -> None:
    said: list[str] = []
    rules = phases.rules(0.15)
    shape = Shape(nodes=4, networks=4, each=2, macs=80)
    found = phases.cluster(shape, rules, 1, 0.3, said.append, burst=200)
    report = {"facts": facts(), "cluster": found, "networks": [found["steps"][-1] | {"each": 2}]}
    assert found["start"]["rows"] == 80
    assert found["burst"]["rows"] == 200
    assert [step["nodes"] for step in found["steps"]] == [1, 2, 4]
    assert all(step["errors"] == 0 and step["commands"] > 0 for step in found["steps"])
    assert any("10,000 nodes" in line for line in table.lines(report))
    assert len(said) == 6
