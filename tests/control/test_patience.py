from __future__ import annotations

import asyncio

import pytest

from vxswitch.control.patience import PATIENCE, deadline, patiently
from vxswitch.errors import StoreUnavailableError


async def test_an_answer_in_time_is_the_answer() -> None:
    assert await patiently(asyncio.sleep(0, "answer"), deadline()) == "answer"


async def test_no_answer_in_time_is_an_unavailable_store() -> None:
    with pytest.raises(StoreUnavailableError, match="has not answered in time"):
        await patiently(asyncio.Event().wait(), deadline(0.01))


async def test_several_calls_share_one_deadline() -> None:
    until = deadline(0.02)
    with pytest.raises(StoreUnavailableError):
        await patiently(asyncio.Event().wait(), until)
    with pytest.raises(StoreUnavailableError):
        await patiently(asyncio.Event().wait(), until)
    assert PATIENCE == 3.0  # what the interface promises
