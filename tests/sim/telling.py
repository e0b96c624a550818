"""What happens in a run, line by line: virtual time, whose log it is, and every change of the store's tables."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from tests.sim.loop import OWNER, SimLoop
from tests.sim.world import World
from vxswitch.model import Claimed

log = logging.getLogger("store")


def tell(world: World) -> None:
    """Print it from now on."""
    logging.setLogRecordFactory(_record)
    logging.basicConfig(level=logging.DEBUG, format="%(at)7.3f %(who)-5s %(message)s", force=True)
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    world.server.hub.listeners.append(lambda vni: _change(world, vni))


def _change(world: World, vni: int) -> None:
    change: Any = world.server.hub.tables[vni].log[-1].change
    if isinstance(change, Claimed):
        claim = change.claim
        log.info("== %d: %s is %s's, rev %d %s", vni, claim.mac.hex(":"), claim.node, claim.rev, ",".join(claim.flags))
    else:
        who = change.mac.hex(":") if hasattr(change, "mac") else getattr(change.node, "name", change.node)
        log.info("== %d: %s %s, rev %d", vni, type(change).__name__, who, change.rev)


def _record(*args: Any, **options: Any) -> logging.LogRecord:
    record = logging.LogRecord(*args, **options)
    owner = OWNER.get()
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        loop = None  # type: ignore[assignment]
    record.at = loop.now - 1000.0 if isinstance(loop, SimLoop) else 0.0
    record.who = owner.name if owner is not None else "-"
    return record
