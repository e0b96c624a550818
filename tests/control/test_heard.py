"""What answers tell of one VTEP: round trip, loss, life."""

from __future__ import annotations

import socket

import pytest

from vxswitch.control.heard import WINDOW, Heard, ip_udp_headers
from vxswitch.wire.probe import Identity

YOU = Identity(1, 2)


def asked(heard: Heard, *, lost: int = 0, answered: int = 0, rtt: float = 0.001) -> None:
    """Probes once a second, first those that get lost."""
    for number in range(lost + answered):
        now = heard.last + 1.0 + number
        heard.asked(id(heard) + number + int(now * 1000), now)
        if number >= lost:
            assert heard.answered(id(heard) + number + int(now * 1000), YOU, now + rtt)


def test_nothing_is_known_of_who_never_answered() -> None:
    heard = Heard(1472)
    asked(heard, lost=100)
    assert (heard.alive, heard.loss, heard.srtt, heard.unanswered) == (None, None, None, 100)
    assert not heard.answers(0.0) and len(heard._open) <= 16


def test_the_round_trip_is_smoothed() -> None:
    heard = Heard(1472)
    heard.asked(1, 10.0)
    assert heard.answered(1, YOU, 10.008)
    assert heard.rtt == heard.srtt == pytest.approx(0.008)
    heard.asked(2, 11.0)
    assert heard.answered(2, YOU, 11.016)
    assert (heard.rtt, heard.srtt) == (pytest.approx(0.016), pytest.approx(0.009))


def test_an_answer_counts_once_and_only_with_a_nonce_that_was_sent() -> None:
    heard = Heard(1472)
    heard.asked(1, 10.0)
    assert not heard.answered(2, YOU, 10.1) and heard.alive is None
    assert heard.answered(1, YOU, 10.1)
    assert not heard.answered(1, YOU, 10.2) and heard.last == 10.1


def test_the_loss_is_that_of_the_last_64() -> None:
    heard = Heard(1472)
    for nonce in range(100):
        heard.asked(nonce, float(nonce))
        if nonce % 4:
            heard.answered(nonce, YOU, nonce + 0.1)
    assert heard.loss == pytest.approx(0.25, abs=0.07)
    for nonce in range(100, 100 + WINDOW + 16):
        heard.asked(nonce, float(nonce))
        heard.answered(nonce, YOU, nonce + 0.1)
    assert heard.loss == 0.0
    for nonce in range(300, 300 + WINDOW + 16):
        heard.asked(nonce, float(nonce))
    assert heard.loss == 1.0


def test_a_late_answer_shows_that_it_lived() -> None:
    heard = Heard(1472)
    for nonce in range(4):
        heard.asked(nonce, nonce * 0.3)
    assert heard.unanswered == 4
    assert heard.answered(0, YOU, 1.0) and heard.rtt == 1.0 and heard.unanswered == 0


def test_who_is_forgotten_has_never_answered_but_its_device_is_still_ours() -> None:
    heard = Heard(1472)
    asked(heard, answered=3)
    heard.forget()
    assert (heard.alive, heard.loss, heard.rtt, heard.sender.node, heard.path.full) == (None, None, None, 0, 1472)


def test_headers_by_family() -> None:
    assert (ip_udp_headers(socket.AF_INET), ip_udp_headers(socket.AF_INET6)) == (20 + 8, 40 + 8)
