"""server: attach.sock on both event loops, with good, bad, silent and too many clients."""

import asyncio
import logging
import os
import socket
import stat
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from vxswitch.attach import passing
from vxswitch.attach.server import AttachServer
from vxswitch.errors import ConflictError, NotFoundError, UsageError, VxswitchError

Scenario = Callable[[], Awaitable[Any]]
Run = Callable[[Scenario], Any]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Runs a scenario on one of the two loops, within a deadline."""
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        yield lambda scenario: runner.run(asyncio.wait_for(scenario(), 20))


async def echo(obj: dict[str, Any], fds: list[int]) -> dict[str, Any]:
    return {"got": obj, "fds": len(fds)}


async def ask(path: Path, obj: dict[str, Any], fds: tuple[int, ...] = ()) -> dict[str, Any]:
    return await asyncio.to_thread(passing.request, str(path), obj, fds)


def test_a_request_is_handled_and_answered(run: Run, tmp_path: Path) -> None:
    async def scenario() -> None:
        server = AttachServer(str(tmp_path / "s"), echo)
        await server.start()
        for number in range(5):
            assert await ask(tmp_path / "s", {"n": number}) == {"got": {"n": number}, "fds": 0}
        await server.close()
        assert not (tmp_path / "s").exists()

    run(scenario)


def test_the_mode_does_not_depend_on_the_umask(run: Run, tmp_path: Path) -> None:
    async def scenario() -> None:
        server = AttachServer(str(tmp_path / "s"), echo)
        before = os.umask(0o077)
        try:
            await server.start()
        finally:
            os.umask(before)
        found = (tmp_path / "s").stat()
        await server.close()
        assert stat.S_ISSOCK(found.st_mode)
        assert stat.S_IMODE(found.st_mode) == 0o660

    run(scenario)


@pytest.mark.parametrize("fails", [False, True])
def test_descriptors_are_borrowed_and_closed_however_the_handler_ends(run: Run, tmp_path: Path, fails: bool) -> None:
    async def scenario() -> None:
        seen: list[int] = []
        kept: list[int] = []

        async def handler(obj: dict[str, Any], fds: list[int]) -> dict[str, Any]:
            seen.extend(fds)
            kept.append(os.dup(fds[0]))
            if fails:
                raise VxswitchError("no")
            return {}

        server = AttachServer(str(tmp_path / "s"), handler)
        await server.start()
        reader, writer = os.pipe()
        try:
            await ask(tmp_path / "s", {}, (writer, writer))
        except VxswitchError:
            assert fails
        os.close(writer)
        await server.close()
        assert len(seen) == 2
        os.write(kept[0], b"kept")
        os.close(kept[0])
        assert os.read(reader, 10) == b"kept"
        assert os.read(reader, 10) == b"", "no other copy of the writing end is open"
        os.close(reader)

    run(scenario)


def test_an_answer_that_nobody_waits_for_is_given_back(run: Run, tmp_path: Path) -> None:
    given_back: list[dict[str, Any]] = []

    async def scenario() -> None:
        asked, gone, undone = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def handler(obj: dict[str, Any], fds: list[int]) -> dict[str, Any]:
            asked.set()
            await gone.wait()
            return {"port": "p1"}

        async def abandoned(answer: dict[str, Any]) -> None:
            given_back.append(answer)
            undone.set()

        server = AttachServer(str(tmp_path / "s"), handler, abandoned)
        await server.start()
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
            client.connect(str(tmp_path / "s"))
            passing.send_message(client, {"op": "attach"})
            await asked.wait()
        gone.set()
        await undone.wait()
        await server.close()

    run(scenario)
    assert given_back == [{"port": "p1"}]


def test_errors_of_the_handler_reach_the_client(run: Run, tmp_path: Path) -> None:
    async def handler(obj: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        raise NotFoundError("no network blue: `vxswitch network ls` shows them")

    async def scenario() -> None:
        server = AttachServer(str(tmp_path / "s"), handler)
        await server.start()
        with pytest.raises(NotFoundError, match="no network blue"):
            await ask(tmp_path / "s", {})
        await server.close()

    run(scenario)


def test_a_bug_of_the_handler_is_logged_and_the_server_goes_on(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(obj: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        return {"half": 1 / obj["n"]}

    async def scenario() -> None:
        server = AttachServer(str(tmp_path / "s"), handler)
        await server.start()
        with pytest.raises(VxswitchError, match="ZeroDivisionError"):
            await ask(tmp_path / "s", {"n": 0})
        assert await ask(tmp_path / "s", {"n": 2}) == {"half": 0.5}
        await server.close()

    with caplog.at_level(logging.ERROR):
        run(scenario)
    assert "request failed" in caplog.text


@pytest.mark.parametrize("answer", [{"not": b"json"}, {"big": "x" * passing.MAX_BYTES}])
def test_an_answer_that_cannot_be_sent_is_logged(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture, answer: dict[str, Any]
) -> None:
    async def handler(obj: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        return answer

    async def scenario() -> None:
        server = AttachServer(str(tmp_path / "s"), handler)
        await server.start()
        with pytest.raises(VxswitchError, match="closed the connection"):
            await ask(tmp_path / "s", {})
        await server.close()

    with caplog.at_level(logging.ERROR):
        run(scenario)
    assert "the answer cannot be sent" in caplog.text


def test_a_bad_message_is_answered_with_its_error(run: Run, tmp_path: Path) -> None:
    async def scenario() -> None:
        server = AttachServer(str(tmp_path / "s"), echo)
        await server.start()
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
            client.connect(str(tmp_path / "s"))
            client.send(b"nonsense")
            client.settimeout(10)
            answer, _ = await asyncio.to_thread(passing.recv_message, client)
        with pytest.raises(UsageError, match="not JSON"):
            raise passing.error_from(answer["error"])
        await server.close()

    run(scenario)


def test_clients_beyond_the_bound_wait_and_silent_ones_are_dropped(run: Run, tmp_path: Path) -> None:
    async def scenario() -> None:
        server = AttachServer(str(tmp_path / "s"), echo, max_connections=2, patience=0.2)
        await server.start()
        silent = [socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2)]
        for client in silent:
            client.settimeout(10)
            client.connect(str(tmp_path / "s"))
        answers = await asyncio.gather(*(ask(tmp_path / "s", {"n": number}) for number in range(6)))
        assert [answer["got"]["n"] for answer in answers] == list(range(6))
        for client in silent:
            assert await asyncio.to_thread(client.recv, 10) == b""
            client.close()
        await server.close()

    run(scenario)


def test_no_more_than_the_bound_are_served_at_once(run: Run, tmp_path: Path) -> None:
    async def scenario() -> int:
        running = most = 0

        async def handler(obj: dict[str, Any], fds: list[int]) -> dict[str, Any]:
            nonlocal running, most
            running += 1
            most = max(most, running)
            for _ in range(20):
                await asyncio.sleep(0)
            running -= 1
            return {}

        server = AttachServer(str(tmp_path / "s"), handler, max_connections=3)
        await server.start()
        await asyncio.gather(*(ask(tmp_path / "s", {}) for _ in range(12)))
        await server.close()
        return most

    assert 1 <= run(scenario) <= 3


def test_a_client_that_leaves_before_the_answer_harms_nobody(run: Run, tmp_path: Path) -> None:
    async def scenario() -> None:
        started, go_on = asyncio.Event(), asyncio.Event()

        async def handler(obj: dict[str, Any], fds: list[int]) -> dict[str, Any]:
            if obj.get("leaves"):
                started.set()
                await go_on.wait()
            return {"here": True}

        server = AttachServer(str(tmp_path / "s"), handler)
        await server.start()
        client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        client.connect(str(tmp_path / "s"))
        passing.send_message(client, {"leaves": True})
        await started.wait()
        client.close()
        go_on.set()
        assert await ask(tmp_path / "s", {}) == {"here": True}
        await server.close()

    run(scenario)


def test_close_ends_what_is_under_way(run: Run, tmp_path: Path) -> None:
    async def scenario() -> None:
        started = asyncio.Event()
        ended: list[str] = []

        async def handler(obj: dict[str, Any], fds: list[int]) -> dict[str, Any]:
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.append("cancelled")
            return {}

        server = AttachServer(str(tmp_path / "s"), handler)
        await server.start()
        asking = asyncio.create_task(ask(tmp_path / "s", {}))
        await started.wait()
        await server.close()
        with pytest.raises(VxswitchError, match="closed the connection"):
            await asking
        assert ended == ["cancelled"]
        await server.close()

    run(scenario)


def test_a_stale_socket_is_replaced_and_a_living_one_is_not(run: Run, tmp_path: Path) -> None:
    async def scenario() -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as killed:
            killed.bind(str(tmp_path / "s"))
        server = AttachServer(str(tmp_path / "s"), echo)
        await server.start()
        with pytest.raises(ConflictError, match="another switch listens there"):
            await AttachServer(str(tmp_path / "s"), echo).start()
        assert await ask(tmp_path / "s", {}) == {"got": {}, "fds": 0}
        await server.close()

    run(scenario)


def test_paths_that_cannot_be(run: Run, tmp_path: Path) -> None:
    async def scenario() -> None:
        (tmp_path / "file").touch()
        with pytest.raises(ConflictError, match="a file of that name exists"):
            await AttachServer(str(tmp_path / "file"), echo).start()
        with pytest.raises(UsageError, match="too long"):
            await AttachServer(str(tmp_path / ("x" * 200)), echo).start()
        with pytest.raises(UsageError, match="No such file or directory"):
            await AttachServer(str(tmp_path / "none" / "s"), echo).start()

    run(scenario)
    assert (tmp_path / "file").is_file()
