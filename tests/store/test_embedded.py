"""The private server: started, shared, restarted, gone with us, and never in the way of its successor."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.store.nodes import FAST, Node, record
from tests.store.servers import BINARIES, until, until_now
from tests.store.test_redis_connect import free_port
from vxswitch.errors import StoreUnavailableError, UsageError
from vxswitch.store import embedded
from vxswitch.store.embedded import EmbeddedStore, configuration, find_server, stop_leftover
from vxswitch.store.redis import RedisStore
from vxswitch.store.redis_connect import Link, ServerRefusedError, parse_endpoint

VNI = 4096


@pytest.fixture(params=sorted(BINARIES))
def binary(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The server that is found is this one."""
    path = BINARIES[request.param]
    monkeypatch.setattr(embedded, "find_server", lambda: path)
    return path


@pytest.fixture
async def node(binary: str, tmp_path: Path) -> AsyncIterator[Node]:
    """A node with its own server."""
    node = Node(EmbeddedStore(tmp_path, "c", rules=FAST), record("one"))
    await node.start()
    await node.store.join(VNI)
    yield node
    await node.close()


def pid_of(node: Node) -> int | None:
    assert isinstance(node.store, EmbeddedStore)
    return node.store.server.pid


def command_line(pid: int | None) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def test_it_works_and_ends_with_the_store(node: Node) -> None:
    assert (await node.attach(VNI, 1)).refused is None
    await until(node.has(VNI, {1: "one"}))
    assert (node.store.status().url, node.store.status().state) == ("embedded:", "up")
    pid = pid_of(node)
    assert pid is not None
    await node.store.close(leave=True)
    assert not is_running(pid)


async def test_killed_it_comes_back_and_everything_is_claimed_again(node: Node) -> None:
    await node.attach(VNI, 1)
    first = pid_of(node)
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await until(lambda: pid_of(node) not in (None, first))
    await until(lambda: node.store.counts.connects >= 2 and node.store.status().state == "up")
    await until(lambda: set(node.table(VNI).snapshots) > {"start"})
    assert node.owners(VNI) == {1: "one"}
    assert node.table(VNI).removed == []


async def test_its_socket_is_private_and_its_rights_are_the_least(node: Node, tmp_path: Path) -> None:
    await until(lambda: node.store.status().state == "up")
    assert (tmp_path / "store.sock").stat().st_mode & 0o777 == 0o600
    link = await Link.open(parse_endpoint(f"unix://{tmp_path}/store.sock", None, None), FAST)
    for words in (("CONFIG", "GET", "*"), ("SHUTDOWN",), ("HGET", "other", "x")):
        with pytest.raises(ServerRefusedError, match="NOPERM"):
            await link.call(*words)
    await link.close()


async def test_shared_with_another_node_by_password(binary: str, tmp_path: Path) -> None:
    port = free_port()
    one = Node(EmbeddedStore(tmp_path, "c", "a secret", f"127.0.0.1:{port}", FAST), record("one"))
    two = Node(RedisStore(parse_endpoint(f"redis://127.0.0.1:{port}", "a secret", None), "c", FAST), record("two"))
    for node in (one, two):
        await node.start()
        await node.store.join(VNI)
    await until(lambda: two.store.status().state == "up")
    await two.attach(VNI, 2)
    await until(one.has(VNI, {2: "two"}))
    assert "a secret" not in command_line(pid_of(one))
    with pytest.raises(StoreUnavailableError):
        await Link.open(parse_endpoint(f"redis://127.0.0.1:{port}", None, None), FAST)
    await two.close()
    await one.close()


async def test_why_it_does_not_start_is_in_the_status(binary: str, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        node = Node(EmbeddedStore(tmp_path, "c", "secret", address, FAST), record("one"))
        await node.start()
        await until(lambda: "the server does not start" in str(node.store.status().reason))
        assert node.store.status().state == "down"
        assert "secret" not in str(node.store.status())
        await node.close()


def left_behind(binary: str, path: Path, password: str | None) -> subprocess.Popen[bytes]:
    """A server that listens on a socket of which the test's store knows nothing."""
    process = subprocess.Popen([binary, "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert process.stdin is not None
    process.stdin.write(configuration(path, "c", password, None).encode())
    process.stdin.close()
    until_now(lambda: listens(path))
    return process


def listens(path: Path) -> bool:
    """Whether somebody accepts on a socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


async def test_a_server_of_an_earlier_run_is_replaced(binary: str, tmp_path: Path) -> None:
    path = tmp_path / "store.sock"
    old = left_behind(binary, path, "another secret")
    node = Node(EmbeddedStore(tmp_path, "c", "new secret", rules=FAST), record("one"))
    await node.start()
    await until(lambda: node.store.status().state == "up")
    assert old.wait(5) is not None
    assert pid_of(node) != old.pid
    await node.close()


async def test_a_hung_server_of_an_earlier_run_is_replaced(
    binary: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "STOP_TIMEOUT", 0.2)
    path = tmp_path / "store.sock"
    old = left_behind(binary, path, None)
    old.send_signal(signal.SIGSTOP)
    reaping = asyncio.create_task(asyncio.to_thread(old.wait))
    await stop_leftover(path)
    assert not path.exists()
    assert await reaping == -signal.SIGKILL


async def test_a_socket_that_nobody_listens_on_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "store.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    await stop_leftover(path)
    assert not path.exists()
    await stop_leftover(path)


ORPHAN = """
import asyncio, sys
from pathlib import Path
from vxswitch.model import NodeRecord
from vxswitch.store import embedded
from vxswitch.store.embedded import EmbeddedStore

async def main() -> None:
    embedded.find_server = lambda: sys.argv[2]
    store = EmbeddedStore(Path(sys.argv[1]), "c")
    await store.start(NodeRecord("one", "u", 1, ()), lambda vni: ())
    while store.status().state != "up":
        await asyncio.sleep(0.01)
    print(store.server.pid, flush=True)
    await asyncio.sleep(3600)

asyncio.run(main())
"""


def test_it_dies_with_us(binary: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", ORPHAN, str(tmp_path), binary]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as switch:
        assert switch.stdout is not None
        pid = int(switch.stdout.readline())
        assert is_running(pid)
        switch.kill()
    until_now(lambda: not is_running(pid))


def test_a_server_is_found_in_path_first_then_in_the_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("redis-server", "valkey-server"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_server() == str(tmp_path / "valkey-server")
    (tmp_path / "valkey-server").unlink()
    assert find_server() == str(tmp_path / "redis-server")
    (tmp_path / "redis-server").unlink()
    assert find_server() == BINARIES["valkey"]


def test_without_any_server_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(embedded.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"redis-server.*vxswitch\[embedded\]"):
        find_server()
