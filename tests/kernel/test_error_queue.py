"""ICMP errors and unconnected UDP sockets: whose error is told to whom, and what makes it go away."""

import socket

import pytest

from tests.kernel.namespaces import Namespace, until
from tests.kernel.udp import (
    DEAD_PORT,
    IP_RECVERR,
    IPV6_RECVERR,
    ONE4,
    ONE6,
    TWO4,
    TWO6,
    error_queued,
    pending_errors,
    readable,
    receive,
    send,
    udp,
)

Pair = tuple[Namespace, Namespace]

families = pytest.mark.parametrize(
    ("ours", "theirs", "option"),
    [
        (ONE4, TWO4, (socket.IPPROTO_IP, IP_RECVERR)),
        (ONE6, TWO6, (socket.IPPROTO_IPV6, IPV6_RECVERR)),
    ],
)


@families
def test_the_error_of_one_peer_stops_a_send_to_another(
    pair: Pair, ours: str, theirs: str, option: tuple[int, int]
) -> None:
    one, two = pair
    with udp(one, ours) as sender, udp(two, theirs) as alive:
        sender.setsockopt(*option, 1)
        to = alive.getsockname()[:2]
        assert send(sender, b"x", (theirs, DEAD_PORT)) == ""
        until(lambda: error_raised_at(sender, to), "the error of the dead peer, at a send to the live one")
        assert send(sender, b"after", to) == "", "the error was told once"
        got = receive(alive, len(b"after"))
        assert got[-1] == b"after"


def error_raised_at(sender: socket.socket, to: tuple[str, int]) -> bool:
    found = send(sender, b"", to)
    assert found in ("", "ECONNREFUSED")
    return found == "ECONNREFUSED"


@families
def test_draining_the_queue_clears_the_pending_error(
    pair: Pair, ours: str, theirs: str, option: tuple[int, int]
) -> None:
    one, two = pair
    with udp(one, ours) as sender, udp(two, theirs) as alive:
        sender.setsockopt(*option, 1)
        assert send(sender, b"x", (theirs, DEAD_PORT)) == ""
        until(lambda: error_queued(sender), "the error in the queue")
        assert pending_errors(sender) == 1
        assert send(sender, b"after", alive.getsockname()[:2]) == ""
        assert receive(alive, 5) == [b"after"]


@families
def test_without_recverr_an_unconnected_socket_hears_nothing(
    pair: Pair, ours: str, theirs: str, option: tuple[int, int]
) -> None:
    """A second socket, with the option on, witnesses that the errors really came."""
    one, two = pair
    with udp(one, ours) as sender, udp(one, ours) as witness, udp(two, theirs) as alive:
        witness.setsockopt(*option, 1)
        to = alive.getsockname()[:2]
        assert send(sender, b"x", (theirs, DEAD_PORT)) == ""
        assert send(witness, b"x", (theirs, DEAD_PORT)) == ""
        until(lambda: error_queued(witness), "the error at the witness, sent after")
        assert send(sender, b"after", to) == ""
        assert pending_errors(sender) == 0
        assert receive(alive, 5) == [b"after"]


def test_a_receive_call_gets_the_pending_error_too(pair: Pair) -> None:
    """Why a socket that receives has no IP_RECVERR: the error would come out of the read."""
    one, _ = pair
    with udp(one, ONE4) as sock:
        sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        assert send(sock, b"x", (TWO4, DEAD_PORT)) == ""
        with pytest.raises(ConnectionRefusedError):
            until(lambda: readable(sock), "an error")
