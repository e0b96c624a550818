"""R14: nothing crosses from one network into another, though MACs, IPs and ports are the same in all of them."""

from __future__ import annotations

import pytest

from tests.dataplane.fabric import CablePort, Fabric
from tests.dataplane.frames import ARP, BROADCAST, IP4, cut, ethernet, mac, super_frame, tcp, udp

VNIS = (1, 7, 8, 0x100007, 0xFFFFFF)
FOUR = ("10.0.0.1", "10.0.0.2")
STATIONS = 3


@pytest.mark.parametrize("learning", ["flood", "control"])
@pytest.mark.parametrize("seed", range(6))
def test_r14_same_macs_and_ips_in_several_networks_never_meet(seed: int, learning: str) -> None:
    """Every frame carries the number of its network; every port looks at what it gets."""
    with Fabric(seed) as fabric:
        ports: dict[tuple[int, int], CablePort] = {}
        hosts = [fabric.host() for _ in range(STATIONS)]
        for vni in VNIS:
            for n, host in enumerate(hosts):
                host.network(vni, learning=learning)
                ports[vni, n] = host.port(vni, mac(n))
            fabric.mesh(vni, *hosts)
        sent: dict[tuple[int, int], int] = dict.fromkeys(ports, 0)
        for _ in range(400):
            vni, n = fabric.random.choice(list(ports))
            other = fabric.random.randrange(STATIONS)
            mark = vni.to_bytes(4, "big")
            ports[vni, n].inbox.append(_frame(fabric, n, other, mark))
            sent[vni, n] += 1
            if fabric.random.random() < 0.2:
                fabric.run()
        fabric.run()
        for (vni, _), port in ports.items():
            frames = [frame for data in port.outbox for frame in cut(data)]
            assert frames, "a network in which nothing arrives proves nothing"
            assert all(frame.endswith(vni.to_bytes(4, "big") * 4) for frame in frames)
        for host in hosts:
            assert {vni: set(table.rows) for vni, table in host.fdb.tables.items()} == {
                vni: {mac(n) for n in range(STATIONS)} if learning == "flood" else {mac(hosts.index(host))}
                for vni in VNIS
            }
        fabric.check_law()


def _frame(fabric: Fabric, n: int, other: int, mark: bytes) -> bytes:
    """From station ``n`` to ``other``, or to all; its payload, and that of each of its segments, ends in the mark."""
    kind = fabric.random.randrange(4)
    dst = mac(other) if kind and other != n else BROADCAST
    if kind == 1:
        data = tcp(*FOUR, 1, 2, mark * 1000)
        return super_frame(ethernet(dst, mac(n), IP4, data), *FOUR, 400)
    if kind == 2:
        return bytes(10) + ethernet(dst, mac(n), IP4, udp(*FOUR, 1, 2, mark * 4))
    return bytes(10) + ethernet(dst, mac(n), ARP, mark * 8)


def test_r14_a_decision_of_one_network_is_none_in_another() -> None:
    """The same inner flow in two networks, one of them without the destination."""
    with Fabric(joined=True) as fabric:
        a, b = fabric.host(), fabric.host()
        for vni in (7, 8):
            for host in (a, b):
                host.network(vni, unknown="drop")
            fabric.mesh(vni, a, b)
        seven, eight = a.port(7, mac(1)), a.port(8, mac(1))
        there = b.port(7, mac(2))
        a.fdb.tables[7].install(mac(2), a.peer(b), "static", 0.0)
        a.fdb.tables[8].install(mac(2), a.peer(b), "static", 0.0)
        frame = ethernet(mac(2), mac(1), IP4, udp(*FOUR, 1, 2, b"data"))
        for _ in range(3):
            seven.send(frame)
            eight.send(frame)
            fabric.run()
        assert there.got() == [frame] * 3
        assert b.drops() == {"unknown_unicast": 3}
