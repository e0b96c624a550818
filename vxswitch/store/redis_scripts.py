"""The Lua scripts and the keys that they work on.

A script is the text of its parts, in order: ``lease.lua`` stands before all of them. It is sent by its hash
(EVALSHA); a server that does not have it (NOSCRIPT: new, restarted, failed over, SCRIPT FLUSH) is given it and asked
again. The hash is the version: nodes of different versions use one server side by side.
Every key of a script is passed in KEYS and has the cluster's hash tag, ``vx:{CLUSTER/0}:...``; the tag ends in the
number of a bucket, of which there is one on a server that is not clustered. While a slot of a Redis Cluster is on its
way from one server to another neither of them runs scripts over it: they are sent again for a second, then it is an
error like any other (``redis_moving`` says what still works).
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Sequence, Set
from dataclasses import dataclass
from importlib import resources
from typing import Any

from vxswitch.errors import UsageError
from vxswitch.store.redis_connect import Link, ServerRefusedError, Word


@dataclass(frozen=True, slots=True)
class Script:
    """Source and SHA-1 of one script."""

    source: str
    sha: str


def _load(*parts: str) -> Script:
    folder = resources.files("vxswitch.store") / "lua"
    source = "".join((folder / f"{part}.lua").read_text("utf-8") for part in ("lease", *parts))
    return Script(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


BEAT = _load("closed", "compare", "leases", "beat")
KEEP = _load("leases", "keep")
CHECK = _load("compare", "check")
CLAIM = _load("vni", "claim")
RELEASE = _load("vni", "release")
JOIN = _load("vni", "join")
LEAVE = _load("vni", "leave")
REAP = _load("vni", "reap")
THAW = _load("vni", "thaw")
REPAIR = _load("vni", "repair")
ACKS = _load("vni", "acks")
LAPSE = _load("lapse")
WAKE = _load("wake")
TYPES = _load("types")
NETWORK_CREATE = _load("closed", "network_create")
NETWORK_REMOVE = _load("network_remove")
VNI_REMOVE = _load("vni_remove")
LAYOUT = _load("layout")
IP_ALLOCATE = _load("ipam", "ip_allocate")
IP_RESERVE = _load("ipam", "ip_reserve")
IP_RELEASE = _load("ipam", "ip_release")


MOVING = frozenset({"TRYAGAIN", "ASK"})  # codes of errors while a slot is on its way
MOVING_PAUSES = (0.05, 0.1, 0.2, 0.3, 0.4)  # seconds until scripts are sent again; a slot of few keys takes less


@dataclass(frozen=True, slots=True)
class Run:
    """One call of a script."""

    script: Script
    keys: Sequence[str]
    arguments: Sequence[Word]

    def words(self) -> tuple[Word, ...]:
        """The command as it is sent."""
        return ("EVALSHA", self.script.sha, len(self.keys), *self.keys, *self.arguments)


async def run(
    link: Link,
    script: Script,
    keys: Sequence[str],
    arguments: Sequence[Word],
    pauses: Sequence[float] = MOVING_PAUSES,
) -> Any:
    """The script's answer; ServerRefusedError or LinkDownError."""
    answer = (await run_all(link, [Run(script, keys, arguments)], pauses))[0]
    if isinstance(answer, ServerRefusedError):
        raise answer
    return answer


async def run_all(link: Link, runs: Sequence[Run], pauses: Sequence[float] = MOVING_PAUSES) -> list[Any]:
    """Scripts in one go, in order; errors stand in their place. What the server does not know is loaded first.

    ``pauses`` (seconds): when to send again those whose slot is on its way.
    """
    answers = await _run_known(link, runs)
    for pause in pauses:
        late = [at for at, answer in enumerate(answers) if _is(answer, MOVING)]
        if not late:
            break
        await asyncio.sleep(pause)
        for at, answer in zip(late, await _run_known(link, [runs[at] for at in late]), strict=True):
            answers[at] = answer
    return answers


async def _run_known(link: Link, runs: Sequence[Run]) -> list[Any]:
    answers = await link.pipeline([each.words() for each in runs])
    missing = [at for at, answer in enumerate(answers) if _is(answer, {"NOSCRIPT"})]
    if missing:
        sources = {runs[at].script.source for at in missing}
        await link.pipeline([("SCRIPT", "LOAD", source) for source in sources])
        again = await link.pipeline([runs[at].words() for at in missing])
        for at, answer in zip(missing, again, strict=True):
            answers[at] = answer
    return answers


def _is(answer: object, codes: Set[str]) -> bool:
    return isinstance(answer, ServerRefusedError) and answer.code in codes


class Keys:
    """The names of a cluster's keys in one of its buckets; UsageError if its name cannot stand in them."""

    def __init__(self, cluster: str, bucket: int = 0, buckets: int = 1) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", cluster, re.ASCII):
            raise UsageError(
                f"cluster {cluster!r}: want a letter or digit, then up to 62 of letters, digits, '_', '.', '-'"
            )
        self.buckets = buckets
        self._prefix = f"vx:{{{cluster}/{bucket}}}:"
        self.nodes = f"{self._prefix}nodes"
        self.lease = f"{self._prefix}lease"
        self.heard = f"{self._prefix}heard"
        self.networks = f"{self._prefix}networks"
        self.vnis = f"{self._prefix}vnis"
        self.loss = f"{self._prefix}loss"
        self.node = [self.nodes, self.lease]

    def of_vni(self, vni: int) -> list[str]:
        """KEYS of the scripts that stand on vni.lua."""
        return [*self.node, *self.parts(vni, "meta", "fdb", "log", "members", "moves", "groups", "acks")]

    def parts(self, vni: int, *names: str) -> list[str]:
        """Some keys of a VNI by name."""
        return [f"{self._prefix}{vni}:{name}" for name in names]

    def joined(self, node: str) -> str:
        """The set of VNIs that a node joined."""
        return f"{self._prefix}joined:{node}"

    def wake(self, node: str) -> str:
        """The stream by which a node wakes its own reader."""
        return f"{self._prefix}wake:{node}"
