"""Probes at the door of the data plane: who is answered, how much, how often, and that they are no frames."""

from __future__ import annotations

from typing import Any

import pytest

from tests.dataplane.conftest import VNI, Duo
from tests.dataplane.fabric import FIRST_PORT, Fabric, Host
from tests.dataplane.frames import ethernet, mac, vxlan
from vxswitch.counters import Drop
from vxswitch.dataplane.probing import ANSWERS, Probes
from vxswitch.wire import probe
from vxswitch.wire.probe import LEN, Identity, Probe

A, B = "192.0.2.1", "192.0.2.2"
IDENTITY = Identity(3, 4)


class Heard:
    """Host A answers probes; what host B hears."""

    def __init__(self, duo: Duo) -> None:
        self.duo = duo
        self.answers: list[tuple[str, Probe, float]] = []
        self.probes = self.give(duo.a)
        self.give(duo.b).on_answer = lambda *told: self.answers.append(told)

    @staticmethod
    def give(host: Host) -> Probes:
        host.decap.probes = Probes(host.fdb, host.underlay, host.stats, IDENTITY)
        return host.decap.probes

    def ask(self, size: int = LEN, nonce: int = 1, sequence: int = 0, source: str = B) -> None:
        self.duo.fabric.inject(self.duo.a, probe.request(size, nonce, sequence), source)

    def stats(self) -> dict[str, int]:
        stats = self.duo.a.stats.as_dict()
        return {name: n for name, n in stats.items() if name.startswith("probes_") and n}


@pytest.fixture
def heard(duo: Duo) -> Heard:
    return Heard(duo)


@pytest.mark.parametrize("size", [LEN, LEN + 1, 1472, 8972])
def test_a_vtep_of_ours_is_answered_at_once_with_no_more_than_it_sent(heard: Heard, size: int) -> None:
    heard.ask(size, nonce=77, sequence=9)
    heard.duo.fabric.run()
    assert heard.answers == [(A, Probe(probe.ANSWER, size, 77, 9, IDENTITY), heard.duo.fabric.now)]
    (answer,) = heard.duo.fabric.sent
    assert len(answer.payload) == LEN and answer.target == (B, 4789)
    assert heard.stats() == {"probes_answered": 1}


def test_probes_are_no_frames(heard: Heard) -> None:
    heard.ask()
    heard.duo.fabric.run()
    for host in (heard.duo.a, heard.duo.b):
        assert (host.offered(), host.delivered(), host.drops()) == (0, 0, {})


def test_answers_leave_by_the_source_port_that_the_sequence_says(heard: Heard) -> None:
    for sequence in range(16):
        heard.ask(sequence=sequence)
    heard.duo.fabric.run()
    assert [datagram.source[1] for datagram in heard.duo.fabric.sent] == [FIRST_PORT + n % 8 for n in range(16)]


def test_a_stranger_is_not_answered(heard: Heard) -> None:
    heard.ask(source="192.0.2.99")
    heard.duo.fabric.run()
    assert heard.duo.fabric.sent == [] and heard.stats() == {"probes_refused": 1}


def test_a_vtep_of_any_network_is_known_until_it_leaves_the_last(heard: Heard) -> None:
    duo = heard.duo
    duo.a.network(8)
    peer = duo.a.peer(duo.b)
    duo.a.fdb.tables[8].set_peers([], 1, {B: peer})  # suspended: it may ask all the same
    heard.ask()
    duo.ta.set_peers([], 0, {})
    heard.ask()
    duo.fabric.run()
    duo.a.fdb.remove(8)
    heard.ask()
    duo.fabric.run()
    assert heard.stats() == {"probes_answered": 2, "probes_refused": 1}


def test_who_asks_too_often_spends_only_his_own_answers(fabric: Fabric, duo: Duo) -> None:
    heard = Heard(duo)
    c = fabric.host()
    duo.join(c, 3)
    fabric.mesh(VNI, duo.a, duo.b, c)
    for _ in range(int(ANSWERS) + 50):
        heard.ask()
    heard.ask(source="192.0.2.3")
    fabric.run()
    assert heard.stats() == {"probes_answered": int(ANSWERS) + 1, "probes_refused": 50}
    fabric.now += 0.5
    for _ in range(int(ANSWERS)):
        heard.ask()
    fabric.run()
    assert heard.stats() == {"probes_answered": int(ANSWERS * 1.5) + 1, "probes_refused": 50 + int(ANSWERS / 2)}


def test_an_answer_that_cannot_be_sent_costs_nothing_else(heard: Heard) -> None:
    for sock in heard.duo.a.underlay._pools[heard.duo.a.vteps[0].family].socks:
        sock.errors.append(11)  # EAGAIN
    heard.ask()
    heard.duo.fabric.run()
    assert heard.stats() == {} and heard.duo.a.drops() == {}


@pytest.mark.parametrize("strict", [False, True])
def test_what_is_no_whole_probe_is_a_frame_without_the_i_flag(heard: Heard, strict: bool) -> None:
    heard.duo.a.decap.strict = strict
    whole = probe.request(100, 1, 1)
    for payload in (whole[:-1], whole + b"\0", whole.replace(b"vxpr", b"vxpq"), vxlan(VNI, bytes(100), flags=0)):
        heard.duo.fabric.inject(heard.duo.a, payload, B)
    heard.duo.fabric.run()
    assert heard.duo.a.drops() == {"no_i_flag": 4} and heard.stats() == {}


def test_with_the_i_flag_it_is_a_frame(heard: Heard) -> None:
    heard.duo.fabric.inject(heard.duo.a, b"\x08" + probe.request(100, 1, 1)[1:], B)
    heard.duo.fabric.run()
    assert heard.duo.a.drops() == {Drop.UNKNOWN_VNI.label: 1} and heard.stats() == {}


def test_probes_among_frames_of_one_run_disturb_none(heard: Heard) -> None:
    """UDP_GRO joins whatever has the same size."""
    duo = heard.duo
    frames = [ethernet(mac(1), mac(2), 0x1234, n.to_bytes(2, "big") * 43) for n in range(6)]
    for n, frame in enumerate(frames):
        duo.fabric.inject(duo.a, vxlan(VNI, frame), B)
        heard.ask(len(frame) + 8, nonce=n)
    duo.fabric.joined = True
    duo.fabric.run()
    assert duo.pa.got() == frames
    assert [answer.nonce for _, answer, _ in heard.answers] == list(range(6))
    assert duo.a.offered() == 6


def test_errors_of_the_underlay_name_whom_they_are_about(duo: Duo, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    duo.a.underlay.on_unreachable = told.append
    sock = duo.a.underlay._pools[duo.a.vteps[0].family].socks[3]
    entries: list[Any] = [(b"", [], 0, (B, 4789)), (b"", [], 0, None)]

    def recvmsg(*_: Any) -> Any:
        if not entries:
            raise BlockingIOError
        return entries.pop(0)

    monkeypatch.setattr(sock, "recvmsg", recvmsg)
    duo.a.underlay._drain(sock)
    assert told == [B]
