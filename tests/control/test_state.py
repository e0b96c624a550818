from __future__ import annotations

import asyncio
import json
import logging
import os
from pathlib import Path

import pytest

from vxswitch.control.state import StateDir, keep_epoch
from vxswitch.errors import ConflictError, UsageError
from vxswitch.model import NodeRecord
from vxswitch.store.memory import MemoryStore
from vxswitch.store.memory_hub import MemoryHub
from vxswitch.store.rules import Clock, Rules


def test_the_directory_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    state = StateDir(tmp_path / "a" / "node")
    assert state.path.stat().st_mode & 0o777 == 0o700
    state.close()


def test_the_id_is_kept_and_the_epoch_grows_with_each_start(tmp_path: Path) -> None:
    starts = []
    for _ in range(3):
        state = StateDir(tmp_path)
        starts.append((state.uid, state.epoch))
        state.close()
    uid = starts[0][0]
    assert starts == [(uid, 1), (uid, 2), (uid, 3)]
    assert len(uid) == 16


def test_the_epoch_is_on_disk_before_the_start_goes_on(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    assert json.loads((tmp_path / "node.json").read_bytes())["epoch"] == state.epoch
    state.close()


def test_a_later_epoch_is_kept_for_the_next_start(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    for epoch in (5, 4):
        state.note_epoch(epoch)
    state.close()
    again = StateDir(tmp_path)
    assert (again.uid, again.epoch) == (state.uid, 6)
    again.close()


async def test_a_start_is_not_fenced_by_a_life_whose_lease_had_run_out(tmp_path: Path) -> None:
    """The store gave that life two later epochs; it crashed with a lease, and the next start comes within it."""
    now = 1000.0
    hub = MemoryHub(Clock(lambda: now, lambda: now), Rules())
    state, store = StateDir(tmp_path), MemoryStore(hub, beating=False)
    await store.start(NodeRecord("one", state.uid, state.epoch, ()), lambda vni: ())
    keeping = asyncio.create_task(keep_epoch(state, store))
    for _ in range(2):
        now += 10.0
        store.beat()
    assert store.node.epoch == state.epoch + 2
    for _ in range(400):
        await asyncio.sleep(0.025)
        if json.loads((tmp_path / "node.json").read_bytes())["epoch"] == store.node.epoch:
            break
    keeping.cancel()
    store.cut = True
    state.close()
    again, fresh = StateDir(tmp_path), MemoryStore(hub, beating=False)
    await fresh.start(NodeRecord("one", again.uid, again.epoch, ()), lambda vni: ())
    assert fresh.status().state == "up"
    assert fresh.node.epoch == again.epoch > store.node.epoch
    again.close()


def test_a_second_switch_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    with pytest.raises(ConflictError, match=rf"in use by process {os.getpid()}") as refused:
        StateDir(tmp_path)
    assert refused.value.exit_code == 2
    state.close()
    StateDir(tmp_path).close()


def test_a_directory_that_cannot_be_made_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="--state-dir"):
        StateDir(tmp_path / "file" / "node")


@pytest.mark.parametrize("content", ["{", "[]", '{"uid": "", "epoch": 1}', '{"uid": "a", "epoch": true}', "\x00"])
def test_a_corrupt_identity_is_moved_aside_and_replaced(
    tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "node.json").write_text(content)
    with caplog.at_level(logging.ERROR):
        state = StateDir(tmp_path)
    assert state.epoch == 1
    assert (tmp_path / "node.corrupt").read_text() == content
    assert "node.json" in caplog.text and "node.corrupt" in caplog.text
    state.close()


def test_documents_come_back_as_they_were_written(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    assert state.read("ports") is None
    state.write("ports", [{"id": "a"}])
    state.write("ports", [{"id": "b"}])
    assert state.read("ports") == [{"id": "b"}]
    assert not list(tmp_path.glob("*.tmp"))
    state.close()


def test_a_corrupt_document_is_moved_aside_and_there_is_none(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    (tmp_path / "ports.json").write_text('[{"id"')
    assert state.read("ports") is None
    assert (tmp_path / "ports.corrupt").read_text() == '[{"id"'
    assert not (tmp_path / "ports.json").exists()
    state.close()


def test_a_write_that_fails_leaves_the_old_document(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    state.write("ports", [1])
    with pytest.raises(TypeError):
        state.write("ports", {1, 2})  # not JSON
    assert state.read("ports") == [1]
    state.close()
