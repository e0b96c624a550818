"""Frames to a MAC that nobody is known to have wait while it is asked for; none is lost by it, or turned round."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.dataplane.conftest import VNI, Duo
from tests.dataplane.fabric import CablePort, Fabric, Host
from tests.dataplane.frames import IP4, IP6, ethernet, mac, super_frame, tcp, udp
from vxswitch.dataplane.asking import HOLD, MAX_BYTES, MAX_DESTINATIONS, MAX_FRAMES
from vxswitch.wire.neighbour import ASK, listen

FAR = mac(7)


class Asks(Duo):
    """``Duo`` where A asks; MAC 7 is nowhere yet. ``woken``: how often A wanted to be called back."""

    def __init__(self, fabric: Fabric) -> None:
        super().__init__(fabric)
        self.woken = 0
        self.a.encap.asking.wake = self.wake

    def wake(self) -> None:
        self.woken += 1

    def join(self, host: Host, n: int, **policy: object) -> CablePort:
        return super().join(host, n, learning="control", unknown="ask")

    def send(self, *frames: bytes) -> None:
        for frame in frames:
            self.pa.send(frame)
        self.fabric.run()

    def pass_by(self, seconds: float) -> None:
        self.fabric.now += seconds
        self.a.encap.asking.tick(self.fabric.now)
        self.fabric.run()

    def found(self) -> None:
        """The row comes."""
        self.ta.install(FAR, self.a.peer(self.b), "claimed", 0.0)
        self.tb.install(FAR, self.pb, "learned", 0.0)


@pytest.fixture
def asks(fabric: Fabric) -> Asks:
    return Asks(fabric)


def packet(n: int, dst: bytes = FAR) -> bytes:
    return ethernet(dst, mac(1), IP4, udp("10.0.0.1", "10.0.0.7", 1, 2, b"%04d" % n))


def test_only_the_question_is_flooded_and_the_row_brings_the_frames_in_their_order(asks: Asks) -> None:
    asks.send(*map(packet, range(3)))
    (question,) = asks.pb.got()
    said = listen(question, 0, len(question))
    assert said is not None and (said.kind, said.mac, said.target) == (ASK, mac(1), b"\x0a\0\0\x07")
    assert (asks.a.stats.held, asks.a.stats.asked, asks.woken) == (3, 1, 1)
    asks.found()
    asks.send(packet(3), packet(4))
    assert asks.pb.got() == [packet(n) for n in range(5)] and asks.a.stats.held == 0


def test_a_row_that_comes_while_nothing_is_sent_is_found_by_looking(asks: Asks) -> None:
    asks.send(packet(1))
    asks.pb.got()
    asks.pass_by(HOLD / 10)
    assert asks.pb.got() == []
    asks.found()
    asks.pass_by(HOLD / 10)
    assert asks.pb.got() == [packet(1)]


def test_without_an_answer_it_floods_in_the_end(asks: Asks) -> None:
    asks.send(packet(1), packet(2))
    asks.pb.got()
    asks.pass_by(HOLD)
    assert asks.pb.got() == [packet(1), packet(2)] and asks.a.drops() == {}
    assert (asks.a.stats.held, asks.a.encap.asking.waiting) == (0, {})


def test_what_is_not_ip_waits_without_a_question(asks: Asks) -> None:
    asks.send(ethernet(FAR, mac(1), 0x88B5, b"x"))
    assert asks.pb.got() == [] and (asks.a.stats.asked, asks.a.stats.held) == (0, 1)
    asks.pass_by(HOLD)
    assert len(asks.pb.got()) == 1


def test_ipv6_asks_by_neighbour_discovery(asks: Asks) -> None:
    asks.send(ethernet(FAR, mac(1), IP6, udp("fd00::1", "fd00::7", 1, 2, b"")))
    (question,) = asks.pb.got()
    said = listen(question, 0, len(question))
    assert said is not None and said.kind == ASK and said.target[-1] == 7
    asks.pass_by(HOLD)


def test_a_super_frame_waits_as_it_was_read(asks: Asks) -> None:
    ends = ("10.0.0.1", "10.0.0.7")
    frame = ethernet(FAR, mac(1), IP4, tcp(*ends, 1, 2, bytes(4000)))
    asks.pa.inbox.append(super_frame(frame, *ends, 1000))
    asks.fabric.run()
    asks.pb.got()
    assert asks.a.stats.held == 4
    asks.found()
    asks.pass_by(0.0)
    assert asks.pb.tx_frames == 1 + 4


@pytest.mark.parametrize(
    ("frames", "kept"),
    [
        (lambda n: packet(n), MAX_FRAMES),
        (lambda n: packet(n, mac(100 + n)), MAX_DESTINATIONS),
        (lambda n: ethernet(mac(100 + n % 31), mac(1), 0x88B5, bytes(9000)), MAX_BYTES // (9000 + 14 + 10)),
    ],
    ids=["frames", "destinations", "bytes"],
)
def test_there_is_room_for_so_much_and_the_rest_has_a_name(
    asks: Asks, frames: Callable[[int], bytes], kept: int
) -> None:
    asks.ta.resize(9000)
    more = kept + 20
    asks.send(*map(frames, range(more)))
    assert asks.a.stats.held == kept and asks.a.drops() == {"unknown_unicast": 20}
    asks.pass_by(HOLD)
    assert asks.a.stats.held == 0


def test_each_port_has_its_own_room(asks: Asks) -> None:
    asks.send(*map(packet, range(MAX_FRAMES + 1)))
    other = asks.a.port(VNI, mac(8))
    other.send(ethernet(FAR, mac(8), IP4, udp("10.0.0.8", "10.0.0.7", 1, 2, b"")))
    asks.fabric.run()
    assert asks.a.stats.held == MAX_FRAMES + 1
    asks.pass_by(HOLD)


def test_what_a_port_that_goes_has_sent_goes_with_it(asks: Asks) -> None:
    asks.send(packet(1))
    asks.pa.counts.by_reason[34] += asks.a.encap.asking.forget(asks.pa)
    assert asks.a.stats.held == 0 and asks.a.drops() == {"port_gone": 1}


def test_the_budget_for_floods_holds(asks: Asks) -> None:
    asks.pa.bum.rate, asks.pa.bum.tokens = 0.0, 2.0  # one frame, one question
    asks.send(packet(1), packet(2))
    assert asks.a.stats.held == 1 and asks.a.drops() == {"storm": 1}
    asks.pass_by(HOLD)
    assert len(asks.pb.got()) == 2  # the question, and the frame whose budget was taken before
