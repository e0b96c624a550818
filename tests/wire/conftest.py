"""A buffer in which a write outside the frame cannot hide."""

from collections.abc import Callable

import pytest

FILL = 0xA5
MARGIN = 24


class Canvas:
    """A frame in the middle of a buffer of 0xA5: `buf[start : start + length]` is the frame."""

    def __init__(self, frame: bytes) -> None:
        self.start = MARGIN
        self.length = len(frame)
        self._memory = bytearray([FILL]) * (MARGIN + len(frame) + MARGIN)
        self._memory[MARGIN : MARGIN + len(frame)] = frame
        self.buf = memoryview(self._memory)

    def frame(self, shift: int = 0) -> bytes:
        """The frame as it stands now, from `shift` bytes on; fails if anything around it was written."""
        end = self.start + self.length
        assert set(self._memory[: self.start]) | set(self._memory[end:]) == {FILL}, "written outside the frame"
        return bytes(self._memory[self.start + shift : end])


@pytest.fixture(scope="session")
def canvas() -> Callable[[bytes], Canvas]:
    """Makes a Canvas of a frame. Session-wide because it keeps nothing: hypothesis may call it for every example."""
    return Canvas
