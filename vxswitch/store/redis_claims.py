"""Claims and releases as script calls, and their answers as rows: used by callers and by the asserter alike."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from vxswitch.model import format_mac
from vxswitch.store import redis_scripts as scripts
from vxswitch.store.base import ClaimResult, LocalMac
from vxswitch.store.codec import Poisoned, decode_row, encode_list, encode_vteps
from vxswitch.store.redis_connect import Link, ServerRefusedError, Word
from vxswitch.store.redis_events import repair
from vxswitch.store.redis_state import State
from vxswitch.store.rules import BATCH

POISON = frozenset({"VXPOISON", "WRONGTYPE"})  # error codes after which a VNI's keys are repaired


async def claim(link: Link, state: State, macs: Sequence[LocalMac]) -> list[ClaimResult]:
    """Claim canonical MACs of any VNIs, in order, in one pipeline."""
    batches = _by_vni(macs)
    runs = [(vni, _claim_run(state, vni, batch)) for vni, batch in batches]
    results: list[ClaimResult] = []
    for (vni, batch), answers in zip(batches, await run_repairing(link, state, runs), strict=True):
        for mac, (refused, row) in zip(batch, answers, strict=True):
            results.append(_result(state, vni, mac.mac, refused.decode(), row))
    return results


async def claim_again(link: Link, state: State, macs: Sequence[LocalMac]) -> None:
    """Claim without new evidence: no MAC is taken from another live node. How the rows stand the log tells."""
    runs = [(vni, _claim_run(state, vni, batch, "reassert")) for vni, batch in _by_vni(macs)]
    for answers in await run_repairing(link, state, runs):
        state.counts.refused.update(refused.decode() for refused, _ in answers if refused)


async def release(link: Link, state: State, macs: Sequence[tuple[int, bytes, int]]) -> None:
    """Give back (VNI, MAC, rev); rev 0: whatever the row's is now."""
    runs = []
    for vni, group in groupby(macs, key=lambda mac: mac[0]):
        pairs = [(format_mac(mac), rev) for _, mac, rev in group]
        for at in range(0, len(pairs), BATCH):
            words = [word for pair in pairs[at : at + BATCH] for word in pair]
            runs.append((vni, vni_run(state, scripts.RELEASE, vni, *words)))
    await run_repairing(link, state, runs)


def vni_run(state: State, script: scripts.Script, vni: int, *words: Word) -> scripts.Run:
    """A call of a script that stands on vni.lua: ARGV[4] is the gen that a new VNI gets."""
    return scripts.Run(script, state.keys.of_vni(vni), [*state.caller(), secrets.token_hex(8), *words])


async def run_repairing(link: Link, state: State, runs: Sequence[tuple[int, scripts.Run]]) -> list[Any]:
    """Scripts over VNIs, in one go; where keys turn out to be poisoned they are repaired, and it runs again."""
    answers = await scripts.run_all(link, [run for _, run in runs])
    for at, (vni, run) in enumerate(runs):
        if isinstance(answers[at], ServerRefusedError) and answers[at].code in POISON:
            state.poisoned(answers[at])
            await repair(link, state, vni)
            answers[at] = (await scripts.run_all(link, [run]))[0]
        if isinstance(answers[at], ServerRefusedError):
            state.counts.errors[answers[at].code] += 1
            raise answers[at]
    return answers


def _by_vni(macs: Sequence[LocalMac]) -> list[tuple[int, list[LocalMac]]]:
    """The claims of one script call each, in order."""
    groups = [(vni, list(group)) for vni, group in groupby(macs, key=lambda mac: mac.vni)]
    return [(vni, group[at : at + BATCH]) for vni, group in groups for at in range(0, len(group), BATCH)]


def _claim_run(state: State, vni: int, macs: Sequence[LocalMac], evidence: str | None = None) -> scripts.Run:
    rules = state.rules
    words: list[Word] = [
        encode_vteps(state.node.vteps),
        rules.max_rows,
        int(rules.hold_down * 1000),
        int(rules.contested_window * 1000),
        rules.contested_moves,
        int(rules.freeze * 1000),
    ]
    for mac in macs:
        words += [format_mac(mac.mac), evidence or mac.evidence, encode_list(mac.ips), encode_list(mac.flags)]
    return vni_run(state, scripts.CLAIM, vni, *words)


def _result(state: State, vni: int, mac: bytes, refused: str, row: bytes) -> ClaimResult:
    if refused:
        state.counts.refused[refused] += 1
    try:
        return ClaimResult(decode_row(vni, format_mac(mac).encode(), row) if row else None, refused or None)
    except Poisoned as error:
        state.poisoned(error)
        return ClaimResult(None, refused or None)
