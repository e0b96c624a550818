"""Rows, members and networks as the text that stands in Redis, and the digest over them.

Text, one line, words separated by one space, lists by commas, ``-`` for an empty one; the leading 1 is the version
of the layout. A line can be read by eye in redis-cli, matched by a Lua pattern, and has exactly one way to be
written: what does not come out the same when it is written again is not ours, and is refused as poisoned.

    row     1 REV SINCE EPOCH UID NODE VTEPS IPS FLAGS      (hash fdb, field = MAC)
    member  1 EPOCH UID NODE VTEPS VERSION                  (hash members and nodes, field = node name)
    groups  see groups.py                                   (hash groups, field = node name)

Networks are JSON objects, name first. Nothing read here is trusted: every decode raises Poisoned, nothing else.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
import socket
from dataclasses import replace
from functools import lru_cache

import msgspec

from vxswitch.errors import UsageError
from vxswitch.model import (
    Claim,
    NetworkRecord,
    NodeRecord,
    Vtep,
    check_network_name,
    check_vni,
    format_mac,
)
from vxswitch.store.base import LocalMac
from vxswitch.store.rules import MAX_IPS

ROW_BYTES = 2048  # longer lines are not ours
EPOCH_MAX = 2**53 - 1  # Lua's numbers are doubles

_NODE = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"
_UID = r"[A-Za-z0-9_.-]{1,64}"
_NUMBER = r"(0|[1-9]\d{0,15})"
_ROW = re.compile(rf"1 {_NUMBER} ((?:0|[1-9]\d{{0,10}})\.\d{{6}}) (\S+ \S+ \S+ \S+) (\S+) (\S+)\Z", re.ASCII)
_OWNER = re.compile(rf"{_NUMBER} ({_UID}) ({_NODE}) (\S+)\Z", re.ASCII)
_FLAGS = re.compile(r"(?:-|[a-z]+(?:,[a-z]+)*)\Z", re.ASCII)
_MEMBER = re.compile(rf"1 {_NUMBER} ({_UID}) ({_NODE}) (\S+) ([!-~]{{1,64}})\Z", re.ASCII)
_NO_MAC = bytes(6)
_NO_IPV4, _NO_IPV6 = bytes(4), bytes(16)
_MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}\Z")


class Poisoned(ValueError):
    """A value in the store that no vxswitch wrote."""


def check_node(node: NodeRecord) -> NodeRecord:
    """The record itself if its fields can stand in a row, else UsageError."""
    if not re.fullmatch(_NODE, node.name, re.ASCII):
        raise UsageError(
            f"node name {node.name!r}: want a letter or digit, then up to 63 of letters, digits, '_', '.', '-'"
        )
    if not re.fullmatch(_UID, node.uid, re.ASCII):
        raise UsageError(f"node id {node.uid!r}: want up to 64 letters, digits, '_', '.', '-'")
    if not 0 <= node.epoch <= EPOCH_MAX:
        raise UsageError(f"epoch {node.epoch!r}: want a number from 0 to 2^53-1")
    return node


def encode_list(words: tuple[str, ...]) -> str:
    """``a,b`` or ``-``."""
    return ",".join(words) or "-"


def encode_vteps(vteps: tuple[Vtep, ...]) -> str:
    """``10.0.0.1:4789,[fd00::1]:4789`` or ``-``."""
    return encode_list(tuple(map(str, vteps)))


def encode_ips(ips: tuple[str, ...]) -> str:
    """Canonical addresses, at most MAX_IPS; UsageError if one of them is no address."""
    try:
        return encode_list(tuple(ip if _is_host(ip) else str(ipaddress.ip_address(ip)) for ip in ips[:MAX_IPS]))
    except ValueError as error:
        raise UsageError(f"address of a MAC: {error}") from None


def canonical_mac(mac: LocalMac) -> LocalMac:
    """A claim as a row will have it; UsageError if it cannot stand in one. ``frozen`` is the store's to say."""
    check_vni(mac.vni)
    if len(mac.mac) != 6 or mac.mac[0] & 1 or not any(mac.mac):
        raise UsageError(f"MAC {mac.mac.hex(':')!r}: want the address of one station")
    for flag in mac.flags:
        if not re.fullmatch(r"[a-z]{1,32}", flag, re.ASCII):
            raise UsageError(f"flag {flag!r} of MAC {format_mac(mac.mac)}: want lower-case letters")
    flags = tuple(flag for flag in mac.flags if flag != "frozen")
    ips = _decode_list(encode_ips(mac.ips))
    return mac if (ips, flags) == (mac.ips, mac.flags) else replace(mac, ips=ips, flags=flags)


def encode_version(version: str) -> str:
    """A version as one word."""
    return re.sub(r"[^!-~]", "_", version)[:64] or "-"


def encode_row(claim: Claim) -> str:
    """The line of a row."""
    return (
        f"1 {claim.rev} {claim.since:.6f} {claim.epoch} {claim.uid} {claim.node} "
        f"{encode_vteps(claim.vteps)} {encode_list(claim.ips)} {encode_list(claim.flags)}"
    )


def decode_row(vni: int, field: bytes, value: bytes) -> Claim:
    """A row from its hash field (the MAC) and line."""
    text = decode_ascii(value)
    mac, match = decode_mac(field), _ROW.match(text)
    if match is None:
        raise Poisoned(f"row of {format_mac(mac)}")
    rev, since, owner, ips, flags = match.groups()
    epoch, uid, node, vteps = _decode_owner(owner)
    return Claim(vni, mac, node, uid, epoch, vteps, _decode_ips(ips), _decode_flags(flags), float(since), int(rev))


def encode_member(node: NodeRecord) -> str:
    """The line of a node."""
    return f"1 {node.epoch} {node.uid} {node.name} {encode_vteps(node.vteps)} {encode_version(node.version)}"


def decode_member(field: bytes, value: bytes) -> NodeRecord:
    """A node from its hash field (the name) and line."""
    text = decode_ascii(value)
    match = _MEMBER.match(text)
    if match is None or match[3] != decode_name(field):
        raise Poisoned("member")
    return NodeRecord(
        name=match[3],
        uid=match[2],
        epoch=int(match[1]),
        vteps=_decode_vteps(match[4]),
        version="" if match[5] == "-" else match[5],
    )


def encode_network(record: NetworkRecord) -> str:
    """The JSON object of a network."""
    return msgspec.json.encode(record).decode()


def decode_network(value: bytes) -> NetworkRecord:
    """A network from its JSON object; fields that a newer version added are ignored."""
    try:
        record = msgspec.json.decode(value, type=NetworkRecord)
        check_network_name(record.name)
        check_vni(record.vni)
        for subnet in record.subnets:
            ipaddress.ip_network(subnet)
        if record.mtu is not None and not 68 <= record.mtu <= 65535:
            raise ValueError(f"MTU {record.mtu}")
    except (ValueError, UsageError) as error:  # msgspec's errors are ValueErrors
        raise Poisoned(f"network: {error}") from None
    return record


def decode_mac(field: bytes) -> bytes:
    """A MAC of a single station: never a group address, never zero."""
    text = decode_ascii(field)
    if not _MAC.match(text):
        raise Poisoned("MAC")
    mac = bytes.fromhex(text.replace(":", ""))
    if mac[0] & 1 or mac == _NO_MAC:
        raise Poisoned(f"MAC {text}")
    return mac


def decode_name(field: bytes) -> str:
    """A node's name."""
    text = decode_ascii(field)
    if not re.fullmatch(_NODE, text, re.ASCII):
        raise Poisoned("node name")
    return text


def decode_ascii(value: bytes, limit: int = ROW_BYTES) -> str:
    """ASCII text of at most so many bytes."""
    if len(value) > limit:
        raise Poisoned(f"{len(value)} bytes")
    try:
        return value.decode("ascii")
    except UnicodeDecodeError:
        raise Poisoned("not ASCII") from None


def row_digest(claim: Claim) -> int:
    """What a row adds to the digest of its VNI (64 bits, by XOR)."""
    return digest_of(f"r{format_mac(claim.mac)} {encode_row(claim)}".encode())


def member_digest(node: NodeRecord) -> int:
    """What a member adds to the digest of a VNI."""
    return digest_of(f"m{node.name} {encode_member(node)}".encode())


def digest_of(line: bytes) -> int:
    """What a line adds to the digest; ``line`` is kind (r, m or g), field, a space and the text."""
    return int.from_bytes(hashlib.sha1(line, usedforsecurity=False).digest()[:8], "big")


def _decode_list(text: str) -> tuple[str, ...]:
    return () if text == "-" else tuple(text.split(","))


@lru_cache(maxsize=4096)
def _decode_owner(text: str) -> tuple[int, str, str, tuple[Vtep, ...]]:
    """Whose rows these are: a cluster has many rows and few owners, whose words are kept once."""
    match = _OWNER.match(text)
    if match is None:
        raise Poisoned(f"owner {text[:64]}")
    return int(match[1]), match[2], match[3], _decode_vteps(match[4])


@lru_cache(maxsize=256)
def _decode_flags(text: str) -> tuple[str, ...]:
    if not _FLAGS.match(text):
        raise Poisoned(f"flags {text[:64]}")
    return _decode_list(text)


@lru_cache(maxsize=4096)
def _decode_vteps(text: str) -> tuple[Vtep, ...]:
    try:
        vteps = tuple(Vtep.parse(word) for word in _decode_list(text))
    except UsageError as error:
        raise Poisoned(str(error)) from None
    if encode_vteps(vteps) != text:
        raise Poisoned(f"VTEPs {text[:64]}")
    return vteps


def _is_host(word: str) -> bool:
    """Whether this is the canonical text of a unicast address, as a fast look tells; False: look closely.

    ipaddress takes ten times as long, and a table of 10^5 rows has as many addresses. IPv6 with an IPv4 tail is written
    in two ways by different versions of Python, and is left to it.
    """
    try:
        if ":" not in word:
            packed = socket.inet_pton(socket.AF_INET, word)
            return packed[0] & 0xF0 != 0xE0 and packed != _NO_IPV4 and socket.inet_ntop(socket.AF_INET, packed) == word
        packed = socket.inet_pton(socket.AF_INET6, word)
        usual = packed[0] != 0xFF and packed != _NO_IPV6 and "." not in word
        return usual and socket.inet_ntop(socket.AF_INET6, packed) == word
    except (OSError, ValueError):
        return False


def _decode_ips(text: str) -> tuple[str, ...]:
    words = _decode_list(text)
    if len(words) <= MAX_IPS and all(map(_is_host, words)):
        return words
    try:
        ips = [ipaddress.ip_address(word) for word in words]
    except ValueError as error:
        raise Poisoned(str(error)) from None
    if len(ips) > MAX_IPS or any(ip.is_multicast or ip.is_unspecified for ip in ips):
        raise Poisoned(f"addresses {text[:64]}")
    if tuple(map(str, ips)) != words:
        raise Poisoned(f"addresses {text[:64]}")
    return words
