"""The socket between two processes: order, descriptors, a slow reader, the end."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable

import pytest

from vxswitch.workers import link as module
from vxswitch.workers.link import Link
from vxswitch.workers.messages import NetworkGone, RemovePort, Rows, RowState, ToWorker, decode_to_worker


class End:
    """One end of a link and what has come there."""

    def __init__(self, sock: socket.socket) -> None:
        self.got: list[ToWorker] = []
        self.fds: list[int] = []
        self.ended: list[str] = []
        self.link: Link[ToWorker] = Link(sock, decode_to_worker, self._on_message, self.ended.append)

    def _on_message(self, message: ToWorker, fds: list[int]) -> None:
        self.got.append(message)
        self.fds += fds


@pytest.fixture
async def ends() -> AsyncIterator[tuple[End, End]]:
    one, two = map(End, socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET))
    yield one, two
    for end in (one, two):
        end.link.close()
        for fd in end.fds:
            os.close(fd)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 (what is waited for has no event)
            await asyncio.sleep(0.001)


async def test_messages_come_in_order(ends: tuple[End, End]) -> None:
    one, two = ends
    for n in range(1000):
        one.link.send(RemovePort(n))
    await until(lambda: len(two.got) == 1000)
    assert two.got == [RemovePort(n) for n in range(1000)]
    assert not one.link.busy


async def test_descriptors_come_with_their_message_and_are_not_inherited(ends: tuple[End, End]) -> None:
    one, two = ends
    read, write = os.pipe()
    one.link.send(RemovePort(1), [write])
    os.close(write)
    await until(lambda: bool(two.fds))
    os.write(two.fds[0], b"x")
    assert os.read(read, 10) == b"x" and not os.get_inheritable(two.fds[0])
    os.close(read)


async def test_what_the_reader_is_too_slow_for_waits_with_its_descriptors(ends: tuple[End, End]) -> None:
    one, two = ends
    asyncio.get_running_loop().remove_reader(two.link.sock)
    big = Rows(1, [RowState(bytes(6), 1, None, "claimed", False, "n" * 1000)] * 1000)
    for _ in range(30):
        one.link.send(big)
    assert one.link.busy
    read, write = os.pipe()
    one.link.send(RemovePort(1), [write])
    os.close(write)  # the sender's own copy is its own business
    asyncio.get_running_loop().add_reader(two.link.sock, two.link._on_readable)
    await until(lambda: len(two.got) == 31)
    assert two.got == [big] * 30 + [RemovePort(1)] and not one.link.busy
    os.write(two.fds[0], b"x")
    assert os.read(read, 10) == b"x"
    os.close(read)


async def test_a_reader_that_takes_nothing_is_as_good_as_dead(
    ends: tuple[End, End], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = ends
    monkeypatch.setattr(module, "MAX_WAITING", 10)
    asyncio.get_running_loop().remove_reader(two.link.sock)
    big = Rows(1, [RowState(bytes(6), 1, None, "claimed", False, "n" * 1000)] * 1000)
    for _ in range(60):
        one.link.send(big)
    assert one.ended == ["it takes no messages"]
    one.link.send(RemovePort(1))  # nothing more happens
    assert one.ended == ["it takes no messages"]


async def test_the_end_is_told_once(ends: tuple[End, End]) -> None:
    one, two = ends
    one.link.send(NetworkGone(1))
    one.link.close()
    one.link.close()
    await until(lambda: bool(two.ended))
    assert two.got == [NetworkGone(1)] and len(two.ended) == 1 and not one.ended
    two.link.send(NetworkGone(2))
    assert len(two.ended) == 1


async def test_a_message_that_makes_no_sense_is_the_end(ends: tuple[End, End]) -> None:
    one, two = ends
    one.link.sock.send(b"\xc1")
    await until(lambda: bool(two.ended))
    assert two.ended[0].startswith("it makes no sense") and not two.got
