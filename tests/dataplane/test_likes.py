"""Frames like those before them are not looked at again: they must fare exactly as if they were."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.dataplane.conftest import VNI, Duo
from tests.dataplane.fabric import CablePort
from tests.dataplane.frames import IP4, IP6, ethernet, finish, ip4, mac, partial, plain, tcp, udp
from vxswitch.dataplane.bucket import Bucket
from vxswitch.dataplane.flow import MAX_FLOWS

FOUR, SIX = ("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")


@pytest.fixture
def known(duo: Duo) -> Duo:
    """Both ends know both MACs; ``a`` is in the middle of a stream."""
    duo.ta.install(mac(2), duo.a.peer(duo.b), "static", 0.0)
    duo.tb.install(mac(1), duo.b.peer(duo.a), "static", 0.0)
    duo.pa.alone = False
    return duo


def frame(n: int, size: int = 30, *, port: int = 1, ends: tuple[str, str] = FOUR, make: Any = udp) -> bytes:
    """``[vnet][frame]`` number ``n`` of a flow to MAC 2, its checksum to be finished."""
    payload = n.to_bytes(2, "big") * (size // 2) + bytes(size % 2)
    packet = make(*ends, port, 9, payload)
    return partial(ethernet(mac(2), mac(1), IP6 if ":" in ends[0] else IP4, packet), *ends)


def send(duo: Duo, frames: list[bytes], port: CablePort | None = None) -> list[bytes]:
    """What of these leaves ``a`` for a VTEP, VXLAN headers off."""
    before = len(duo.fabric.sent)
    (port or duo.pa).inbox.extend(frames)
    duo.fabric.run()
    return [datagram.payload[8:] for datagram in duo.fabric.sent[before:] if datagram.source[0] == "192.0.2.1"]


def likes(port: CablePort) -> int:
    return len(port.flows.likes)


@pytest.mark.parametrize("ends", [FOUR, SIX])
@pytest.mark.parametrize("make", [udp, tcp])
@pytest.mark.parametrize("size", [30, 31])
def test_every_frame_of_a_stream_leaves_finished_and_in_order(
    known: Duo, ends: tuple[str, str], make: Any, size: int
) -> None:
    frames = [frame(n, size, ends=ends, make=make) for n in range(200)]
    assert send(known, frames) == list(map(finish, frames))
    assert likes(known.pa) == 1
    assert max(known.fabric.sends) > 50, "in runs"
    assert (known.pa.rx_frames, known.pa.rx_bytes) == (200, 200 * (len(frames[0]) - 10))


@pytest.mark.parametrize("seed", range(20))
def test_any_mixture_of_flows_and_lengths(known: Duo, seed: int) -> None:
    """Some share a source port, some a length; some come finished, some as TCP, some go to a neighbour."""
    dice = random.Random(seed)
    local = known.a.port(VNI, mac(3))
    frames: list[tuple[object, bytes]] = []
    for n in range(600):
        flow = (dice.choice((1, 2, 3)), dice.choice((FOUR, SIX)), dice.choice((udp, udp, tcp)))
        made = frame(n, dice.choice((30, 30, 31, 64)), port=flow[0], ends=flow[1], make=flow[2])
        made = plain(finish(made)) if dice.random() < 0.2 else made
        frames.append((flow, made) if dice.random() < 0.9 else (local, made[:10] + mac(3) + made[16:]))
    sent = send(known, [made for _, made in frames])
    assert local.outbox == [made for flow, made in frames if flow is local], "as they were read"
    assert sorted(sent) == sorted(finish(made) for flow, made in frames if flow is not local)
    for flow in {flow for flow, _ in frames if flow is not local}:
        mine = [finish(made) for other, made in frames if other == flow]
        assert [s for s in sent if s in mine] == mine, "each flow in its order"
    assert likes(known.pa) > 5


def test_finished_and_unfinished_frames_of_one_length_are_told_apart(known: Duo) -> None:
    unfinished = [frame(n) for n in range(40)]
    finished = [plain(finish(f)) for f in unfinished]
    broken = [f[:-1] + b"\1" for f in finished]  # not ours to repair
    frames = [f for three in zip(unfinished, finished, broken, strict=True) for f in three]
    frames = unfinished[:3] + finished[:3] + frames
    assert send(known, frames) == [finish(f) for f in frames]
    assert likes(known.pa) == 2


def test_a_shorter_frame_is_not_completed_from_what_stood_there_before(known: Duo) -> None:
    """The bytes behind it in the buffer are of an earlier burst, and look just like the rest of a like frame."""
    whole = [frame(n) for n in range(40)]
    send(known, whole)
    assert likes(known.pa) == 1
    for cut in (10, 12, 23, 30, 51, len(whole[0]) - 1):
        before = known.pa.counts.as_dict()
        assert whole[0][10:] not in send(known, [whole[0][:cut]])
        lost = sum(known.pa.counts.as_dict().values()) - sum(before.values())
        assert lost == 1 or known.fabric.sent[-1].payload[8:] == finish(whole[0][:cut])


def test_what_holds_no_more_is_not_followed(known: Duo) -> None:
    frames = [frame(n) for n in range(20)]
    assert send(known, frames) == list(map(finish, frames))
    third = known.fabric.host()
    known.join(third, 2)
    known.fabric.mesh(VNI, known.a, known.b, third)
    known.ta.install(mac(2), known.a.peer(third), "static", 0.0)
    send(known, frames)
    assert {d.target[0] for d in known.fabric.sent[-20:]} == {"192.0.2.3"}, "a move"


def test_new_limits_and_spoofing_rules_hold_at_once(known: Duo) -> None:
    frames = [frame(n) for n in range(20)]
    send(known, frames)
    known.pa.antispoof, known.pa.addresses = True, frozenset(("fd00::1",))
    known.ta.changed()
    assert send(known, frames) == []
    assert known.pa.counts.as_dict()["spoofed_source"] == 20


def test_a_port_with_a_rate_keeps_to_it(known: Duo) -> None:
    frames = [frame(n) for n in range(20)]
    send(known, frames)
    known.pa.frames, known.pa.limited = Bucket(1, 5, known.fabric.now), True
    assert len(send(known, frames)) == 5
    assert known.pa.counts.as_dict()["rate"] == 15


def test_a_flow_of_ever_new_lengths_or_echoes_is_not_remembered(known: Duo) -> None:
    send(known, [frame(n, 2 * n) for n in range(1, 40)])
    echo = [plain(ethernet(mac(2), mac(1), IP4, ip4(*FOUR, 1, b"\x08\0" + n.to_bytes(6, "big")))) for n in range(9)]
    assert send(known, echo) == [e[10:] for e in echo]
    assert likes(known.pa) == 0


def test_what_is_remembered_is_bounded(known: Duo) -> None:
    for port in range(MAX_FLOWS // 64 + 2):
        send(known, [frame(n, port=64 * port + k) for k in range(64) for n in range(3)])
        assert likes(known.pa) <= MAX_FLOWS
    assert likes(known.pa) > 0
