"""All of one VNI at one instant, decoded, and whether it agrees with itself.

One transaction reads meta, rows, members, groups and the last id of the log. Decoding pauses for the event loop every
few hundred rows: frames go on while a large table is read. What makes no sense is left out, counted and named.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from vxswitch.model import Claim, NodeRecord
from vxswitch.store.codec import Poisoned, decode_member, decode_name, decode_row, digest_of
from vxswitch.store.groups import decode_groups
from vxswitch.store.mirror import Mark
from vxswitch.store.redis_connect import Link, ServerRefusedError
from vxswitch.store.redis_state import State

SLICE = 256  # rows decoded without a pause, about 2 ms

K = TypeVar("K")
T = TypeVar("T")


@dataclass(slots=True)
class Tables:
    """What a snapshot found. ``mark`` has the digest of what was decoded, ``stored_digest`` that of the store.

    ``bad_rows``, ``bad_members`` and ``bad_groups`` are the fields whose entries make no sense.
    """

    mark: Mark
    stored_digest: str
    last_id: bytes
    rows: dict[bytes, Claim] = field(default_factory=dict)
    members: dict[str, NodeRecord] = field(default_factory=dict)
    groups: dict[str, frozenset[str]] = field(default_factory=dict)
    bad_rows: list[bytes] = field(default_factory=list)
    bad_members: list[bytes] = field(default_factory=list)
    bad_groups: list[bytes] = field(default_factory=list)

    def is_sound(self) -> bool:
        """Nothing bad in it, the digest is right, and the log ends where meta says."""
        return (
            not self.bad_rows
            and not self.bad_members
            and not self.bad_groups
            and self.stored_digest == f"{self.mark.digest:016x}"
            and self.last_id == b"%d-1" % self.mark.rev
        )


async def fetch(link: Link, state: State, vni: int) -> Tables | None:
    """The tables of a VNI; None if one of its keys has a wrong type. A VNI without meta is an empty one."""
    meta, fdb, log, members, groups = state.keys.parts(vni, "meta", "fdb", "log", "members", "groups")
    answers = await link.transaction(
        [
            ("HMGET", meta, "gen", "rev", "digest"),
            ("HGETALL", fdb),
            ("HGETALL", members),
            ("HGETALL", groups),
            ("XREVRANGE", log, "+", "-", "COUNT", 1),
        ]
    )
    for answer in answers:
        if isinstance(answer, ServerRefusedError):
            if answer.code != "WRONGTYPE":
                raise answer
            state.poisoned(f"VNI {vni}: {answer}")
            return None
    (gen, rev, stored), rows, nodes, listeners, last = answers
    if gen is None and rev is None:
        return Tables(Mark("", 0, 0), "0" * 16, b"0-1")
    good_rev = int(rev) if rev and rev.isdigit() and len(rev) <= 15 else -1
    tables = Tables(
        Mark((gen or b"?").decode("ascii", "replace"), good_rev, 0),
        (stored or b"?").decode("ascii", "replace"),
        last[0][0] if last else b"0-1",
    )
    row_sum = await _decode(state, b"r", rows, tables.rows, tables.bad_rows, partial(_decode_claim, vni))
    member_sum = await _decode(state, b"m", nodes, tables.members, tables.bad_members, _decode_node)
    listener = partial(_decode_listener, tables.members)
    group_sum = await _decode(state, b"g", listeners, tables.groups, tables.bad_groups, listener)
    tables.mark = tables.mark._replace(digest=row_sum ^ member_sum ^ group_sum)
    return tables


def _decode_claim(vni: int, mac: bytes, text: bytes) -> tuple[bytes, Claim]:
    claim = decode_row(vni, mac, text)
    return claim.mac, claim


def _decode_node(name: bytes, text: bytes) -> tuple[str, NodeRecord]:
    node = decode_member(name, text)
    return node.name, node


def _decode_listener(members: Container[str], name: bytes, text: bytes) -> tuple[str, frozenset[str]]:
    node = decode_name(name)
    if node not in members:
        raise Poisoned("groups of a node that is no member")
    return node, decode_groups(text)


async def _decode(
    state: State,
    kind: bytes,
    flat: list[bytes],
    good: dict[K, T],
    bad: list[bytes],
    decode: Callable[[bytes, bytes], tuple[K, T]],
) -> int:
    """Sort the pairs of an HGETALL into good values and bad fields; the digest of the good ones."""
    digest = 0
    for at in range(0, len(flat), 2):
        if at % (2 * SLICE) == 0:
            await asyncio.sleep(0)
        key, text = flat[at], flat[at + 1]
        try:
            name, value = decode(key, text)
            good[name] = value
            digest ^= digest_of(b"%b%b %b" % (kind, key, text))
        except Poisoned as error:
            state.poisoned(error)
            bad.append(key)
    return digest
