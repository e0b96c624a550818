"""Frames of one inner flow keep their order, whatever is joined, cut or flooded on the way, and take one path (R16).

The underlay of these tests keeps the order of datagrams with one source port, and mixes all else: as ECMP may.
"""

from __future__ import annotations

import struct
from collections import defaultdict

import pytest

from tests.dataplane.fabric import Fabric, Host
from tests.dataplane.frames import IP4, TCP, UDP, cut, ethernet, mac, plain, super_frame, tcp, udp

FOUR = ("10.0.0.1", "10.0.0.2")
FLOWS = 12


def shuffle(host: Host) -> None:
    """Mix what waits at a host's receiver, but for the order within one outer flow."""
    for receiver in host.underlay.receivers.values():
        queue = host.fabric.wires[receiver.vtep.sockaddr].queue
        lanes = defaultdict(list)
        for datagram in queue:
            lanes[datagram.source].append(datagram)
        queue.clear()
        while lanes:
            source = host.fabric.random.choice(list(lanes))
            take = host.fabric.random.randint(1, 20)
            queue.extend(lanes[source][:take])
            lanes[source] = lanes[source][take:]
            if not lanes[source]:
                del lanes[source]


def key(frame: bytes) -> tuple[int, int]:
    """Protocol and source port of an IPv4 frame."""
    return frame[14 + 9], struct.unpack_from("!H", frame, 34)[0]


def number(frame: bytes) -> int:
    """Its place in its flow: the sequence number of TCP, the first payload bytes of UDP."""
    return int(struct.unpack_from("!I", frame, 38 if frame[23] == TCP else 42)[0])


@pytest.mark.parametrize("seed", range(12))
def test_r16_order_within_a_flow_is_kept(seed: int) -> None:
    with Fabric(seed) as fabric:
        hosts = [fabric.host() for _ in range(3)]
        for host in hosts:
            host.network(7)
        fabric.mesh(7, *hosts)
        sender, receiver = hosts[0].port(7, mac(1)), hosts[1].port(7, mac(2))
        other = hosts[2].port(7)
        counters: dict[tuple[int, int], int] = defaultdict(int)
        for step in range(60):
            for _ in range(fabric.random.choice((1, 10, 100))):
                sender.inbox.append(_next(fabric, counters))
            hosts[0].work()
            if step in (20, 40):  # known from here on; and flooded again from there on
                table = hosts[0].fdb.tables[7]
                table.install(mac(2), hosts[0].peer(hosts[1]), "static", 0.0) if step == 20 else table.withdraw(mac(2))
            shuffle(hosts[1])
            fabric.run()
        for port in (receiver, other):
            places: dict[tuple[int, int], list[int]] = defaultdict(list)
            for data in port.outbox:
                for frame in cut(data):
                    places[key(frame)].append(number(frame))
            assert len(places) == 2 * FLOWS or port is other
            assert all(numbers == sorted(numbers) for numbers in places.values())
        assert sum(map(len, map(cut, receiver.outbox))) == sender.rx_frames
        assert _ports_per_flow(fabric) == {1}


def _next(fabric: Fabric, counters: dict[tuple[int, int], int]) -> bytes:
    """The next frame of a random flow: TCP by 1 to 8 segments, UDP with its number in the payload."""
    port = fabric.random.randint(1, FLOWS)
    protocol = fabric.random.choice((TCP, UDP))
    at = counters[protocol, port]
    if protocol == UDP:
        counters[protocol, port] += 1
        data = struct.pack("!I", at) + bytes(fabric.random.choice((20, 20, 20, 600)))
        return plain(ethernet(mac(2), mac(1), IP4, udp(*FOUR, port, 9, data)))
    size = fabric.random.choice((1, 100, 1000, 1000, 5000, 8000))
    counters[protocol, port] += size
    frame = ethernet(mac(2), mac(1), IP4, tcp(*FOUR, port, 9, fabric.random.randbytes(size), seq=at))
    return super_frame(frame, *FOUR, 1000) if size > 1000 else plain(frame)


def _ports_per_flow(fabric: Fabric) -> set[int]:
    ports: dict[tuple[int, int], set[int]] = defaultdict(set)
    for datagram in fabric.sent:
        ports[key(datagram.payload[8:])].add(datagram.source[1])
    return {len(used) for used in ports.values()}
