"""What is asked about a VNI now and then: its log, its digest, how far each member has come. Nothing is kept.

The log is what readers follow; beside what they need, each entry has the time and a few words of why. It is read from
its end, page by page, and nothing in it is trusted: an entry that makes no sense is counted and left out.
"""

from __future__ import annotations

import re

from vxswitch.model import LogEntry
from vxswitch.store import redis_scripts as scripts
from vxswitch.store.base import VniDigest
from vxswitch.store.codec import Poisoned, decode_mac, decode_name, decode_row
from vxswitch.store.redis_claims import run_repairing, vni_run
from vxswitch.store.redis_connect import Link, ServerRefusedError
from vxswitch.store.redis_snapshot import fetch
from vxswitch.store.redis_state import State

PAGE = 512  # entries in one answer

_ID = re.compile(rb"(\d{1,15})-1")
_TIME = re.compile(rb"\d{1,11}\.\d{6}")
_WORDS = re.compile(rb"[ -~]{0,200}")


async def history(link: Link, state: State, vni: int, mac: bytes | None, limit: int) -> list[LogEntry]:
    """The latest entries of the log (about one MAC), the newest last."""
    log, found, before = state.keys.parts(vni, "log")[0], list[LogEntry](), "+"
    while True:
        page = await link.call("XREVRANGE", log, before, "-", "COUNT", PAGE)
        for entry_id, fields in page:
            try:
                entry = decode_entry(vni, entry_id, dict(zip(fields[::2], fields[1::2], strict=True)))
            except (Poisoned, KeyError, ValueError) as error:
                state.poisoned(error)
                continue
            if mac in (None, entry.mac):
                found.append(entry)
            if len(found) >= limit:
                return found[::-1]
        if len(page) < PAGE:
            return found[::-1]
        before = f"({page[-1][0].decode()}"


async def digest(link: Link, state: State, vni: int) -> VniDigest:
    """Rev, and digest and number of all entries that make sense, computed here."""
    tables = await fetch(link, state, vni)
    if tables is None:
        raise ServerRefusedError("WRONGTYPE", f"VNI {vni}: a key is of a wrong type")
    return VniDigest(tables.mark.rev, f"{tables.mark.digest:016x}", len(tables.rows))


async def acks(link: Link, state: State, vni: int) -> dict[str, int]:
    """How far the members with a live lease have come; 0: not said yet."""
    flat = (await run_repairing(link, state, [(vni, vni_run(state, scripts.ACKS, vni))]))[0]
    pairs = zip(flat[::2], flat[1::2], strict=True)
    return {name.decode("ascii", "replace"): int(rev) for name, rev in pairs if rev.isdigit() and len(rev) <= 15}


def decode_entry(vni: int, entry_id: bytes, fields: dict[bytes, bytes]) -> LogEntry:
    """An entry of the log; Poisoned, KeyError, ValueError. Time and reason may be missing."""
    number = _ID.fullmatch(entry_id)
    if number is None:
        raise Poisoned(f"log id {entry_id[:20]!r}")
    op, key, value = fields[b"op"], fields[b"key"], fields[b"val"]
    mac, node = decode_mac(key) if op in (b"claim", b"withdraw") else None, None
    if op == b"claim":
        node = decode_row(vni, key, value).node
    elif op == b"withdraw":
        node = decode_name(value)
    elif op in (b"join", b"leave", b"lapse", b"groups"):
        node = decode_name(key)
    elif op != b"reset":
        raise Poisoned(f"operation {op[:20]!r}")
    at, why = fields.get(b"at", b""), value if op == b"groups" else fields.get(b"why", b"")
    return LogEntry(
        rev=int(number[1]),
        kind=op.decode(),
        time=float(at) if _TIME.fullmatch(at) else 0.0,
        mac=mac,
        node=node,
        detail=why[:200].decode() if _WORDS.fullmatch(why[:200]) else "",
    )
