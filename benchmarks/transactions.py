"""One-byte TCP requests and answers, one after the other: both ends, as a program.

transactions.py serve                     prints the port, answers one client until it goes
transactions.py ask ADDRESS PORT SECONDS  prints the number of answers and the seconds that it took
"""

from __future__ import annotations

import socket
import sys
import time


def serve() -> None:
    """Give every byte back."""
    with socket.create_server(("", 0)) as server:
        print(server.getsockname()[1], flush=True)
        server.settimeout(20)
        client, _ = server.accept()
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while byte := client.recv(1):
        client.send(byte)


def ask(address: str, port: str, seconds: str) -> None:
    """Send a byte, wait for it, again."""
    with socket.create_connection((address, int(port)), timeout=10) as server:
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        count, begun = 0, time.monotonic()
        while time.monotonic() - begun < float(seconds):
            server.send(b"?")
            if not server.recv(1):
                raise ConnectionError("the server closed")
            count += 1
        print(count, time.monotonic() - begun, flush=True)


if __name__ == "__main__":
    serve() if sys.argv[1] == "serve" else ask(*sys.argv[2:])
