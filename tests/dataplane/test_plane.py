"""The data plane as the switch uses it: two of them on real sockets, with a loop that is forty lines of select."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.dataplane.frames import ARP, BROADCAST, IP4, ethernet, mac, plain, super_frame, tcp, udp
from tests.dataplane.wires import plain as plain_socket
from tests.kernel.namespaces import Namespace, until
from vxswitch.counters import Drop
from vxswitch.dataplane.plane import Plane
from vxswitch.dataplane.sockets import UnderlayOptions
from vxswitch.fdb import Fdb, LocalPort, Table
from vxswitch.model import PortSpec, Vtep

pytestmark = pytest.mark.root

VNI = 7


class Loop:
    """What the loop is for a Plane: readers, and callbacks that are due."""

    def __init__(self) -> None:
        self.readers: dict[int, Callable[[], None]] = {}
        self.soon: list[Callable[[], None]] = []
        self.later: list[tuple[float, Callable[[], None]]] = []

    def turn(self) -> int:
        """Call what is due and what is readable; how many calls that were."""
        due, self.soon = self.soon, []
        for callback in due:
            callback()
        poller = select.poll()
        for fd in self.readers:
            poller.register(fd, select.POLLIN)
        ready = poller.poll(0)
        for fd, _ in ready:
            if fd in self.readers:
                self.readers[fd]()
        return len(ready) + len(due)


class Node:
    """A Plane with one network; its TAPs are packet socket pairs, whose other ends are the containers."""

    def __init__(self, loop: Loop, inside: Namespace, address: str, **options: Any) -> None:
        self.inside = inside
        self.fdb = Fdb()
        self.table: Table = self.fdb.add(Table("n", VNI, mtu=1450, learning="flood", antispoof="off"))
        self.now = 100.0
        self.gone: list[LocalPort] = []
        self.bugs: list[Exception] = []
        self.containers: list[socket.socket] = []
        self.plane = Plane(
            self.fdb,
            UnderlayOptions(send_sockets=4, **options),
            clock=lambda: self.now,
            call_soon=lambda callback: loop.soon.append(callback),
            call_later=lambda delay, callback: loop.later.append((delay, callback)),
            add_reader=lambda fd, callback: loop.readers.update({fd: callback}),
            remove_reader=lambda fd: loop.readers.pop(fd, None),
            on_port_gone=self.gone.append,
            on_bug=self.bugs.append,
        )
        self.table.stats = self.plane.stats
        inside.call(lambda: self.plane.set_vteps([Vtep(address)]))

    def attach(self, n: int, **more: Any) -> tuple[LocalPort, socket.socket]:
        """A port with MAC ``n``, and the container behind it."""
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        settings: dict[str, Any] = {"antispoof": False, "max_macs": 64, "bum_pps": 10**6, "bum_burst": 10**6} | more
        port = self.plane.add_port(PortSpec(f"p{n}", VNI, mac(n), **settings), near.detach())
        self.table.install(mac(n), port, "learned", self.now, given=True)
        self.containers.append(far)
        return port, far

    def knows(self, other: Node) -> None:
        (vtep,) = other.plane.underlay.receivers
        peer = self.fdb.peer(vtep, "other")
        self.table.set_peers([peer], 0, {vtep.address: peer})

    def check_law(self) -> None:
        self.plane.poll(self.now)
        offered, delivered = self.plane.frames()
        drops = self.plane.drops()
        stats = self.plane.stats
        came = offered + stats.copies + stats.originated
        assert came == delivered + stats.held + stats.absorbed + sum(drops.values()), drops
        assert self.bugs == []

    def close(self) -> None:
        self.plane.close()
        for container in self.containers:
            container.close()


@pytest.fixture
def nodes(namespace: Callable[[], Namespace]) -> Iterator[tuple[Loop, Node, Node]]:
    """Two nodes that know each other, on one loopback and one loop."""
    one, loop = namespace(), Loop()
    a, b = Node(loop, one, "127.0.0.1"), Node(loop, one, "127.0.0.2")
    a.knows(b)
    b.knows(a)
    yield loop, a, b
    for node in (a, b):
        node.check_law()
        node.close()
    assert loop.readers == {}, "a reader was left behind"


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def receive(loop: Loop, container: socket.socket, count: int) -> list[bytes]:
    got: list[bytes] = []

    def enough() -> bool:
        loop.turn()
        while True:
            try:
                got.append(container.recv(70000))
            except BlockingIOError:
                return len(got) >= count

    until(enough, f"{count} frames")
    return got


def test_frames_cross_and_are_counted_once(nodes: tuple[Loop, Node, Node]) -> None:
    loop, a, b = nodes
    (pa, ca), (pb, cb) = a.attach(1), b.attach(2)
    ask = plain(ethernet(BROADCAST, mac(1), ARP, bytes(46)))
    ca.send(ask)
    assert receive(loop, cb, 1) == [ask]
    answer = plain(ethernet(mac(1), mac(2), ARP, bytes(46)))
    cb.send(answer)
    assert receive(loop, ca, 1) == [answer]
    assert a.table.rows[mac(2)].source == "learned"
    bulk = super_frame(
        ethernet(mac(2), mac(1), IP4, tcp("10.0.0.1", "10.0.0.2", 1, 2, bytes(20_000))), "10.0.0.1", "10.0.0.2", 1000
    )
    ca.send(bulk)
    until(lambda: loop.turn() == 0 and pb.tx_frames == 21, "20 segments")
    assert (pa.rx_frames, pa.tx_frames, pb.rx_frames) == (21, 1, 1)
    assert a.plane.frames() == (22, 22) and b.plane.frames() == (22, 22)


def test_what_the_switch_itself_says_is_counted_as_its_own(nodes: tuple[Loop, Node, Node]) -> None:
    loop, a, _ = nodes
    port, container = a.attach(1)
    said = ethernet(BROADCAST, mac(9), ARP, bytes(46))
    a.plane.say(port, said)
    assert receive(loop, container, 1) == [plain(said)]
    assert (a.plane.stats.originated, port.tx_frames, port.tx_bytes) == (1, 1, len(said))
    a.plane.remove_port(port)
    a.plane.say(port, said)
    assert a.plane.stats.originated == 1


def test_a_port_that_goes_leaves_its_counts_and_none_of_its_rows(nodes: tuple[Loop, Node, Node]) -> None:
    loop, a, _ = nodes
    port, container = a.attach(1)
    _, neighbour = a.attach(3)
    for _ in range(3):
        container.send(plain(b"runt"))
    neighbour.send(plain(ethernet(mac(1), mac(3), ARP, bytes(46))))
    until(lambda: loop.turn() >= 0 and port.counts.total() == 3 and port.tx_frames == 1, "three runts and a frame")
    assert container.recv(100) == plain(ethernet(mac(1), mac(3), ARP, bytes(46)))
    assert a.plane.offloads(port)["tso4"] is False
    a.plane.remove_port(port)
    a.plane.remove_port(port)
    assert a.plane.drops()["runt_frame"] == 3 and a.plane.frames() == (4, 1)
    assert set(a.table.rows) == {mac(3)} and port not in a.table.ports and set(a.plane.ports) == {"p3"}
    assert a.plane.offloads(port) == dict.fromkeys(a.plane.offloads(port), False)
    container.settimeout(5)
    assert container.recv(10) == b"", "its descriptor is closed"


@pytest.mark.parametrize("found_by", ["read", "write"])
def test_a_vanished_device_is_told_once_and_all_else_goes_on(
    nodes: tuple[Loop, Node, Node], monkeypatch: pytest.MonkeyPatch, found_by: str
) -> None:
    loop, a, b = nodes
    (dying, there), (_, cb) = a.attach(1), b.attach(2)
    fd = a.plane.ports[dying.id].fd
    real = os.write

    def vanished(number: int | memoryview, *rest: Any) -> Any:
        if number == fd or found_by == "read":
            raise OSError(77, "File descriptor in bad state")  # EBADFD, drivers/net/tun.c
        return real(number, *rest)

    if found_by == "read":
        a.plane.ports[dying.id].read_into = vanished
    else:
        monkeypatch.setattr(os, "write", vanished)
    (there if found_by == "read" else cb).send(
        plain(ethernet(mac(1), mac(2), IP4, udp("10.0.0.2", "10.0.0.1", 1, 2, b"")))
    )
    until(lambda: loop.turn() >= 0 and dying.state == "gone", "its end")
    for _ in range(3):
        a.plane.poll(a.now)
        loop.turn()
    assert a.gone == [dying] and fd not in loop.readers
    assert a.plane.drops()["port_gone"] == (found_by == "write")
    monkeypatch.undo()
    a.plane.remove_port(dying)
    _, third = a.attach(3)
    frame = plain(ethernet(BROADCAST, mac(2), ARP, b""))
    cb.send(frame)
    assert receive(loop, third, 1) == [frame]


def test_a_bug_in_a_callback_is_told_and_does_not_come_out(nodes: tuple[Loop, Node, Node]) -> None:
    """The loop would only log it; uvloop would go on calling."""
    loop, a, _ = nodes
    port, container = a.attach(1)
    burst = a.plane.encap.burst
    a.plane.encap.burst = None  # type: ignore[assignment, method-assign]
    container.send(plain(b"x" * 60))
    until(lambda: loop.turn() > 0 and a.bugs, "the bug")
    a.plane.encap.burst = burst  # type: ignore[method-assign]
    until(lambda: loop.turn() >= 0 and port.rx_frames == 1, "the frame, when the bug is gone")
    a.bugs.clear()


def test_other_vteps_take_over_without_a_stale_path(nodes: tuple[Loop, Node, Node]) -> None:
    """Cached decisions hold sockets; after a change of VTEPs they are made anew, and no count is lost."""
    loop, a, b = nodes
    (_, ca), (_, cb) = a.attach(1), b.attach(2)
    frame = plain(ethernet(mac(2), mac(1), IP4, udp("10.0.0.1", "10.0.0.2", 1, 2, b"data")))
    a.table.install(mac(2), a.fdb.peer(Vtep("127.0.0.2")), "static", a.now)
    cb.send(plain(ethernet(mac(1), mac(2), ARP, b"")))
    receive(loop, ca, 1)
    ca.send(frame)
    assert receive(loop, cb, 1) == [frame]
    (receiver,) = a.plane.underlay.receivers.values()
    receiver.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sender = b.plane.underlay.path(b.fdb.peer(Vtep("127.0.0.1")), 0)
    assert sender is not None
    for _ in range(100):
        sender.sock.sendto(bytes(1000), ("127.0.0.1", 4789))
    while loop.turn():
        pass
    before = a.plane.frames()
    a.inside.call(lambda: a.plane.set_vteps([Vtep("127.0.0.3")]))
    offered, delivered = a.plane.frames()
    overflow = a.plane.drops()["underlay_overflow"]
    assert (offered - overflow, delivered) == before and overflow > 0
    other = b.fdb.peer(Vtep("127.0.0.3"))
    b.table.set_peers([other], 0, {"127.0.0.3": other})
    ca.send(frame)
    assert receive(loop, cb, 1) == [frame]
    assert a.plane.trace(VNI, mac(1), mac(2), frame[10:], a.plane.ports["p1"])[-1]["detail"].startswith(
        "from 127.0.0.3"
    )
    assert b.plane.trace(VNI, mac(9), mac(2), ethernet(mac(2), mac(9), ARP), None)[-1]["stage"] == "deliver"


def test_what_only_the_kernel_saw_is_offered_and_dropped_too(nodes: tuple[Loop, Node, Node]) -> None:
    """Strays and overflow: the law, which is checked at the end, holds with them."""
    loop, a, _ = nodes
    source = a.plane.underlay.path(a.fdb.peer(Vtep("127.0.0.2")), 0)
    assert source is not None
    source.sock.sendto(b"to ourselves", source.sock.getsockname())
    until(lambda: loop.turn() >= 0 and a.plane.drops()["stray_datagram"] == 1, "the stray datagram")
    (receiver,) = a.plane.underlay.receivers.values()
    receiver.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    for _ in range(100):
        source.sock.sendto(bytes(1000), ("127.0.0.1", 4789))
    while loop.turn():
        pass
    a.plane.poll(a.now)
    assert a.plane.drops()["underlay_overflow"] + receiver.frames == 100
    assert a.plane.drops()["underlay_overflow"] > 0


@pytest.mark.parametrize("busy_poll", [0.0, 0.5])
def test_after_traffic_the_loop_is_kept_awake_for_as_long_as_asked(
    namespace: Callable[[], Namespace], busy_poll: float
) -> None:
    one, loop = namespace(), Loop()
    node = Node(loop, one, "127.0.0.1", busy_poll=busy_poll)
    _, container = node.attach(1)
    container.send(plain(b"x" * 60))
    until(lambda: loop.turn() > 0, "the frame")
    for _ in range(3):
        loop.turn()
    assert len(loop.soon) == (busy_poll > 0), "one callback, however often it is asked for"
    node.now += 1.0
    loop.turn()
    assert loop.soon == []
    node.close()


def test_everything_is_closed_with_the_plane(namespace: Callable[[], Namespace]) -> None:
    one, loop = namespace(), Loop()
    before = open_files()
    node = Node(loop, one, "127.0.0.1")
    node.attach(1)
    node.attach(2)
    with plain_socket(one, "127.0.0.5", 4789), pytest.raises(OSError):
        one.call(lambda: node.plane.set_vteps([Vtep("127.0.0.5")]))
    assert [r.vtep.address for r in node.plane.underlay.receivers.values()] == ["127.0.0.1"]
    assert node.plane.drops() == {drop.label: 0 for drop in Drop}
    node.close()
    assert loop.readers == {} and open_files() == before
