from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cli.fake_api import FakeApi
from vxswitch.cli.main import execute


@dataclass
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def api():
    with tempfile.TemporaryDirectory(prefix="vx-api-") as directory, FakeApi(Path(directory) / "s") as served:
        yield served


@pytest.fixture
def vx(api, capsys, monkeypatch):
    """Runs ``vxswitch`` with these words against the fake API, in this process."""
    monkeypatch.setenv("VXSWITCH_SOCKET", str(api.path))

    def run(*words: str) -> Ran:
        code = execute(words)
        return Ran(code, *capsys.readouterr())

    return run
