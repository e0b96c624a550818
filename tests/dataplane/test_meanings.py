"""What the kernel's errors mean; that the kernel says them is proved in tests/kernel, and here by test_underlay."""

from __future__ import annotations

import errno

import pytest

from vxswitch.counters import Drop
from vxswitch.dataplane import meanings


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (errno.EAGAIN, Drop.UNDERLAY_BUSY),
        (errno.ENOBUFS, Drop.UNDERLAY_BUSY),
        (errno.EMSGSIZE, Drop.UNDERLAY_MTU),
        (errno.EADDRNOTAVAIL, Drop.NO_VTEP_ADDRESS),
        (errno.EPERM, Drop.UNDERLAY_ERROR),  # a firewall on the host
        (errno.ECONNREFUSED, Drop.UNDERLAY_ERROR),
        (errno.ENETUNREACH, Drop.UNDERLAY_ERROR),
        (None, Drop.UNDERLAY_ERROR),
    ],
)
def test_a_refused_send(code: int | None, reason: Drop) -> None:
    assert meanings.of_send(OSError(code, "")) is reason


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (errno.EAGAIN, Drop.PORT_BUSY),
        (errno.ENOBUFS, Drop.PORT_BUSY),
        (errno.EIO, Drop.PORT_DOWN),
        (errno.EBADFD, Drop.PORT_GONE),
        (errno.EBADF, Drop.PORT_GONE),
        (errno.ENODEV, Drop.PORT_GONE),
        (errno.EINVAL, Drop.BAD_VNET_HDR),
        (errno.EPERM, Drop.PORT_DOWN),
    ],
)
def test_a_refused_write(code: int, reason: Drop) -> None:
    assert meanings.of_tap_write(OSError(code, "")) is reason


def test_what_may_be_another_peers_error_is_never_certain_at_once() -> None:
    """conformance.md names them; EMSGSIZE is both: another's, or this run's own."""
    assert {errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EPROTO, errno.EMSGSIZE} <= meanings.PENDING
    assert errno.EMSGSIZE in meanings.SEGMENT_TOO_LARGE
    assert errno.EIO in meanings.NO_SEGMENTATION
    assert not meanings.NO_SEGMENTATION & meanings.PENDING
