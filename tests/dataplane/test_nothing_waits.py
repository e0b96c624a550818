"""Nothing on the way of a frame awaits, locks, logs or knows the store, neither itself nor in what it imports.

In a running switch (hung store, ten thousand rows at once) tests/net/test_store_faults.py shows it.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import vxswitch

ROOMS = ("dataplane", "fdb", "offload", "wire")
ABSENT = {"redis", "hiredis", "asyncio", "uvloop", "aiohttp", "logging", "threading", "multiprocessing", "queue"}
ABSENT |= {"vxswitch.store", "vxswitch.control", "vxswitch.config", "vxswitch.attach"}
IMPORT_ALL = """
import importlib, json, pkgutil, sys
import vxswitch
for room in sys.argv[1:]:
    package = importlib.import_module(f"vxswitch.{room}")
    for module in pkgutil.iter_modules(getattr(package, "__path__", [])):
        importlib.import_module(f"{package.__name__}.{module.name}")
print(json.dumps(sorted(sys.modules)))
"""


def sources() -> Iterator[Path]:
    """The files on the way of a frame."""
    house = Path(vxswitch.__file__).parent
    for room in ROOMS:
        yield from [house / f"{room}.py"] if (house / f"{room}.py").exists() else sorted((house / room).glob("*.py"))


def test_the_way_of_a_frame_loads_neither_a_loop_nor_a_store() -> None:
    """What is loaded, directly or by others, when all its modules are."""
    argv = [sys.executable, "-c", IMPORT_ALL, *ROOMS]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    assert ABSENT.isdisjoint(json.loads(done.stdout))


@pytest.mark.parametrize("path", list(sources()), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_nothing_in_it_awaits_or_sleeps(path: Path) -> None:
    waiting = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)
    found = [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, waiting) or (isinstance(node, ast.Attribute) and node.attr in ("sleep", "acquire"))
    ]
    assert found == []
