"""The probe: one VTEP asks another over the way that frames take, and is answered at once.

    VXLAN header 8, all zero | magic 4 | version 1 | kind 1 | size 2 | nonce 8 | sequence 4 | node 8 | life 8 | padding

A datagram to the VTEP's port whose VXLAN header lacks the I flag, which every receiver has to drop (RFC 7348 section
5), so it may be sent to any VTEP. ``size`` is the UDP payload of the request in bytes, which an answer repeats, so it
proves that so much gets through. An answer has the nonce and sequence of its request and no padding, so it is never
longer. ``node`` and ``life`` say who answers: a hash of the node's id, and a random number of this start of it; they
are 0 in a request. When a request left does not travel: who sent it knows, by its nonce.
"""

from __future__ import annotations

import hashlib
import struct
from typing import Final, NamedTuple

from vxswitch.wire import vxlan

Layout: Final = struct.Struct(f"!{vxlan.HEADER_LEN}x4sBBHQIQQ")
LEN: Final = Layout.size  # of every answer, and of the shortest request, bytes of UDP payload
SIZE_MAX: Final = 0xFFFF

MAGIC: Final = b"vxpr"
VERSION: Final = 1
REQUEST: Final = 1
ANSWER: Final = 2


class Identity(NamedTuple):
    """Who an answer is from: the node, and which start of it. 64 bits each."""

    node: int
    life: int


NOBODY: Final = Identity(0, 0)


class Probe(NamedTuple):
    """One probe as it was received."""

    kind: int
    size: int
    nonce: int
    sequence: int
    sender: Identity


def node_of(uid: str) -> int:
    """The 64 bits that stand for a node's random id."""
    return int.from_bytes(hashlib.blake2s(uid.encode(), digest_size=8).digest(), "big")


def request(size: int, nonce: int, sequence: int) -> bytes:
    """A request of ``size`` bytes of UDP payload, LEN..SIZE_MAX; struct.error beyond."""
    head = Layout.pack(MAGIC, VERSION, REQUEST, size, nonce, sequence, *NOBODY)
    return head.ljust(size, b"\0")


def answer(asked: Probe, sender: Identity) -> bytes:
    """The answer to a request."""
    return Layout.pack(MAGIC, VERSION, ANSWER, asked.size, asked.nonce, asked.sequence, *sender)


def parse(view: bytes | memoryview, at: int, length: int) -> Probe | None:
    """The probe that a UDP payload of ``length`` bytes at ``at`` is; None if it is none, or one that is not whole.

    Whether the I flag is clear has been asked before.
    """
    if length < LEN:
        return None
    magic, version, kind, size, nonce, sequence, node, life = Layout.unpack_from(view, at)
    if magic != MAGIC or version != VERSION:
        return None
    whole = size == length if kind == REQUEST else kind == ANSWER and length == LEN <= size
    return Probe(kind, size, nonce, sequence, Identity(node, life)) if whole else None
