from __future__ import annotations

import os
import secrets
import socket
from pathlib import Path

import pytest

from vxswitch.control.notify import notify, watchdog_seconds


@pytest.mark.parametrize("abstract", [False, True])
def test_the_manager_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool) -> None:
    name = f"@vxswitch-{secrets.token_hex(4)}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name[1:] if abstract else name)
        manager.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        notify("READY=1", "STATUS=fine")
        assert manager.recv(100) == b"READY=1\nSTATUS=fine"


@pytest.mark.parametrize("address", ["", "nonsense", "/no/such/socket"])
def test_without_a_manager_nothing_happens(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    notify("READY=1")
    monkeypatch.delenv("NOTIFY_SOCKET")
    notify("READY=1")
    assert watchdog_seconds() is None


@pytest.mark.parametrize(
    ("microseconds", "pid", "seconds"),
    [("2000000", "", 1.0), ("2000000", str(os.getpid()), 1.0), ("2000000", "1", None), ("", "", None), ("x", "", None)],
)
def test_the_watchdog_is_fed_twice_as_often_as_it_must_be(
    monkeypatch: pytest.MonkeyPatch, microseconds: str, pid: str, seconds: float | None
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", microseconds)
    monkeypatch.setenv("WATCHDOG_PID", pid)
    assert watchdog_seconds() == seconds
