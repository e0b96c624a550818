"""ARP (RFC 826) and reverse ARP (RFC 903) between Ethernet and IPv4: 28 bytes behind the Ethernet header.

    hardware 1 | protocol 0800 | lengths 6, 4 | operation | sender MAC, IP | target MAC, IP

`parse` tells an ARP frame from all others; what it makes of addresses is its caller's matter (`neighbour`). A frame may
be padded. `request` and `reply` make whole frames.
"""

import struct
from typing import Final, NamedTuple

from vxswitch.wire import Readable, ethernet

ETH_P_RARP: Final = 0x8035  # linux/if_ether.h
REQUEST: Final = 1
REPLY: Final = 2
REVERSE_REQUEST: Final = 3  # RFC 903; what hypervisors send for a machine that has just moved to them

NO_ADDRESS: Final = bytes(4)  # the sender of a probe has no address yet (RFC 5227 section 1.1)

_KIND: Final = bytes.fromhex("0001 0800 06 04")  # Ethernet, IPv4, their addresses' lengths
_TYPES: Final = (ethernet.ETH_P_ARP, ETH_P_RARP)
_Head: Final = struct.Struct("!H6sH6s4s6s4s")  # ethertype, kind, operation, sender, target
_LENGTH: Final = ethernet.ETHERTYPE + _Head.size


class Arp(NamedTuple):
    """The fields of one packet; MACs are 6 bytes, addresses 4. ``reverse``: by its ethertype it is RARP."""

    reverse: bool
    operation: int
    sender: bytes
    sender_ip: bytes
    target: bytes
    target_ip: bytes


def parse(buf: Readable, start: int, length: int) -> Arp | None:
    """The ARP or RARP packet in the frame at `start`, None if it carries anything else."""
    if length < _LENGTH:
        return None
    ethertype, kind, *fields = _Head.unpack_from(buf, start + ethernet.ETHERTYPE)
    if ethertype not in _TYPES or kind != _KIND:
        return None
    return Arp(ethertype == ETH_P_RARP, *fields)


def request(dst: bytes, src: bytes, sender_ip: bytes, target_ip: bytes) -> bytes:
    """A frame that asks who has `target_ip`; with `NO_ADDRESS` as sender it is a probe that teaches nobody."""
    return dst + src + _Head.pack(ethernet.ETH_P_ARP, _KIND, REQUEST, src, sender_ip, ethernet.ZERO_MAC, target_ip)


def reply(src: bytes, ip: bytes, asker: bytes, asker_ip: bytes) -> bytes:
    """A frame to `asker` that says: `ip` is at `src`."""
    return asker + src + _Head.pack(ethernet.ETH_P_ARP, _KIND, REPLY, src, ip, asker, asker_ip)
