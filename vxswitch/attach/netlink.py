"""One way to speak netlink: a socket opened where it is needed, errors that name the thing, dumps that are whole.

pyroute2's own ``netns=`` argument forks a child to open the socket; here the calling thread steps into the namespace
instead (netns.enter). pyroute2 fails under a *running* uvloop (it takes the loop of the thread it is called in), so
everything built on this module is synchronous: call it through ``asyncio.to_thread``.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from pyroute2.iproute.linux import IPRoute
from pyroute2.netlink.exceptions import NetlinkDumpInterrupted, NetlinkError

from vxswitch.attach.netns import Netns, enter
from vxswitch.errors import VxswitchError

Message = Any  # pyroute2's nlmsg: fields by [name], attributes by .get(name); untyped

_DUMP_ATTEMPTS = 20
_DUMP_PAUSE = 0.01  # seconds


@contextmanager
def opened(netns: Netns | None = None) -> Iterator[Any]:
    """A pyroute2 ``IPRoute`` in ``netns`` (None: the caller's); the thread stays inside while the body runs."""
    with enter(netns) if netns is not None else nullcontext(), IPRoute(ext_ack=True) as ipr:
        yield ipr


@contextmanager
def asking(what: str) -> Iterator[None]:
    """Turn an error of the kernel into ``cannot WHAT: reason``; bodies handle the codes they expect themselves."""
    try:
        yield
    except NetlinkError as error:
        hint = ": this needs root or CAP_NET_ADMIN there" if error.code == errno.EPERM else ""
        raise VxswitchError(f"cannot {what}: {error.args[1]}{hint}") from None


def dump(ask: Callable[[], Any]) -> list[Message]:
    """The answer to a dump request, asked again while the table changes under it (NLM_F_DUMP_INTR)."""
    for _ in range(_DUMP_ATTEMPTS):
        try:
            return list(ask())
        except NetlinkDumpInterrupted:
            time.sleep(_DUMP_PAUSE)
    raise VxswitchError("cannot read the kernel's tables: they changed during each of 20 attempts: try again")
