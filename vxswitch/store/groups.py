"""The multicast groups of a node in one VNI: as sets, as the text that stands in the store, and in the digest.

The text is ``ADDRESS,ADDRESS...``, canonical, sorted and never empty: a node without groups has no entry. It may be
long, so the log has only what changed: ``+ADDRESS,-ADDRESS...``. ``0.0.0.0`` and ``::`` stand for a multicast router.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from vxswitch.errors import UsageError
from vxswitch.store.codec import Poisoned, decode_ascii, digest_of

MAX_GROUPS = 1024  # of one node in one VNI
GROUPS_BYTES = MAX_GROUPS * 40  # 39 characters (an IPv6 address in full) and a comma for each

NONE: frozenset[str] = frozenset()


def canonical_groups(groups: Iterable[str]) -> frozenset[str]:
    """Groups as the store has them; UsageError if one is no group, or if there are too many."""
    found = set()
    for group in groups:
        try:
            ip = ipaddress.ip_address(group)
        except ValueError as error:
            raise UsageError(f"multicast group: {error}") from None
        if not (ip.is_multicast or ip.is_unspecified) or getattr(ip, "scope_id", None):
            raise UsageError(f"multicast group {group!r}: want the address of a group, 0.0.0.0 or ::")
        found.add(str(ip))
    if len(found) > MAX_GROUPS:
        raise UsageError(f"{len(found)} multicast groups: want at most {MAX_GROUPS}")
    return frozenset(found)


def encode_groups(groups: frozenset[str]) -> str:
    """The text, empty for none."""
    return ",".join(sorted(groups))


def decode_groups(value: bytes) -> frozenset[str]:
    """Groups from their text; Poisoned."""
    text = decode_ascii(value, GROUPS_BYTES)
    try:
        groups = canonical_groups(text.split(","))
    except UsageError as error:
        raise Poisoned(str(error)) from None
    if encode_groups(groups) != text:
        raise Poisoned(f"groups {text[:64]}")
    return groups


def groups_after(before: frozenset[str], changes: bytes) -> frozenset[str]:
    """Groups after a change as the log has it; Poisoned if it does not follow."""
    words = decode_ascii(changes, 2 * (GROUPS_BYTES + MAX_GROUPS)).split(",")
    added = frozenset(word[1:] for word in words if word.startswith("+"))
    taken = frozenset(word[1:] for word in words if word.startswith("-"))
    if len(added) + len(taken) != len(words) or added & before or not taken <= before:
        raise Poisoned(f"change of groups {changes[:64]!r}")
    after = (before - taken) | added
    return decode_groups(encode_groups(after).encode()) if after else NONE


def groups_digest(node: str, groups: frozenset[str]) -> int:
    """What a node's groups add to the digest of a VNI."""
    return digest_of(f"g{node} {encode_groups(groups)}".encode()) if groups else 0
