"""Allocation budgets: what is handled leaves nothing behind, and a super-frame costs a constant number of objects."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable

import pytest

from tests.dataplane.conftest import VNI, Duo
from tests.dataplane.fabric import CablePort, Fabric
from tests.dataplane.frames import IP4, cut, ethernet, mac, super_frame, tcp, udp, vxlan
from tests.dataplane.groups import G4, data, snooped
from vxswitch.counters import ALIVE
from vxswitch.dataplane.encap import BURST_FRAMES
from vxswitch.groups import Members

FOUR = ("10.0.0.1", "10.0.0.2")
SLACK = 64  # blocks: caches of the interpreter itself


class Source:
    """What a port reads: the same frame, as often as asked."""

    def __init__(self, port: CablePort, data: bytes) -> None:
        self.data, self.left = data, 0
        port.read = self.read  # type: ignore[method-assign]

    def read(self, slot: memoryview) -> int:
        if not self.left:
            return 0
        self.left -= 1
        slot[: len(self.data)] = self.data
        return len(self.data)


class Sink:
    """A send socket that takes everything; counts the datagrams."""

    def __init__(self) -> None:
        self.sends = 0

    def sendmsg(self, views: object, ancillary: object, flags: int, target: object) -> int:
        self.sends += 1
        return 0


def bursts_out(duo: Duo, data: bytes, frames: int, share: int = BURST_FRAMES) -> Callable[[], None]:
    """Frames from A's port to a sink in place of the underlay."""
    duo.ta.install(mac(2), duo.a.peer(duo.b), "static", 0.0)
    for pool in duo.a.underlay._pools.values():
        pool.socks[:] = [Sink()] * len(pool.socks)  # type: ignore[list-item]
    source = Source(duo.pa, data)

    def run() -> None:
        for _ in range(frames // share):
            source.left = share
            while source.left:
                duo.a.encap.burst(duo.pa, 1.0)

    return run


def bursts_in(duo: Duo, rows: list[bytes], frames: int) -> Callable[[], None]:
    """The same run of datagrams again and again, from B's address to A's port, which takes everything."""
    (receiver,) = duo.a.underlay.receivers.values()
    whole = b"".join(rows)
    ancillary = [(17, 104, len(rows[0]).to_bytes(4, sys.byteorder))] if len(rows) > 1 else []
    told = (len(whole), ancillary, 0, ("192.0.2.2", 50000))
    left = [0]

    class Datagrams:
        def recvmsg_into(self, room: list[memoryview], size: int) -> object:
            if not left[0]:
                raise BlockingIOError
            left[0] -= 1
            room[0][: len(whole)] = whole
            return told

        def close(self) -> None:
            """Nothing stays open."""

    receiver.sock = Datagrams()  # type: ignore[assignment]
    duo.pa.write = lambda view: ALIVE  # type: ignore[method-assign]

    def run() -> None:
        for _ in range(frames // len(rows) // 8):
            left[0] = 8
            duo.a.decap.burst(receiver, 1.0)

    return run


def listened(duo: Duo) -> Duo:
    """Group frames from A go to a neighbouring port and to B."""
    port = duo.a.port(VNI, mac(3))
    port.write = lambda view: ALIVE  # type: ignore[method-assign]
    snooped(duo.ta).put(G4, Members(frozenset({port}), frozenset({"node1"})))
    return duo


def small() -> bytes:
    return ethernet(mac(2), mac(1), IP4, udp(*FOUR, 1, 2, bytes(22)))


def bulk() -> bytes:
    return super_frame(ethernet(mac(2), mac(1), IP4, tcp(*FOUR, 1, 2, bytes(60_000))), *FOUR, 1398)


def bulk_rows() -> list[bytes]:
    frames = cut(super_frame(ethernet(mac(1), mac(2), IP4, tcp(*FOUR[::-1], 1, 2, bytes(60_000))), *FOUR[::-1], 1398))
    return [vxlan(VNI, frame) for frame in frames]


CASES: dict[str, Callable[[Duo], Callable[[], None]]] = {
    "small frames out": lambda duo: bursts_out(duo, bytes(10) + small(), 100_000),
    "small frames in": lambda duo: bursts_in(duo, [vxlan(VNI, mac(1) + mac(2) + small()[12:])] * 64, 100_000),
    "group frames out": lambda duo: bursts_out(listened(duo), bytes(10) + data(G4, 1), 20_000),
    "super-frames out": lambda duo: bursts_out(duo, bulk(), 1_000),
    "super-frames in": lambda duo: bursts_in(duo, bulk_rows(), 43_000),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_handled_leaves_nothing_behind(case: str) -> None:
    with Fabric() as fabric:
        run = CASES[case](Duo(fabric))
        run()
        for _ in range(3):  # what earlier tests left may take several turns: finalizers free what they held
            gc.collect()
        before = sys.getallocatedblocks()
        run()
        gc.collect()
        assert abs(sys.getallocatedblocks() - before) < SLACK


@pytest.mark.parametrize("way", ["out", "in"])
def test_a_super_frame_costs_calls_by_the_frame_and_not_by_the_segment(way: str) -> None:
    """As many calls, of Python and of C, for eight segments as for forty-two."""
    counts = []
    for segments in (8, 42):
        with Fabric() as fabric:
            duo = Duo(fabric)
            if way == "out":
                frame = ethernet(mac(2), mac(1), IP4, tcp(*FOUR, 1, 2, bytes(segments * 1398)))
                run = bursts_out(duo, super_frame(frame, *FOUR, 1398), 2, 2)
            else:
                run = bursts_in(duo, bulk_rows()[:segments], 8 * segments)
            run()
            calls = [0]

            def count(frame: object, event: str, argument: object, calls: list[int] = calls) -> None:
                calls[0] += event in ("call", "c_call")

            gc.disable()  # a collection calls back whoever watches it
            sys.setprofile(count)
            run()
            sys.setprofile(None)
            gc.enable()
            counts.append(calls[0])
    assert counts[0] == counts[1] > 0
