"""Running a piece of a test as nobody, in a child process."""

from __future__ import annotations

import os
from collections.abc import Callable

NOBODY = 65534


def as_nobody(function: Callable[[], str]) -> str:
    """What ``function`` returns, or ``Class: message`` of what it raises, in a child without any privilege."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            text = function()
        except BaseException as error:
            text = f"{type(error).__name__}: {error}"
        os.write(writer, text.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        text = pipe.read().decode()
    os.waitpid(child, 0)
    return text
