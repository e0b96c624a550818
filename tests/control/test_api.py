"""The control API as its client meets it, over a real unix socket."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.control.world import Node, World
from vxswitch.client import Client, path_of
from vxswitch.control.api import MAX_BODY, Api, give_to_group, listen
from vxswitch.control.views import Views
from vxswitch.errors import (
    ConflictError,
    NotFoundError,
    NotReachableError,
    StoreUnavailableError,
    UsageError,
    VxswitchError,
)


class Served:
    """A node with its API, and a client of it in a thread."""

    def __init__(self, node: Node, path: Path) -> None:
        self.node, self.path = node, path
        rooms = node.rooms
        self.api = Api(rooms, Views(rooms), node.attaching)
        self.client = Client(str(path), timeout=10)

    async def ask(self, call: Callable[..., Any], *args: Any, **query: Any) -> Any:
        return await asyncio.to_thread(call, *args, **query)

    async def get(self, *parts: str, **query: Any) -> Any:
        return await self.ask(self.client.get, path_of(*parts), **query)

    async def post(self, *parts: str, **body: Any) -> Any:
        return await self.ask(self.client.post, path_of(*parts), body)

    async def delete(self, *parts: str, **query: Any) -> Any:
        return await self.ask(self.client.delete, path_of(*parts), **query)


@pytest.fixture
async def served(world: World) -> AsyncIterator[Served]:
    node = await world.node()
    await node.start("red=100")
    made = Served(node, world.directory / "run" / "vx.sock")
    made.api.bind(made.path, None)
    await made.api.start()
    yield made
    await made.api.close()


# -- the socket ------------------------------------------------------------------------------------------------------


async def test_the_socket_is_for_owner_and_group_and_goes_with_the_api(served: Served) -> None:
    assert served.path.stat().st_mode & 0o777 == 0o660
    await served.api.close()
    assert not served.path.exists()
    with pytest.raises(NotReachableError):
        await served.get("status")


async def test_who_comes_early_waits_until_the_switch_is_up(world: World) -> None:
    node = await world.node()
    made = Served(node, world.directory / "early.sock")
    made.api.bind(made.path, None)
    asking = asyncio.ensure_future(made.get("status"))
    await node.start("red=100")
    await made.api.start()
    assert (await asking)["networks"][0]["name"] == "red"
    await made.api.close()


async def test_what_was_bound_and_never_started_goes_too(world: World) -> None:
    made = Served(await world.node(), world.directory / "early.sock")
    made.api.bind(made.path, None)
    await made.api.close()
    assert not made.path.exists()


def test_a_stale_socket_is_replaced_one_that_answers_is_not(tmp_path: Path) -> None:
    path = tmp_path / "vx.sock"
    listen(path, None).close()
    assert path.exists()  # as a killed switch leaves it
    with listen(path, None):
        with pytest.raises(ConflictError, match="another switch answers"):
            listen(path, None)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))  # the first one still listens


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(ConflictError, match="a file of that name"):
        listen(path, None)
    assert path.read_text() == "data"


def test_a_place_where_nothing_can_be_made_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="--socket"):
        listen(tmp_path / "file" / "vx.sock", None)


def test_the_group_must_exist(tmp_path: Path) -> None:
    path = tmp_path / "vx.sock"
    path.touch()
    give_to_group(path, "root")
    assert path.stat().st_gid == 0
    with pytest.raises(UsageError, match="no such group"):
        give_to_group(path, "no-such-group-at-all")


# -- what is shown ---------------------------------------------------------------------------------------------------


async def test_every_document_is_served(served: Served) -> None:
    assert (await served.get("status"))["node"] == "n1"
    assert [port["id"] for port in await served.get("ports")] == ["red/vx-red"]
    assert await served.get("peers") == []
    assert set((await served.get("drops")).values()) == {0}
    assert (await served.get("stats"))["frames_in"] == 7
    assert [row["hop"] for row in await served.get("fdb")] == ["local"]
    assert [row["hop"] for row in await served.get("fdb", network="red")] == ["local"]
    assert "vxswitch_info" in await served.ask(served.client.text, "/metrics")


async def test_who_listens_to_which_group(served: Served) -> None:
    served.node.groups.tick()
    groups = [row["group"] for row in await served.get("mcast", network="red")]
    assert groups == ["0.0.0.0", "::"] and len(await served.get("mcast")) == 2
    with pytest.raises(NotFoundError, match="blue"):
        await served.get("mcast", network="blue")


async def test_networks_can_be_listed_shown_created_and_removed(served: Served) -> None:
    made = await served.post("networks", name="blue", vni=200, subnets=["10.2.0.0/24"], may_exist=False)
    assert (made["name"], made["vni"], made["state"], made["settled"]) == ("blue", 200, "up", True)
    assert [network["name"] for network in await served.get("networks")] == ["blue", "red"]
    shown = await served.get("networks", "blue")
    assert (shown["subnets"], shown["ports"], shown["members"]) == (["10.2.0.0/24"], ["blue/vx-blue"], [])
    assert await served.delete("networks", "blue") == {"record_removed": True}
    with pytest.raises(NotFoundError):
        await served.get("networks", "blue")


async def test_networks_that_only_the_store_knows_are_listed_as_elsewhere(served: Served, world: World) -> None:
    other = await world.node("n2", ["192.0.2.2"])
    await other.start("green=300")
    listed = {network["name"]: network["state"] for network in await served.get("networks")}
    assert listed == {"red": "up", "green": "elsewhere"}
    world.hub.available = False
    assert {network["name"] for network in await served.get("networks")} == {"red"}


async def test_waiting_for_a_network(served: Served, world: World) -> None:
    while served.node.announcer.backlog:
        await served.node.announcer.flush()
    assert (await served.get("networks", "red", "wait", timeout=5))["state"] == "up"
    world.hub.available = False
    await served.post("networks", name="grey")
    with pytest.raises(VxswitchError, match="'grey' is pending"):
        await served.get("networks", "grey", "wait", timeout=0)
    with pytest.raises(UsageError):
        await served.get("networks", "red", "wait", timeout="soon")


# -- what is asked for -----------------------------------------------------------------------------------------------


async def test_rows_can_be_added_deleted_and_flushed(served: Served) -> None:
    mac = "02:00:00:00:00:42"
    await served.post("fdb", network="red", mac=mac, vtep="192.0.2.9", sticky=True)
    assert served.node.row("red", mac).source == "static"
    await served.delete("fdb", network="red", mac=mac)
    assert served.node.row("red", mac) is None
    assert await served.post("fdb", "flush") == {"flushed": 0}
    with pytest.raises(NotFoundError):
        await served.post("fdb", "thaw", network="red", mac=mac)
    with pytest.raises(UsageError):
        await served.delete("fdb", network="red")


async def test_ports_can_be_detached_and_frames_traced(served: Served) -> None:
    await served.node.attach("red")
    stages = await served.post("trace", network="red", src="02:00:00:00:00:01", dst="ff:ff:ff:ff:ff:ff")
    assert stages[0].keys() == {"stage", "verdict", "detail"}
    assert await served.post("detach", network="red", netns="/run/netns/c1", ifname="eth0", inode=1) == {}
    with pytest.raises(NotFoundError):
        await served.post("detach", network="red", netns="/run/netns/c1", ifname="eth0")


# -- what goes wrong -------------------------------------------------------------------------------------------------


async def test_errors_arrive_as_what_they_are(served: Served, world: World) -> None:
    with pytest.raises(ConflictError, match="VNI 100"):
        await served.post("networks", name="blue", vni=100)
    with pytest.raises(ConflictError, match="--may-exist"):
        await served.post("networks", name="red")
    with pytest.raises(UsageError, match="16777215"):
        await served.post("networks", name="blue", vni=0)
    with pytest.raises(UsageError, match="frob"):
        await served.post("networks", name="blue", frob=1)
    world.hub.available = False
    with pytest.raises(StoreUnavailableError):
        await served.post("fdb", "thaw", network="red", mac="02:00:00:00:00:42")


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/v1/nosuch", b"", 404),
        ("DELETE", "/v1/status", b"", 405),
        ("POST", "/v1/fdb", b"{", 400),
        ("POST", "/v1/networks", b"[]", 400),
        ("POST", "/v1/networks", b"x" * (MAX_BODY + 1), 413),
        ("GET", "/v1/networks/%2e%2e%2fetc", b"", 404),
        ("POST", "/v1/trace", b"\xff\xfe", 400),
    ],
)
async def test_nonsense_is_answered_with_an_error(
    served: Served, method: str, path: str, body: bytes, status: int
) -> None:
    answer = await exchange(served.path, method, path, body)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode()), answer
    assert b'{"error":{"message":' in answer
    assert (await served.get("status"))["node"] == "n1"


async def test_a_bug_in_a_view_is_an_answer_and_a_log_line(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    served.node.plane.drops = lambda: 1 / 0  # type: ignore[method-assign,assignment,return-value]
    answer = await exchange(served.path, "GET", "/v1/status", b"")
    assert answer.startswith(b"HTTP/1.1 500 ") and b"ZeroDivisionError" in answer
    assert "request GET /v1/status failed" in caplog.text


async def test_garbage_that_is_no_http_harms_nobody(served: Served) -> None:
    for garbage in (b"\0" * 100, b"GET\r\n\r\n", os.urandom(4096), b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 100000):
        reader, writer = await asyncio.open_unix_connection(str(served.path))
        try:
            writer.write(garbage)
            writer.write_eof()
            async with asyncio.timeout(10):
                await reader.read()
        except ConnectionError:
            continue
        finally:
            writer.close()
    assert (await served.get("status"))["node"] == "n1"


async def test_metrics_alone_are_served_on_tcp(served: Served) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match="cannot serve metrics"):
            await served.api.start_metrics("127.0.0.1", port)
    await served.api.start_metrics("127.0.0.1", port)
    for path, status in (("/metrics", 200), ("/v1/status", 404)):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert (await reader.read()).startswith(f"HTTP/1.1 {status} ".encode())
        writer.close()


async def exchange(path: Path, method: str, target: str, body: bytes) -> bytes:
    """One raw HTTP exchange."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    head = f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    return answer
