"""What a call costs in Python, counted and not timed: instructions of the interpreter, bytes of memory."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable
from types import FrameType
from typing import Any


def instructions(function: Callable[..., Any], *arguments: object) -> int:
    """Bytecode instructions that the call executes, in Python code of whatever depth; after one call to warm up."""
    function(*arguments)
    count = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal count
        frame.f_trace_opcodes = True
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function(*arguments)
    finally:
        sys.settrace(before)
    return count


def peak_bytes(function: Callable[..., Any], *arguments: object, kept: bool = False) -> int:
    """Most memory that the call holds at once beyond what was there, in bytes, after one call to warm up.

    `kept`: instead, what it has not given back when it is done.
    """
    function(*arguments)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        function(*arguments)
        now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return (now if kept else peak) - before
