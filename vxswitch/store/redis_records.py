"""Networks and addresses in Redis: records that all nodes share, each changed by one script call."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from vxswitch.errors import ConflictError, NotFoundError
from vxswitch.model import VNI_MAX, NetworkRecord
from vxswitch.store import redis_scripts as scripts
from vxswitch.store.addresses import address_key, address_text, check_owner, host_range
from vxswitch.store.codec import Poisoned, decode_network, encode_network
from vxswitch.store.networks import check_record, closed_after_loss, not_registered, same_or_conflict, vni_in_use
from vxswitch.store.redis_connect import Link, ServerRefusedError, Word
from vxswitch.store.redis_state import State
from vxswitch.store.rules import FIRST_VNI

# The keys of a VNI and their types.
_PARTS = {
    "members": "hash",
    "meta": "hash",
    "fdb": "hash",
    "log": "stream",
    "moves": "hash",
    "groups": "hash",
    "acks": "hash",
    "ipam": "hash",
}


class Records:
    """Calls about networks and addresses over one command link."""

    def __init__(self, link: Link, state: State) -> None:
        self._link = link
        self._state = state

    async def networks(self) -> list[NetworkRecord]:
        """All networks that make sense."""
        try:
            flat = await self._link.call("HGETALL", self._state.keys.networks)
        except ServerRefusedError as error:
            await self._cure(error, [self._state.keys.networks], ["hash"])
            return []
        found = []
        for name, text in zip(flat[::2], flat[1::2], strict=True):
            with contextlib.suppress(Poisoned):
                found.append(self._decode(name, text))
        return found

    async def get(self, name: str) -> NetworkRecord | None:
        """One network by name."""
        with contextlib.suppress(Poisoned):
            text = await self._stored(name)
            return self._decode(name.encode(), text) if text else None
        return None

    async def create(self, record: NetworkRecord, *, again: bool) -> NetworkRecord:
        """Create or return the equal one; ``again``: it was there before the store lost its data."""
        check_record(record)
        keys = [self._state.keys.networks, self._state.keys.vnis]
        words: list[Word] = [record.name, record.vni, encode_network(replace(record, vni=0)), FIRST_VNI, VNI_MAX]
        words.append(int(again))
        status, answer = await self._run(scripts.NETWORK_CREATE, keys, ["hash", "hash"], *words)
        if status == b"vni":
            raise vni_in_use(record, answer.decode("ascii", "replace"))
        if status == b"closed":
            raise closed_after_loss(record, int(answer) / 1000)
        if status == b"stranger":
            raise not_registered(record)
        if status == b"none_free":
            raise ConflictError(f"network {record.name}: no free VNI, give =VNI")
        try:
            stored = self._decode(record.name.encode(), answer)
        except Poisoned as error:
            raise ConflictError(
                f"network {record.name} exists, but its record makes no sense ({error}): remove it first"
            ) from None
        return stored if status == b"created" else same_or_conflict(stored, record)

    async def remove(self, name: str, clear: Callable[[int], Awaitable[None]] | None = None) -> int | None:
        """Remove a network; its VNI, None if the record made no sense and only it was removed.

        ``clear`` removes the VNI's keys, before the record, where they are not within reach of one script.
        """
        keys = self._state.keys
        while True:
            text = await self._stored(name)
            if text is None:
                raise NotFoundError(f"network {name}: there is none of this name")
            vni = None
            parts: list[str] = []
            with contextlib.suppress(Poisoned):
                vni = self._decode(name.encode(), text).vni
                parts = [] if clear else keys.parts(vni, *_PARTS)
            if clear and vni is not None:
                await clear(vni)
            grace_ms = int(self._state.rules.grace * 1000)
            types = ["hash", "hash", "zset", *_PARTS.values()]
            status, member = await self._run(
                scripts.NETWORK_REMOVE,
                [keys.networks, keys.vnis, keys.heard, *parts],
                types[: 3 + len(parts)],
                *(name, vni or 0, text, grace_ms),
            )
            if status == b"busy":
                raise ConflictError(f"network {name}: node {member.decode('ascii', 'replace')} is still a member")
            if status == b"removed":
                return vni

    async def clear(self, vni: int) -> None:
        """Remove the keys of a VNI; ConflictError while another node is a member."""
        keys = [self._state.keys.heard, *self._state.keys.parts(vni, *_PARTS)]
        grace_ms = int(self._state.rules.grace * 1000)
        status, member = await self._run(scripts.VNI_REMOVE, keys, ["zset", *_PARTS.values()], grace_ms)
        if status == b"busy":
            raise ConflictError(f"VNI {vni}: node {member.decode('ascii', 'replace')} is still a member")

    async def allocate_ip(self, vni: int, subnet: str, owner: str) -> str:
        """The lowest free host address."""
        hosts = host_range(subnet)
        rules = self._state.rules
        words: list[Word] = [hosts.subnet, hosts.prefix, hosts.first, hosts.last]
        words += [int(rules.grace * 1000), int(rules.quarantine * 1000)]
        found = await self._run_ip(scripts.IP_ALLOCATE, vni, check_owner(owner), *words)
        if not found:
            raise ConflictError(f"subnet {hosts.subnet} of VNI {vni}: no free address")
        return address_text(hosts.subnet, found[0].decode())

    async def reserve_ip(self, vni: int, subnet: str, address: str, owner: str) -> None:
        """An address by name."""
        key = address_key(subnet, address)
        other = await self._run_ip(scripts.IP_RESERVE, vni, check_owner(owner), host_range(subnet).subnet, key)
        if other:
            raise ConflictError(f"address {address} of VNI {vni} belongs to {other.decode('utf-8', 'replace')}")

    async def release_ip(self, vni: int, owner: str) -> None:
        """All addresses of an owner."""
        quarantine_ms = int(self._state.rules.quarantine * 1000)
        await self._run_ip(scripts.IP_RELEASE, vni, check_owner(owner), quarantine_ms)

    async def _run_ip(self, script: scripts.Script, vni: int, *words: Word) -> Any:
        keys = [*self._state.keys.parts(vni, "ipam"), self._state.keys.heard]
        return await self._run(script, keys, ["hash", "zset"], *words)

    async def _run(self, script: scripts.Script, keys: list[str], types: list[str], *words: Word) -> Any:
        """A script over keys that must have these types; keys of another type are removed, and it runs again."""
        all_keys = [*self._state.keys.node, *keys]
        arguments = [*self._state.caller(), *words]
        try:
            return await scripts.run(self._link, script, all_keys, arguments)
        except ServerRefusedError as error:
            await self._cure(error, all_keys, ["hash", "zset", *types])
            return await scripts.run(self._link, script, all_keys, arguments)

    async def _stored(self, name: str) -> bytes | None:
        keys = self._state.keys
        try:
            text: bytes | None = await self._link.call("HGET", keys.networks, name)
        except ServerRefusedError as error:
            await self._cure(error, [keys.networks], ["hash"])
            return None
        return text

    async def _cure(self, error: ServerRefusedError, keys: list[str], types: list[str]) -> None:
        """Remove keys of a wrong type, if that is what the error is about, else raise it."""
        self._state.counts.errors[error.code] += 1
        if error.code != "WRONGTYPE":
            raise error
        self._state.poisoned(error)
        await scripts.run(self._link, scripts.TYPES, keys, types)

    def _decode(self, name: bytes, text: bytes) -> NetworkRecord:
        try:
            record = decode_network(text)
            if record.name.encode() != name:
                raise Poisoned(f"network {record.name!r} under another name")
        except Poisoned as error:
            self._state.poisoned(error)
            raise
        return record
