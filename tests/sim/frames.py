"""What containers send: pings with a number, questions for addresses, announcements (RFC 826, RFC 5227 section 3)."""

from __future__ import annotations

import struct

from tests.dataplane.frames import IP4, ethernet, udp

NUMBER = struct.Struct("!Q")
EVERYBODY = b"\xff" * 6
_ARP = 0x0806
_PACKET = struct.Struct("!HHBBH6s4s6s4s")
_REQUEST, _REPLY = 1, 2


def address_of(mac: bytes) -> bytes:
    """The one address of a container, which says what MAC it has."""
    return b"\x0a\x01" + mac[4:6]


def ping(source: bytes, target: bytes, number: int) -> bytes:
    """A frame from one container to another."""
    return _start(source, target) + NUMBER.pack(number)


def number_of(frame: bytes) -> int:
    """The number of a ping."""
    return int(NUMBER.unpack(frame[-NUMBER.size :])[0])


def gratuitous(mac: bytes) -> bytes:
    """A container says to all where its address is."""
    return question(mac, address_of(mac))


def question(mac: bytes, address: bytes) -> bytes:
    """A container asks all for the MAC of an address."""
    packet = _PACKET.pack(1, 0x0800, 6, 4, _REQUEST, mac, address_of(mac), bytes(6), address)
    return ethernet(EVERYBODY, mac, _ARP, packet)


def is_neighbours(frame: bytes) -> bool:
    """It is one of the last two, or an answer."""
    return frame[12:14] == b"\x08\x06"


def answer_in(frame: bytes) -> tuple[bytes, bytes] | None:
    """The address and the MAC that an answer puts together; None: it is no answer."""
    fields = _PACKET.unpack_from(frame, 14)
    return (fields[6], fields[5]) if fields[4] == _REPLY else None


_starts: dict[tuple[bytes, bytes], bytes] = {}


def _start(source: bytes, target: bytes) -> bytes:
    """All of a ping but its number; the inner UDP checksum is left out (RFC 768: zero)."""
    start = _starts.get((source, target))
    if start is None:
        ends = f"10.1.{source[4]}.{source[5]}", f"10.1.{target[4]}.{target[5]}"
        packet = bytearray(udp(*ends, 7, 7, bytes(NUMBER.size)))
        packet[26:28] = b"\0\0"
        start = _starts[source, target] = ethernet(target, source, IP4, bytes(packet[: -NUMBER.size]))
    return start
