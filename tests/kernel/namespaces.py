"""Network namespaces for tests: made with iproute2, entered by a thread of their own, removed whatever happens.

Nothing here uses the project's own code: what is tested cannot be its own witness.
"""

from __future__ import annotations

import ctypes
import json
import os
import secrets
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

T = TypeVar("T")

CLONE_NEWNET = 0x40000000  # linux/sched.h
DEADLINE = 10.0  # seconds until a condition that must come true is called a failure

_libc = ctypes.CDLL(None, use_errno=True)


def run(*command: str) -> str:
    """The output of a command that must succeed; what it complained of is in the traceback otherwise."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        error = subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
        error.add_note(done.stderr)
        raise error
    return done.stdout


class Namespace:
    """One network namespace with its loopback up."""

    def __init__(self, name: str = "") -> None:
        self.name = name or f"vxt{os.getpid()}-{secrets.token_hex(3)}"
        self.path = f"/run/netns/{self.name}"
        run("ip", "netns", "add", self.name)
        self.ip("link", "set", "lo", "up")

    @property
    def inode(self) -> int:
        return Path(self.path).stat().st_ino

    def ip(self, *arguments: str) -> str:
        """Run ``ip -n NAME ARGUMENTS``; its output."""
        return run("ip", "-n", self.name, *arguments)

    def execute(self, *command: str) -> str:
        """Run a command inside; its output."""
        return run("ip", "netns", "exec", self.name, *command)

    def link(self, name: str) -> dict[str, Any] | None:
        """``ip -d -j link`` of one interface, or None."""
        return next((found for found in json.loads(self.ip("-d", "-j", "link")) if found["ifname"] == name), None)

    def addresses(self, name: str) -> list[str]:
        """``ADDRESS/PREFIX`` of one interface, link-local ones left out."""
        (found,) = json.loads(self.ip("-j", "address", "show", "dev", name))
        return [f"{a['local']}/{a['prefixlen']}" for a in found["addr_info"] if a["scope"] != "link"]

    def call(self, function: Callable[[], T]) -> T:
        """Run ``function`` in a new thread inside; its result or its exception. Sockets made there stay there."""
        outcome: list[T] = []
        failure: list[BaseException] = []

        def inside() -> None:
            try:
                fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    assert _libc.setns(fd, CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
                finally:
                    os.close(fd)
                outcome.append(function())
            except BaseException as error:
                failure.append(error)

        thread = threading.Thread(target=inside)
        thread.start()
        thread.join()
        if failure:
            raise failure[0]
        return outcome[0]

    def remove(self) -> None:
        """`ip netns del`, once."""
        if Path(self.path).exists():
            run("ip", "netns", "del", self.name)


@pytest.fixture
def namespace() -> Iterator[Callable[[], Namespace]]:
    """Makes namespaces; all are removed when the test ends."""
    made: list[Namespace] = []

    def make() -> Namespace:
        made.append(Namespace())
        return made[-1]

    yield make
    for found in made:
        found.remove()


@pytest.fixture
def pair(namespace: Callable[[], Namespace]) -> tuple[Namespace, Namespace]:
    """Two namespaces joined by a veth: ``u0`` is 192.0.2.1 and 2001:db8::1 in the first, .2 and ::2 in the second."""
    one, two = namespace(), namespace()
    one.ip("link", "add", "u0", "type", "veth", "peer", "name", "u0", "netns", two.name)
    for host, side in enumerate((one, two), start=1):
        side.ip("address", "add", f"192.0.2.{host}/24", "dev", "u0")
        side.ip("address", "add", f"2001:db8::{host}/64", "dev", "u0", "nodad")
        side.ip("link", "set", "u0", "up")
    for side, other, host in ((one, two, 2), (two, one, 1)):  # neighbours known: IPv6 else loses its first second
        address = other.link("u0")["address"]
        side.ip("neighbour", "replace", f"2001:db8::{host}", "lladdr", address, "dev", "u0")
        until(lambda side=side: side.link("u0")["qdisc"] != "noop", "a queue that takes frames")  # type: ignore[misc]
    return one, two


def until(condition: Callable[[], T], what: str = "condition") -> T:
    """Poll until ``condition`` is true, and give back what it said; fail after DEADLINE."""
    end = time.monotonic() + DEADLINE
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < end, f"{what}: still not so after {DEADLINE:g} s"
        time.sleep(0.005)
