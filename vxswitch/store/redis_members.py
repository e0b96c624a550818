"""Membership of VNIs as script calls: join, leave, and deleting what the dead left behind.

Besides the members of each VNI the store keeps, per node, the set of VNIs that it joined: a node that comes back
with fewer networks finds there what to leave.
"""

from __future__ import annotations

import secrets
from typing import Any

from vxswitch.store import redis_scripts as scripts
from vxswitch.store.codec import encode_member
from vxswitch.store.redis_claims import run_repairing
from vxswitch.store.redis_connect import Link, Word
from vxswitch.store.redis_state import State

ROWS = 512  # rows that one call deletes


async def join(link: Link, state: State, vni: int) -> int | None:
    """Become a member; the rev after it, None if we may not write now."""
    refused, rev = await _run(link, state, scripts.JOIN, vni, state.node.name, encode_member(state.node), vni)
    return None if refused else int(rev)


async def leave(link: Link, state: State, vni: int) -> None:
    """No longer be a member, and own no row."""
    done = 0
    while not done:
        _, done = await _run(link, state, scripts.LEAVE, vni, state.node.name, vni, ROWS)


async def reap(link: Link, state: State, vni: int, dead: str) -> None:
    """Delete what a node has in a VNI, if the server finds that it has been dead for the grace period."""
    grace_ms = int(state.rules.grace * 1000)
    answer = b"more"
    while answer == b"more":
        answer = await _run(link, state, scripts.REAP, vni, dead, vni, ROWS, dead, grace_ms)


async def joined(link: Link, state: State) -> set[int]:
    """The VNIs that this node is a member of, as the store knows them, whichever start of the node joined them."""
    answer = (await link.pipeline([("SMEMBERS", state.keys.joined(state.node.name))]))[0]
    words = answer if isinstance(answer, list) else []
    return {int(word) for word in words if word.isdigit() and len(word) <= 8}


async def _run(link: Link, state: State, script: scripts.Script, vni: int, whose: str, *words: Word) -> Any:
    keys = [*state.keys.of_vni(vni), state.keys.joined(whose)]
    run = scripts.Run(script, keys, [*state.caller(), secrets.token_hex(8), *words])
    return (await run_repairing(link, state, [(vni, run)]))[0]
