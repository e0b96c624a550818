"""Fixtures of the attach tests: namespaces, and descriptors that are closed when a test ends."""

import contextlib
import os
from collections.abc import Callable, Iterator

import pytest

from tests.kernel.namespaces import namespace, pair

__all__ = ["keep", "namespace", "pair"]


@pytest.fixture
def keep() -> Iterator[Callable[[int], int]]:
    """Takes a descriptor over and closes it at the end of the test; the test itself must not close it."""
    with contextlib.ExitStack() as stack:

        def take(fd: int) -> int:
            stack.callback(os.close, fd)
            return fd

        yield take
