"""What a node keeps on disk: who it is, how often it started, and its ports and networks.

One directory (mode 0700) per node, locked for as long as the switch runs: the lock goes with the process, whatever
ends it. ``node.json`` has the node's random id, kept for ever, and its epoch, which is one higher at each start and on
disk before anyone hears of it; a later one that the store gives is kept, too (``keep_epoch``). Everything else is a
JSON document by name, replaced as a whole: written beside, synced, renamed, and the directory synced. A document that
cannot be read is moved aside for a human to look at, and the switch goes on as if it had none: what it held is soft
state that ports and networks assert again.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vxswitch.errors import ConflictError, UsageError, VxswitchError
from vxswitch.store.base import Store

log = logging.getLogger(__name__)

_LOCK = "lock"
_NODE = "node"
_UID_BYTES = 8
_LOOK = 0.25  # seconds between two looks at the epoch; a lease that runs out again takes longer


class StateDir:
    """The node's directory, locked. ``uid`` and ``epoch`` are those of this start."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = _take(path)
        try:
            self.uid, self.epoch = self._next_start()
            self._noted = self.epoch
        except BaseException:
            self.close()
            raise

    def read(self, name: str) -> Any:
        """The document ``name``, None if there is none or if it was unreadable and is now moved aside."""
        content = self.read_bytes(name)
        try:
            return json.loads(content) if content is not None else None
        except ValueError as error:
            self.move_aside(name, str(error))
            return None

    def read_bytes(self, name: str, limit: int | None = None) -> bytes | None:
        """The document as it stands on disk; None if there is none, or one over ``limit`` bytes (it is moved aside)."""
        file = self._file(name)
        try:
            if limit is not None and (size := file.stat().st_size) > limit:
                self.move_aside(name, f"{size} bytes, more than {limit}")
                return None
            return file.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise VxswitchError(f"cannot read {file}: {error.strerror}") from None

    def write(self, name: str, document: Any) -> None:
        """Replace the document ``name``, see ``write_bytes``."""
        self.write_bytes(name, [json.dumps(document, indent=1).encode()])

    def keep(self, name: str, document: Any) -> None:
        """Replace the document ``name`` if that is possible; if not, what is on disk is soft state, and stays."""
        try:
            self.write(name, document)
        except VxswitchError as error:
            log.error("%s: going on with the old one on disk", error)

    def write_bytes(self, name: str, parts: Iterable[bytes]) -> None:
        """Replace the document ``name``: after a crash at any moment either the old or the new one is there."""
        file = self._file(name)
        fresh = file.with_suffix(".tmp")
        try:
            with fresh.open("wb") as out:
                out.writelines(parts)
                out.flush()
                os.fsync(out.fileno())
            fresh.replace(file)
            self._sync_directory()
        except OSError as error:
            raise VxswitchError(f"cannot write {file}: {error.strerror}") from None

    def note_epoch(self, epoch: int) -> None:
        """The node lives by a later epoch now: the next start must be later still."""
        if epoch > self._noted:
            self.write(_NODE, {"uid": self.uid, "epoch": epoch})
            self._noted = epoch

    def move_aside(self, name: str, why: str) -> None:
        """Keep a document that makes no sense as ``NAME.corrupt`` and say so."""
        file = self._file(name)
        kept = file.with_suffix(".corrupt")
        file.replace(kept)
        log.error("state file %s is unreadable (%s): kept as %s, going on without it", file, why, kept)

    def close(self) -> None:
        """Give the lock back."""
        os.close(self._lock)

    def _file(self, name: str) -> Path:
        return self.path / f"{name}.json"

    def _next_start(self) -> tuple[str, int]:
        found = self.read(_NODE)
        if found is not None and not _is_node(found):
            self.move_aside(_NODE, "want {uid, epoch}")
            found = None
        uid = found["uid"] if found else secrets.token_hex(_UID_BYTES)
        epoch = found["epoch"] + 1 if found else 1
        self.write(_NODE, {"uid": uid, "epoch": epoch})
        return uid, epoch

    def _sync_directory(self) -> None:
        fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


async def keep_epoch(state: StateDir, store: Store) -> None:
    """For ever: note the later epoch with which a node whose lease had run out goes on.

    Without it on disk, what this life leaves in the store would fence the next start until its lease is over.
    """
    while True:
        await asyncio.sleep(_LOOK)
        if store.node.epoch > state.epoch:
            await asyncio.to_thread(state.note_epoch, store.node.epoch)


def _is_node(found: Any) -> bool:
    if not isinstance(found, dict):
        return False
    uid, epoch = found.get("uid"), found.get("epoch")
    return isinstance(uid, str) and bool(uid) and isinstance(epoch, int) and not isinstance(epoch, bool) and epoch > 0


def _take(path: Path) -> int:
    """Make the directory and lock it; ConflictError names the process that has it."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)
        fd = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError(f"state directory {path}: {error.strerror}: give another --state-dir") from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(fd, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(fd)
        raise ConflictError(
            f"state directory {path} is in use by process {holder}: stop that switch or give another --state-dir"
        ) from None
    try:
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    except OSError as error:
        os.close(fd)
        raise VxswitchError(f"cannot write into state directory {path}: {error.strerror}") from None
    return fd
