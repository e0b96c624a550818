"""Readers on asyncio and uvloop when a descriptor reports POLLERR, and the epoll descriptor that stays usable.

libuv stops watching a handle for good at its first POLLERR. So sockets that may carry ICMP errors stand in an epoll,
and the loop watches the epoll's own descriptor, which is only ever readable.
"""

import asyncio
import select
import socket
from collections.abc import Callable

import uvloop

from tests.kernel.namespaces import Namespace, until
from tests.kernel.tun import Tun
from tests.kernel.udp import (
    DEAD_PORT,
    IP_RECVERR,
    ONE4,
    TWO4,
    error_queued,
    pending_errors,
    readable,
    receive,
    send,
    udp,
)

Pair = tuple[Namespace, Namespace]


def rounds(loop: asyncio.AbstractEventLoop, count: int = 50) -> None:
    """Let the loop poll ``count`` times."""

    async def turn() -> None:
        for _ in range(count):
            await asyncio.sleep(0)

    loop.run_until_complete(turn())


def calls_on_error(loop: asyncio.AbstractEventLoop, pair: Pair, drain: bool) -> tuple[int, int]:
    """How often a reader is called for a socket with a pending error, and how often for two more errors after it."""
    one, _ = pair
    calls = 0
    with udp(one, ONE4) as sock:
        sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)

        def on_readable() -> None:
            nonlocal calls
            calls += 1
            if drain:
                pending_errors(sock)

        def provoke() -> None:
            pending_errors(sock)
            assert send(sock, b"x", (TWO4, DEAD_PORT)) == ""
            until(lambda: error_queued(sock), "the ICMP error")

        loop.add_reader(sock, on_readable)
        try:
            provoke()
            rounds(loop)
            first = calls
            for _ in range(2):
                provoke()
                rounds(loop)
            return first, calls - first
        finally:
            loop.remove_reader(sock)


def test_uvloop_calls_a_reader_with_pollerr_once_and_then_never_again(pair: Pair) -> None:
    loop = uvloop.new_event_loop()
    try:
        assert calls_on_error(loop, pair, drain=True) == (1, 0)
    finally:
        loop.close()


def test_asyncio_calls_a_reader_with_pollerr_for_ever(pair: Pair) -> None:
    loop = asyncio.SelectorEventLoop()
    try:
        first, more = calls_on_error(loop, pair, drain=False)
    finally:
        loop.close()
    assert first >= 40
    assert more >= 80


def test_uvloop_reader_that_died_of_pollerr_does_not_even_see_data(pair: Pair) -> None:
    one, two = pair
    loop = uvloop.new_event_loop()
    calls: list[bool] = []
    with udp(one, ONE4) as sock, udp(two, TWO4) as other:
        sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        loop.add_reader(sock, lambda: calls.append(True))
        assert send(sock, b"x", (TWO4, DEAD_PORT)) == ""
        until(lambda: error_queued(sock), "the ICMP error")
        rounds(loop)
        assert calls == [True]
        pending_errors(sock)
        assert send(other, b"data", sock.getsockname()) == ""
        until(lambda: readable(sock), "the datagram")
        rounds(loop)
        assert calls == [True]
        loop.close()


def test_an_epoll_of_such_sockets_stays_usable_under_uvloop(pair: Pair) -> None:
    one, two = pair
    loop = uvloop.new_event_loop()
    with udp(one, ONE4) as first, udp(one, ONE4) as second, udp(two, TWO4) as other, select.epoll() as epoll:
        by_fd = {sock.fileno(): sock for sock in (first, second)}
        for sock in by_fd.values():
            sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
            epoll.register(sock, select.EPOLLIN)
        errors = data = 0

        def on_pool_ready() -> None:
            nonlocal errors, data
            for fd, events in epoll.poll(0):
                if events & select.EPOLLERR:
                    errors += pending_errors(by_fd[fd])
                if events & select.EPOLLIN:
                    data += len(receive(by_fd[fd], 4))

        def turn_until(condition: Callable[[], bool], what: str) -> None:
            until(lambda: rounds(loop, 1) or condition(), what)

        loop.add_reader(epoll.fileno(), on_pool_ready)
        try:
            for dead in (first, second, first, second, second):
                assert send(dead, b"x", (TWO4, DEAD_PORT)) == ""
                turn_until(lambda: errors > data, "the error, drained")
                assert send(other, b"data", second.getsockname()) == ""
                turn_until(lambda: errors == data, "the datagram, read")
            assert errors == data == 5
        finally:
            loop.remove_reader(epoll.fileno())
            loop.close()


def test_the_end_of_a_tap_is_one_call_under_uvloop(namespace: Callable[[], Namespace]) -> None:
    """One call is enough to notice: the read in it says EBADFD."""
    here = namespace()
    loop = uvloop.new_event_loop()
    said: list[str] = []
    with here.call(lambda: Tun("tap0")) as tap:
        loop.add_reader(tap.fd, lambda: said.append(tap.read_error()))
        rounds(loop, 5)
        here.ip("link", "del", "tap0")
        until(lambda: rounds(loop, 1) or said, "a call of the reader")
        rounds(loop)
        assert said[-1] == "EBADFD"
        assert said.count("EBADFD") == 1
        loop.remove_reader(tap.fd)
        loop.close()
