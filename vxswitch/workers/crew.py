"""The worker processes, as the main process sees them: started, spoken to, ended.

Each is an interpreter of its own (``python -m vxswitch.workers.worker``) with one socket to the main process. It ends
when that socket does, and the kernel kills it if the main process dies in any other way. Signals are the main process's
alone: they are blocked for workers, so frames flow until the main process lets go.

A worker that ends by itself is the end of the switch: what it knew of flows is lost, its ports are deaf, and whoever
keeps the switch running (systemd) starts it whole within a second; TAPs and their addresses stay.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence

import msgspec

from vxswitch.errors import VxswitchError
from vxswitch.workers.link import Link
from vxswitch.workers.messages import Begin, ToMain, Up, decode_to_main

log = logging.getLogger(__name__)

START = 30.0  # seconds until a worker must be up
END = 2.0  # seconds until one that was told to end is killed
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Hand:
    """One worker process. ``number``: from 1; the main process is 0."""

    def __init__(self, number: int, begin: Begin, crew: Crew) -> None:
        self.number = number
        self.up = asyncio.get_running_loop().create_future()
        self._crew = crew
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.process = _spawn(theirs)
        self.link: Link[ToMain] = Link(ours, decode_to_main, self._on_message, self._on_end)
        self.link.send(begin)

    def end(self) -> None:
        """Close the link, by which the worker ends, and wait for that."""
        self.link.close()
        try:
            self.process.wait(END)
        except subprocess.TimeoutExpired:
            log.error("worker %d (process %d) does not end: killing it", self.number, self.process.pid)
            self.process.kill()
            self.process.wait()

    def _on_message(self, message: ToMain, fds: list[int]) -> None:
        if not isinstance(message, Up):
            self._crew.on_message(message)
        elif not self.up.done():
            self.up.set_result(None)

    def _on_end(self, why: str) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(0.1)  # it closes its socket a little before it is gone
        code = self.process.poll()
        how = why if code is None else f"killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        text = f"worker {self.number} (process {self.process.pid}) is lost: {how}"
        if not self.up.done():
            self.up.set_exception(VxswitchError(text))
        else:
            log.critical("%s: ending the switch", text)
            self._crew.on_lost()


class Crew:
    """All workers. ``on_message`` gets what they tell; ``on_lost`` is called when one has died."""

    def __init__(self, count: int, begin: Begin, on_lost: Callable[[], None]) -> None:
        self.on_message: Callable[[ToMain], None] = lambda message: None
        self.on_lost = on_lost
        self.hands: list[Hand] = []
        try:
            for number in range(1, count + 1):
                self.hands.append(Hand(number, begin, self))
        except BaseException:
            self.end()
            raise

    async def up(self) -> None:
        """Wait until all are ready for frames. VxswitchError if one is not."""
        try:
            async with asyncio.timeout(START):
                await asyncio.gather(*(hand.up for hand in self.hands))
        except TimeoutError:
            raise VxswitchError(f"a worker was not up within {START:g} s: see its log lines") from None

    def tell(self, message: msgspec.Struct, fds: Sequence[int] = ()) -> None:
        """The same to all."""
        for hand in self.hands:
            hand.link.send(message, fds)

    def end(self) -> None:
        """End them all."""
        for hand in self.hands:
            hand.link.close()
        for hand in self.hands:
            hand.end()
            if not hand.up.cancel() and not hand.up.cancelled():
                hand.up.exception()  # whoever did not wait for it does not want to know
        self.hands.clear()


def _spawn(sock: socket.socket) -> subprocess.Popen[bytes]:
    """A worker process that has the other end of ``sock``; the signals that are blocked here stay so there."""
    fd = sock.fileno()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "vxswitch.workers.worker", str(fd)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[fd],
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
