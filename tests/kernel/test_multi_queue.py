"""Why one process reads a TAP: with several queues, the kernel moves a flow to another queue while it lasts.

(drivers/net/tun.c: tun_automq_select_queue picks by hash until tun_flow_update has seen a packet of the flow written
to a queue; from then on, and until TUN_FLOW_EXPIRE after the last one, that queue gets the flow's packets.)
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import ARP, Ether

from tests.kernel.namespaces import Namespace, until
from tests.kernel.tun import IFF_MULTI_QUEUE, PLAIN, Tun

OURS, THEIRS = "192.0.2.1", "192.0.2.2"
THEIR_MAC = "02:00:00:00:00:02"


def _drain(queue: Tun, port: int) -> int:
    """How many UDP packets from ``port`` the queue holds."""
    found = 0
    while True:
        try:
            frame = Ether(os.read(queue.fd, 2000))
        except BlockingIOError:
            return found
        found += UDP in frame and frame[UDP].sport == port


def _send(namespace: Namespace, port: int) -> None:
    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((OURS, port))
            sock.sendto(b"x", (THEIRS, 7))

    namespace.call(send)


def _queue_of(namespace: Namespace, queues: list[Tun], port: int) -> int:
    """Which queue gets the next packet of the flow from ``port``."""
    _send(namespace, port)
    return until(lambda: [i + 1 for i, queue in enumerate(queues) if _drain(queue, port)], "a packet")[0] - 1


def _device(namespace: Namespace, queues: int) -> list[Tun]:
    made = namespace.call(lambda: [Tun("mq0", PLAIN | IFF_MULTI_QUEUE) for _ in range(queues)])
    namespace.ip("address", "add", f"{OURS}/24", "dev", "mq0")
    namespace.ip("link", "set", "mq0", "up")
    namespace.ip("neighbour", "replace", THEIRS, "lladdr", THEIR_MAC, "dev", "mq0")
    return made


def test_a_flow_changes_its_queue_with_its_first_answer(namespace: Callable[[], Namespace]) -> None:
    inside = namespace()
    queues = _device(inside, 2)
    try:
        mac = inside.link("mq0")["address"]
        moved = 0
        for port in range(40000, 40008):
            before = _queue_of(inside, queues, port)
            assert _queue_of(inside, queues, port) == before  # the hash alone is steady
            other = 1 - before
            answer = Ether(src=THEIR_MAC, dst=mac) / IP(src=THEIRS, dst=OURS) / UDP(sport=7, dport=port) / b"y"
            os.write(queues[other].fd, bytes(answer))
            moved += _queue_of(inside, queues, port) == other
        assert moved == 8
    finally:
        for queue in queues:
            queue.close()


def test_two_descriptors_of_one_queue_may_both_write(namespace: Callable[[], Namespace]) -> None:
    """What is done instead: every process writes by a duplicate of the one descriptor, one of them reads."""
    inside = namespace()
    (queue,) = _device(inside, 1)
    copy = os.dup(queue.fd)
    try:
        question = Ether(src=THEIR_MAC, dst="ff:ff:ff:ff:ff:ff") / ARP(
            op="who-has", hwsrc=THEIR_MAC, psrc=THEIRS, pdst=OURS
        )
        for fd in (queue.fd, copy):
            os.write(fd, bytes(question))
            answer = until(lambda: _answer(queue), "an ARP answer")
            assert answer[ARP].psrc == OURS
    finally:
        os.close(copy)
        queue.close()


def _answer(queue: Tun) -> Ether | None:
    try:
        frame = Ether(os.read(queue.fd, 2000))
    except BlockingIOError:
        return None
    return frame if ARP in frame and frame[ARP].op == 2 else None
