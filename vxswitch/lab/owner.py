"""Who owns which lab: the records that make clean-up crash-safe.

Every lab is known by an id that occurs in the name of each namespace it makes (`vxl-ID-...`).
Before the first namespace exists, a record `/run/vxswitch-lab/ID.json` is written with the pid and
the start time of the process that owns it; beside it stands the lab's directory (sockets, state, logs).
A record whose owner is gone belongs to a lab that crashed: `sweep` removes what it left behind.
A lab that shall outlive its maker (`vxswitch lab up`) has a record without an owner: only `down` ends it.

Removal kills nothing by name: only processes whose network namespace *is* one of the lab's own,
each through a pidfd, so that a pid that was reused meanwhile is never hit.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from vxswitch.errors import UsageError, VxswitchError

RUN_DIR = Path("/run/vxswitch-lab")
NETNS_DIR = Path("/run/netns")
_ID = re.compile(r"[a-z0-9]{1,16}")


class LabError(VxswitchError):
    """A lab could not do what it was asked: what failed, on what, and what the tools said."""


@dataclass(frozen=True, slots=True)
class Owner:
    """One lab on this machine. `pid` 0: kept on purpose, nobody's process owns it."""

    id: str
    pid: int
    start: int
    created: float

    @property
    def prefix(self) -> str:
        return f"vxl-{self.id}-"

    @property
    def directory(self) -> Path:
        return RUN_DIR / self.id

    @property
    def record(self) -> Path:
        return RUN_DIR / f"{self.id}.json"

    def alive(self) -> bool:
        """True while the lab is in use or kept; False when its owner died without removing it."""
        return self.pid == 0 or process_start(self.pid) == self.start

    def write(self) -> None:
        """Replace the record in one step."""
        fresh = self.record.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(self)) + "\n")
        fresh.rename(self.record)


def claim(name: str | None) -> Owner:
    """Reserve an id (random when `name` is None) for this process and make the lab's directory."""
    if os.geteuid() != 0:
        raise LabError("a lab needs root: it makes network namespaces; run it as root (sudo)")
    identity = name or f"{os.getpid():x}{secrets.token_hex(2)}"
    if not _ID.fullmatch(identity):
        raise UsageError(f"lab name {identity!r}: 1 to 16 lower-case letters and digits are allowed")
    pid = os.getpid()
    owner = Owner(identity, pid, process_start(pid), time.time())
    RUN_DIR.mkdir(mode=0o700, exist_ok=True)
    try:
        owner.directory.mkdir(mode=0o700)
    except FileExistsError:
        raise LabError(f"lab {identity!r} exists: choose another name, or `vxswitch lab down {identity}`") from None
    owner.write()
    return owner


def keep(owner: Owner) -> Owner:
    """Let the lab outlive this process."""
    kept = Owner(owner.id, 0, 0, owner.created)
    kept.write()
    return kept


def labs() -> list[Owner]:
    """All labs with a record, oldest first."""
    found = []
    for path in RUN_DIR.glob("*.json"):
        with contextlib.suppress(FileNotFoundError, ValueError, TypeError):
            found.append(Owner(**json.loads(path.read_text())))
    return sorted(found, key=lambda owner: owner.created)


def sweep() -> list[str]:
    """Remove what crashed labs left behind; returns their ids."""
    dead = [owner for owner in labs() if not owner.alive()]
    for owner in dead:
        remove(owner)
    return [owner.id for owner in dead]


def remove(owner: Owner) -> None:
    """End the lab: its processes, its namespaces, its directory, and last its record."""
    names = namespaces(owner)
    _kill_inside(names)
    for name in names:
        subprocess.run(["ip", "netns", "del", name], capture_output=True, timeout=10, check=False)
    shutil.rmtree(owner.directory, ignore_errors=True)
    owner.record.unlink(missing_ok=True)
    left = namespaces(owner)
    if left:
        raise LabError(f"lab {owner.id}: cannot remove namespaces {', '.join(left)}")


def namespaces(owner: Owner) -> list[str]:
    """Full names of the namespaces that exist for this lab."""
    if not NETNS_DIR.is_dir():
        return []
    return sorted(path.name for path in NETNS_DIR.iterdir() if path.name.startswith(owner.prefix))


def _kill_inside(names: list[str]) -> None:
    """SIGKILL every process in these namespaces (never this one) until none is left."""
    inodes = set()
    for name in names:
        with contextlib.suppress(OSError):
            inodes.add(inode(NETNS_DIR / name))
    deadline = time.monotonic() + 10.0
    while pids := list(_pids_inside(inodes)):
        if time.monotonic() > deadline:
            raise LabError(f"processes {pids} do not end after SIGKILL")
        for pid in pids:
            _kill(pid, inodes)
        time.sleep(0.005)


def _pids_inside(inodes: set[tuple[int, int]]) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if inode(entry / "ns/net") in inodes:
                    yield int(entry.name)


def _kill(pid: int, inodes: set[tuple[int, int]]) -> None:
    with contextlib.suppress(OSError):
        pidfd = os.pidfd_open(pid)
        try:
            if inode(Path(f"/proc/{pid}/ns/net")) in inodes:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        finally:
            os.close(pidfd)


def inode(path: Path) -> tuple[int, int]:
    """What makes two paths the same namespace: device and inode."""
    status = path.stat()
    return status.st_dev, status.st_ino


def process_start(pid: int) -> int:
    """Start time of a process in clock ticks since boot (proc(5), field 22 of stat); -1: no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return -1
    return int(stat.rpartition(")")[2].split()[19])
