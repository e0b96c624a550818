"""Membership of VNIs as script calls: join, leave, and deleting what the dead left behind.

Besides the members of each VNI the store keeps, per node, the set of VNIs that it joined: a node that comes back
with fewer networks finds there what to leave.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from vxswitch.store import redis_scripts as scripts
from vxswitch.store.codec import encode_member
from vxswitch.store.groups import encode_groups
from vxswitch.store.redis_claims import run_repairing
from vxswitch.store.redis_connect import Link, Word
from vxswitch.store.redis_state import State

ROWS = 512  # rows that one call deletes


async def join_all(link: Link, state: State, vnis: Sequence[int]) -> dict[int, int]:
    """Become a member of these VNIs with the groups that were set in them; for each the rev after it.

    Those where we may not write now are missing.
    """
    record = encode_member(state.node)
    joined_key, runs = state.keys.joined(state.node.name), []
    for vni in vnis:
        groups = encode_groups(state.groups[vni]) if vni in state.groups else "="
        runs.append((vni, _run(state, scripts.JOIN, vni, [joined_key], record, vni, groups)))
    answers = await run_repairing(link, state, runs)
    return {vni: int(rev) for vni, (refused, rev) in zip(vnis, answers, strict=True) if not refused}


async def leave(link: Link, state: State, vni: int) -> None:
    """No longer be a member, and own no row."""
    done = 0
    while not done:
        run = _run(state, scripts.LEAVE, vni, [state.keys.joined(state.node.name)], vni, ROWS)
        _, done = (await run_repairing(link, state, [(vni, run)]))[0]


async def reap(link: Link, state: State, vni: int, dead: str) -> None:
    """Delete what a node has in a VNI, if the server finds that it has been dead for the grace period."""
    grace_ms = int(state.rules.grace * 1000)
    answer = b"more"
    while answer == b"more":
        run = _run(state, scripts.REAP, vni, [state.keys.joined(dead), state.keys.heard], vni, ROWS, dead, grace_ms)
        answer = (await run_repairing(link, state, [(vni, run)]))[0]


async def joined(link: Link, state: State) -> set[int]:
    """The VNIs that this node is a member of, as the store knows them, whichever start of the node joined them."""
    answer = (await link.pipeline([("SMEMBERS", state.keys.joined(state.node.name))]))[0]
    words = answer if isinstance(answer, list) else []
    return {int(word) for word in words if word.isdigit() and len(word) <= 8}


def _run(state: State, script: scripts.Script, vni: int, more_keys: list[str], *words: Word) -> scripts.Run:
    keys = [*state.keys.of_vni(vni), *more_keys]
    return scripts.Run(script, keys, [*state.caller(), secrets.token_hex(8), *words])
