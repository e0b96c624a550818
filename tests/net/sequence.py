"""Many UDP flows with numbered datagrams, run as a program in a namespace (stdlib only).

sequence.py echo ADDRESS PORT            counts and sends back what comes, until nothing has come for a second
sequence.py send ADDRESS PORT FLOWS EACH  sends EACH datagrams on each of FLOWS flows, in turn, and hears the echoes

Both print {"got", "reordered", "duplicated"} at the end; a flow is a source port.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import sys
from collections import defaultdict

NUMBER = struct.Struct("!I")
SILENCE = 1.0  # seconds
WINDOW = 160  # datagrams under way: far fewer than the shortest queue between the two holds
RECEIVE_BUFFER = 8 << 20
SO_RCVBUFFORCE = 33


class Ledger:
    """What has come, by flow."""

    def __init__(self) -> None:
        self.got = self.reordered = self.duplicated = 0
        self._last: dict[object, int] = defaultdict(lambda: -1)
        self._seen: dict[object, set[int]] = defaultdict(set)

    def note(self, flow: object, payload: bytes) -> None:
        """One datagram of a flow."""
        (number,) = NUMBER.unpack_from(payload)
        self.got += 1
        self.duplicated += number in self._seen[flow]
        self._seen[flow].add(number)
        self.reordered += number < self._last[flow]
        self._last[flow] = max(self._last[flow], number)

    def tell(self) -> None:
        """Print the outcome."""
        print(json.dumps({"got": self.got, "reordered": self.reordered, "duplicated": self.duplicated}), flush=True)


def _socket() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
    return sock


def echo(address: str, port: str) -> None:
    """Answer until nothing comes any more."""
    ledger, sock = Ledger(), _socket()
    sock.bind((address, int(port)))
    print("ready", flush=True)
    sock.settimeout(20)
    while True:
        try:
            payload, sender = sock.recvfrom(2048)
        except TimeoutError:
            break
        sock.settimeout(SILENCE)
        ledger.note(sender, payload)
        sock.sendto(payload, sender)
    ledger.tell()


def send(address: str, port: str, flows: str, each: str) -> None:
    """Send on all flows in turn, hearing in between, then until nothing comes any more."""
    ledger, socks = Ledger(), [_socket() for _ in range(int(flows))]
    for sock in socks:
        sock.connect((address, int(port)))
    poller = select.epoll()
    by_fd = {sock.fileno(): sock for sock in socks}
    for fd in by_fd:
        poller.register(fd, select.EPOLLIN)
    for number in range(int(each)):
        for sock in socks:
            sock.send(NUMBER.pack(number) + bytes(60 + number % 7 * 100))
        while (number + 1) * len(socks) - ledger.got > WINDOW and _hear(poller, by_fd, ledger, SILENCE):
            pass
    while _hear(poller, by_fd, ledger, SILENCE):
        pass
    ledger.tell()


def _hear(poller: select.epoll, by_fd: dict[int, socket.socket], ledger: Ledger, patience: float) -> int:
    before = ledger.got
    for fd, _ in poller.poll(patience):
        while True:
            try:
                payload = by_fd[fd].recv(2048, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            ledger.note(fd, payload)
    return ledger.got - before


if __name__ == "__main__":
    {"echo": echo, "send": send}[sys.argv[1]](*sys.argv[2:])
