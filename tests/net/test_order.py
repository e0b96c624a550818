"""Frames of one flow arrive in the order in which they were sent, each once, whatever is cut, joined or batched.

UDP: every datagram is stamped with its flow and number. TCP: the receiving kernel itself counts what came too early
(TCPOFOQueue in /proc/net/netstat); windows are kept small, so that no queue overflows and loss is no excuse.
"""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from benchmarks import load
from tests.net.containers import Container, attach
from tests.net.wire import DEADLINE, made_in
from vxswitch.lab import Lab, Namespace, ping

SMALL, MIXED = (16,), (16, 64, 700, 1400)  # payloads, bytes
FLOWS = 8
BYTES = 4_000_000  # of each TCP flow
WINDOW = 1 << 16

VARIANTS = {
    "default": (),
    "kernel_cut": ("--set", "underlay.kernel_cut=on"),
    "busy_poll": ("--set", "underlay.busy_poll=50"),
    "workers": ("--set", "node.workers=2"),
}


@dataclass(frozen=True, slots=True)
class Ends:
    """A container on each of two hosts."""

    one: Container
    two: Container


@pytest.fixture(scope="module", params=VARIANTS)
def ends(request: pytest.FixtureRequest) -> Iterator[Ends]:
    with Lab(hosts=2, direct=True, wire_like=True) as lab:
        first, second = lab.hosts
        common = ("--network", "red=100", *VARIANTS[request.param])
        near = first.switch(*common, "--peer", second.ip4, wait=False)
        far = second.switch(*common, "--peer", first.ip4, wait=False)
        near.wait_ready()
        far.wait_ready()
        one, two = attach(lab, near, "red", "one", "10.9.0.1"), attach(lab, far, "red", "two", "10.9.0.2")
        # both kernels know their neighbour: one that has just asked sends what waited for the answer behind the newest
        assert ping(one.namespace, two.ip).received and ping(two.namespace, one.ip).received
        yield Ends(one, two)


@pytest.mark.parametrize(("flows", "sizes"), [(1, SMALL), (64, SMALL), (64, MIXED)], ids=["one", "small", "mixed"])
def test_udp_keeps_its_order(ends: Ends, flows: int, sizes: tuple[int, ...]) -> None:
    def one_way(source: Container, destination: Container) -> load.Load:
        there = (source.namespace, destination.namespace, destination.ip)
        return load.udp(*there, sizes=sizes, pps=30_000, seconds=0.5, flows=flows)

    with ThreadPoolExecutor() as together:
        loads = list(together.map(one_way, (ends.one, ends.two), (ends.two, ends.one)))
    assert [(one.reordered, one.duplicates) for one in loads] == [(0, 0), (0, 0)]
    assert all(one.received > one.sent // 10 for one in loads), loads


def test_tcp_segments_keep_their_order_among_super_frames_and_small_ones(ends: Ends) -> None:
    source, destination = ends.one.namespace, ends.two.namespace
    before = came_too_early(destination)
    with made_in(destination, lambda: socket.create_server((ends.two.ip, 0))) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW)
        where = server.getsockname()
        senders = [threading.Thread(target=write, args=(source, where, seed)) for seed in range(FLOWS)]
        for thread in senders:
            thread.start()
        readers = [threading.Thread(target=read, args=(server.accept()[0],)) for _ in senders]
        for thread in readers:
            thread.start()
        for thread in (*senders, *readers):
            thread.join(60)
            assert not thread.is_alive()
    assert came_too_early(destination) == before


def write(source: Namespace, where: tuple[str, int], seed: int) -> None:
    """One flow: pieces of all sizes, each sent as soon as it is written."""
    chance = random.Random(seed)
    with made_in(source, lambda: socket.create_connection(where, DEADLINE)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        left = BYTES
        while left > 0:
            size = min(left, chance.choice((1, 100, 1398, 1399, 5000, 30_000, 60_000)))
            sock.sendall(bytes(size))
            left -= size


def read(sock: socket.socket) -> None:
    """Read to the end."""
    with sock:
        sock.settimeout(DEADLINE)
        while sock.recv(1 << 16):
            pass


def came_too_early(where: Namespace) -> int:
    """Segments that were queued because an earlier one was missing."""
    lines = [text for text in where.run(["cat", "/proc/net/netstat"]).stdout.splitlines() if text.startswith("TcpExt:")]
    names, values = (text.split()[1:] for text in lines)
    return int(dict(zip(names, values, strict=True))["TCPOFOQueue"])
