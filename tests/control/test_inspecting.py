"""verify, why, monitor and wait as the client meets them, over a real unix socket."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.control.test_api import Served
from tests.control.test_drift import THERE, table, two_nodes
from tests.control.world import World
from vxswitch.client import path_of
from vxswitch.control import events, inspecting
from vxswitch.errors import ConflictError, NotFoundError, UsageError, VxswitchError


@pytest.fixture
async def served(world: World) -> AsyncIterator[Served]:
    """n1 of two nodes that agree."""
    one, two = await two_nodes(world)
    for node in (one, two):
        node.beat()
    await world.spread()
    made = Served(one, world.directory / "vx.sock")
    made.api.bind(made.path, None)
    await made.api.start()
    yield made
    await made.api.close()


async def test_verify_of_one_network_and_of_all(served: Served) -> None:
    (found,) = await served.get("verify", network="red")
    assert found["same"] and found["peers"] == {"n2": {"rev": found["rev"], "same": True}}
    assert [each["network"] for each in await served.get("verify")] == ["red"]
    with pytest.raises(NotFoundError):
        await served.get("verify", network="nosuch")


async def test_a_repair_is_asked_for_by_post(served: Served) -> None:
    table(served.node).withdraw(bytes.fromhex(THERE.replace(":", "")))
    asked = asyncio.ensure_future(served.post("verify", network="red"))
    while not asked.done():
        await asyncio.sleep(0.01)
        await served.node.hear()
    (repaired,) = asked.result()
    assert repaired["same"] and repaired["changes"] == 1 and repaired["changed"][0]["mac"] == THERE
    with pytest.raises(UsageError, match="unknown field"):
        await served.post("verify", everything=True)


async def test_why_wants_a_mac(served: Served) -> None:
    (told,) = await served.get("fdb", "why", mac=THERE)
    assert told["owner"]["node"] == "n2" and told["history"]
    with pytest.raises(UsageError):
        await served.get("fdb", "why")


async def test_wait_is_for_all_live_members(served: Served, world: World) -> None:
    answer = await served.get("networks", "red", "wait", timeout=5)
    assert answer["state"] == "up" and answer["rev"] == world.hub.table(100).truth.rev
    await served.node.attach("red", "c9")
    await world.spread()
    reached = world.hub.acks(100)["n2"]
    with pytest.raises(VxswitchError, match=rf"has not reached n2 \(rev {reached}\)"):
        await served.get("networks", "red", "wait", timeout=0.3)


async def test_wait_says_that_nobody_can_be_asked(served: Served, world: World) -> None:
    world.hub.available = False
    with pytest.raises(VxswitchError, match="cannot be asked"):
        await served.get("networks", "red", "wait", timeout=0.3)


# -- monitor -----------------------------------------------------------------------------------------------------------


async def listeners(served: Served, number: int) -> None:
    """Wait until so many listen."""
    while served.node.events.listeners != number:  # noqa: ASYNC110 (nobody tells)
        await asyncio.sleep(0.01)


async def test_monitor_is_one_object_a_line_as_things_happen(served: Served) -> None:
    lines = served.client.lines(path_of("monitor"))
    first = asyncio.ensure_future(asyncio.to_thread(lambda: list(itertools.islice(lines, 2))))
    await listeners(served, 1)
    served.node.events.tell("peer.live", node="b", was="suspended")
    served.node.events.tell("store.down", reason="gone")
    told = [json.loads(line) for line in await first]
    assert [(event["event"], event["time"]) for event in told] == [("peer.live", 1000.0), ("store.down", 1000.0)]


async def test_monitor_ends_with_the_switch(served: Served) -> None:
    heard = asyncio.ensure_future(asyncio.to_thread(lambda: list(served.client.lines(path_of("monitor")))))
    await listeners(served, 1)
    served.node.events.tell("port.up", port="p")
    loop = asyncio.get_running_loop()
    began = loop.time()
    await served.api.close()
    assert [json.loads(line)["event"] for line in await heard] == ["port.up"]
    assert loop.time() - began < 5.0


async def test_a_listener_that_went_is_found(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspecting, "KEEP_ALIVE", 0.02)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(served.path))
        client.sendall(b"GET /v1/monitor HTTP/1.1\r\nHost: x\r\n\r\n")
        await listeners(served, 1)
    await listeners(served, 0)


async def test_a_listener_that_does_not_read_misses_and_holds_up_nobody(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = served.node.events
    monkeypatch.setattr(told, "_length", 64)
    filler = "x" * 1000
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(served.path))
        client.sendall(b"GET /v1/monitor HTTP/1.1\r\nHost: x\r\n\r\n")
        await listeners(served, 1)
        for number in range(4000):
            told.tell("row.claimed", number=number, filler=filler)
            if number % 16 == 0:
                await asyncio.sleep(0)
        assert (await served.get("status"))["node"] == "n1"
        numbers, missed = await asyncio.to_thread(read_events, client)
    assert numbers == sorted(numbers) and missed > 0 and len(numbers) + missed <= 4000


def read_events(client: socket.socket) -> tuple[list[int], int]:
    """The numbers that came, and how many were missed, up to the first word about those."""
    numbers, missed, rest = [], 0, b""
    while not missed:
        *lines, rest = (rest + client.recv(65536)).split(b"\n")
        for line in lines:
            if line.startswith(b"{"):
                event: dict[str, Any] = json.loads(line)
                missed += event.get("count", 0)
                numbers += [event["number"]] if "number" in event else []
    return numbers, missed


async def test_listeners_are_bounded(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "LISTENERS", 0)
    with pytest.raises(ConflictError, match="listen already"):
        await served.ask(lambda: list(served.client.lines(path_of("monitor"))))
