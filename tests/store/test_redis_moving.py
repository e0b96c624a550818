"""Where a heartbeat goes while the leases are on their way; with a real slot: test_cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tests.store.nodes import FAST, record
from vxswitch.store.redis_connect import Endpoint, Link, LinkDownError, ServerRefusedError, Word
from vxswitch.store.redis_moving import keep_lease
from vxswitch.store.redis_scripts import Keys
from vxswitch.store.redis_state import State
from vxswitch.store.rules import Clock

KEPT = [1, [500], [], 1000]


class Server:
    """What a test has a server answer, and what it was asked."""

    def __init__(self, host: str, answer: Any) -> None:
        self.endpoint = Endpoint(f"redis://{host}:6379", host, username="u", password="p")
        self.asked: list[Any] = []
        self._answer = answer

    async def pipeline(self, commands: Sequence[Sequence[Word]]) -> list[Any]:
        self.asked += [command[0] for command in commands]
        return [*[b"OK"] * (len(commands) - 1), self._answer]

    async def close(self) -> None:
        self.asked.append("closed")


@pytest.fixture
def state() -> State:
    state = State("x", Keys("c"), FAST, Clock())
    state.node = record("one")
    return state


async def test_the_old_owner_is_asked_first(state: State) -> None:
    old = Server("h1", KEPT)
    assert await keep_lease(old, state, ["two"]) == KEPT  # type: ignore[arg-type]
    assert old.asked == ["EVALSHA"]


@pytest.mark.parametrize(("named", "host"), [(("h2", 7000), "h2"), (("", 7000), "h1")])
async def test_the_new_owner_is_asked_where_it_is_named(
    state: State, monkeypatch: pytest.MonkeyPatch, named: tuple[str, int], host: str
) -> None:
    old, new = Server("h1", ServerRefusedError("ASK", "ASK", named)), Server(host, KEPT)
    opened: list[Endpoint] = []

    async def open_link(endpoint: Endpoint, rules: object) -> Server:
        opened.append(endpoint)
        return new

    monkeypatch.setattr(Link, "open", open_link)
    assert await keep_lease(old, state, []) == KEPT  # type: ignore[arg-type]
    assert [(e.host, e.port, e.username, e.password) for e in opened] == [(host, 7000, "u", "p")]
    assert new.asked == ["SCRIPT", "ASKING", "EVALSHA", "closed"]


async def test_what_goes_wrong_there_is_told(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    old = Server("h1", ServerRefusedError("ASK", "ASK", ("h2", 7000)))

    async def unreachable(endpoint: Endpoint, rules: object) -> Server:
        raise LinkDownError("timeout", "no answer in time")

    monkeypatch.setattr(Link, "open", unreachable)
    with pytest.raises(LinkDownError):
        await keep_lease(old, state, [])  # type: ignore[arg-type]
    refused = Server("h1", ServerRefusedError("NOPERM", "NOPERM"))
    with pytest.raises(ServerRefusedError, match="NOPERM"):
        await keep_lease(refused, state, [])  # type: ignore[arg-type]
