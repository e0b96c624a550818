"""Both ends of one TCP transfer, run as a program in a namespace (stdlib only).

transfer.py receive 4|6            prints the port it listens on, then {"size", "seconds", "sha256"}
transfer.py send ADDRESS PORT SIZE sends SIZE random bytes, then prints {"size", "sha256"}
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import sys
import time
from collections.abc import Callable

CHUNK = 1 << 18
IDLE = 20.0  # seconds without progress after which an end gives up


def listen(family: str) -> socket.socket:
    """A listener on a free port, which is printed."""
    server = socket.create_server(("", 0), family=socket.AF_INET6 if family == "6" else socket.AF_INET)
    print(server.getsockname()[1], flush=True)
    return server


def receive(family: str) -> None:
    """Take one connection to its end."""
    with listen(family) as server:
        server.settimeout(IDLE)
        connection, _ = server.accept()
    with connection:
        connection.settimeout(IDLE)
        digest, size, first = hashlib.sha256(), 0, 0.0
        while piece := connection.recv(CHUNK):
            first = first or time.monotonic()
            digest.update(piece)
            size += len(piece)
        seconds = time.monotonic() - first
    print(json.dumps({"size": size, "seconds": seconds, "sha256": digest.hexdigest()}), flush=True)


def send(address: str, port: str, size: str) -> None:
    """Send random bytes and wait until the other end has closed."""
    digest, left = hashlib.sha256(), int(size)
    with socket.create_connection((address, int(port)), timeout=IDLE) as connection:
        while left:
            piece = os.urandom(min(left, CHUNK))
            connection.sendall(piece)
            digest.update(piece)
            left -= len(piece)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)
    print(json.dumps({"size": int(size), "sha256": digest.hexdigest()}), flush=True)


def say(family: str, text: str) -> None:
    """Say the same thing to everybody."""
    with listen(family) as server:
        while True:
            connection, _ = server.accept()
            with connection:
                connection.sendall(text.encode())


def hear(address: str, port: str) -> None:
    """Listen to what the other end says."""
    with socket.create_connection((address, int(port)), timeout=IDLE) as connection:
        print(connection.makefile().read(), flush=True)


def main(verb: str, *args: str) -> None:
    """Do what the first word says with the rest."""
    verbs: dict[str, Callable[..., None]] = {"receive": receive, "send": send, "say": say, "hear": hear}
    verbs[verb](*args)


if __name__ == "__main__":
    main(*sys.argv[1:])
