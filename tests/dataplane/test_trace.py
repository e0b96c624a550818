"""``trace`` tells what the pipeline then does with the same frame, and changes nothing."""

from __future__ import annotations

import pytest

from tests.dataplane import groups
from tests.dataplane.conftest import VNI, Duo
from tests.dataplane.fabric import CablePort, Fabric
from tests.dataplane.frames import ARP, BROADCAST, IP4, ethernet, mac, udp, vxlan
from tests.dataplane.world import World
from vxswitch.dataplane.trace import Stage, trace, trace_in
from vxswitch.fdb import Peer, Table
from vxswitch.groups import Members


def verdict(told: list[Stage]) -> str:
    """The first that is not ok."""
    return next((stage["verdict"] for stage in told if stage["verdict"] != "ok"), "ok")


def state(table: Table) -> object:
    return {m: (r.hop, r.source, r.seen) for m, r in table.rows.items()}, table.generation, table.stats.as_dict()


@pytest.mark.parametrize("seed", range(15))
def test_a_frame_from_a_port_fares_as_told(seed: int) -> None:
    """But for what the frame itself would teach: its source (frames to oneself), and whom that would displace."""
    with Fabric(seed) as fabric:
        world = World(fabric)
        tried = 0
        for _ in range(300):
            world.change()
            ports = [p for h in fabric.hosts for p in h.ports if p in p.table.ports and not p.limited]
            data = world.frame()
            if not ports or data[0] or data[1] or data[10:16] == data[16:22]:
                continue
            for host in fabric.hosts:
                for table in host.fdb.tables.values():
                    table.unknown = "drop" if table.unknown == "drop" else "flood"  # what waits fares as told, later
                for port in host.ports:
                    port.refuse, port.table.max_macs = 0, 1000
            tried += 1
            _compare(fabric, fabric.random.choice(ports), data)
        assert tried > 50 or not any(h.ports for h in fabric.hosts)


def _compare(fabric: Fabric, port: CablePort, data: bytes) -> None:
    host = next(h for h in fabric.hosts if port in h.ports)
    port.bum.tokens = port.bum.burst
    before = state(port.table)
    told = trace(host.underlay, port.table, port, data[10:])
    assert state(port.table) == before, "trace is dry"
    drops, sent, wrote = dict(host.drops()), host.underlay.sent, sum(len(p.outbox) for p in host.ports)
    port.inbox.append(data)
    host.encap.burst(port, fabric.now)
    lost = {reason: n - drops.get(reason, 0) for reason, n in host.drops().items() if n > drops.get(reason, 0)}
    assert set(lost) == {stage["verdict"] for stage in told} - {"ok"}
    by_stage = [stage["stage"] for stage in told if stage["verdict"] == "ok"]
    assert host.underlay.sent - sent == by_stage.count("encap")
    assert sum(len(p.outbox) for p in host.ports) - wrote == by_stage.count("deliver")


def test_a_frame_from_a_vtep_fares_as_told() -> None:
    with Fabric(3) as fabric:
        duo = Duo(fabric)
        far = duo.a.peer(fabric.host(), "elsewhere")
        duo.ta.learn(mac(5), duo.a.peer(duo.b), fabric.now)
        duo.ta.install(mac(6), far, "claimed", fabric.now, node="elsewhere")
        frames = [
            ethernet(dst, src, kind, bytes(size))
            for dst in (mac(1), mac(6), mac(77), BROADCAST, bytes.fromhex("0180c2000001"))
            for src in (mac(1), mac(5), bytes(6), BROADCAST)
            for kind, size in ((0x1234, 40), (ARP, 1451), (0x8100, 1))
        ]
        fates = set()
        for frame in frames:
            before = state(duo.ta)
            told = verdict(trace_in(duo.ta, frame[6:12], frame[:6], frame))
            assert state(duo.ta) == before, "trace is dry"
            drops = dict(duo.a.drops())
            fabric.inject(duo.a, vxlan(VNI, frame), "192.0.2.2")
            fabric.run()
            lost = [reason for reason, n in duo.a.drops().items() if n > drops.get(reason, 0)]
            assert lost == ([] if told == "ok" else [told])
            fates.add(told)
        assert len(fates) == 7


def test_stages_name_hops_and_ports_for_a_human(duo: Duo) -> None:
    duo.ta.install(mac(2), duo.a.peer(duo.b), "static", 0.0)
    told = trace(duo.a.underlay, duo.ta, duo.pa, ethernet(mac(2), mac(1), IP4, udp("10.0.0.1", "10.0.0.2", 1, 2, b"")))
    assert [stage["stage"] for stage in told] == ["runt", "vlan", "size", "source", "group", "lookup", "encap"]
    assert "VTEP 192.0.2.2:4789 of node node1" in told[-2]["detail"]
    port = int(told[-1]["detail"].split("port ")[1].split()[0])
    duo.pa.send(ethernet(mac(2), mac(1), IP4, udp("10.0.0.1", "10.0.0.2", 1, 2, b"")))
    duo.fabric.run()
    assert duo.fabric.sent[-1].source == ("192.0.2.1", port), "the source port that is told is the one that is used"


def test_the_way_to_listeners_and_whether_it_is_kept_are_told(duo: Duo) -> None:
    known = groups.snooped(duo.ta)
    known.put(groups.G4, Members(frozenset({duo.pa}), frozenset({"node1"})))

    def told(frame: bytes) -> tuple[str, str, str]:
        stages = trace(duo.a.underlay, duo.ta, duo.pa, frame)
        return next((s["stage"], s["verdict"], s["detail"]) for s in stages if s["stage"] in ("listeners", "flood"))

    def detail(vteps: int, kept: str, budget: str) -> str:
        return f"group address: 0 ports, {vteps} VTEPs, decided {kept}, budget for {budget}"

    once, each = "once for the flow", "for each frame"
    data = groups.data(groups.G4, 1)
    assert told(data) == ("listeners", "ok", detail(1, once, "copies"))
    assert told(data[:20] + b"\x20" + data[21:]) == ("listeners", "ok", detail(1, each, "copies")), "a fragment"
    assert told(groups.data(groups.H4, 1)) == ("listeners", "ok", detail(1, once, "floods")), "nobody has told"
    known.set_tellers(frozenset({"node1"}))
    assert told(groups.data(groups.H4, 1)) == ("listeners", "no_listeners", detail(0, once, "floods"))
    assert told(groups.igmp(1, 0x11, bytes(4)))[:2] == ("flood", "ok")
    (stage,) = [s for s in trace_in(duo.ta, mac(2), data[:6], data) if s["stage"] == "listeners"]
    assert stage == {"stage": "listeners", "verdict": "ok", "detail": "1 local ports, decided once for the flow"}


def test_a_network_without_vteps_has_no_sender(duo: Duo) -> None:
    duo.ta.set_peers([], 0, {})
    told = trace_in(duo.ta, mac(2), mac(1), ethernet(mac(1), mac(2), ARP, b""))
    assert verdict(told) == "unknown_vtep"
    duo.ta.install(mac(2), Peer(duo.b.vteps[0]), "static", 0.0)
    assert verdict(trace_in(duo.ta, mac(2), mac(1), ethernet(mac(1), mac(2), ARP, b""))) == "ok"
