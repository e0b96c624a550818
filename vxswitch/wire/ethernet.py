"""Ethernet II: addresses, ethertypes, and the removal of VLAN tags in place.

A tag (IEEE 802.1Q section 9.3) is four bytes between the source address and the ethertype that it displaces, and a
frame may carry several. Stripping keeps payload and ethertype where they are and moves the twelve address bytes
forward over the tags, so the frame begins later in the same buffer:

    before  [dst 6][src 6][8100][TCI ][0800] payload
    after                 [dst 6     ][src 6][0800] payload      start + 4
"""

from typing import Final

from vxswitch.wire import Readable, Writable

DST: Final = 0
SRC: Final = 6
ETHERTYPE: Final = 12
HEADER_LEN: Final = 14
ADDRESS_LEN: Final = 6
ADDRESSES_LEN: Final = 12  # destination and source
TAG_LEN: Final = 4  # TPID and TCI

# linux/if_ether.h
ETH_P_IP: Final = 0x0800
ETH_P_ARP: Final = 0x0806
ETH_P_8021Q: Final = 0x8100
ETH_P_IPV6: Final = 0x86DD
ETH_P_8021AD: Final = 0x88A8

ZERO_MAC: Final = bytes(6)
BROADCAST: Final = b"\xff" * 6
# 01-80-C2-00-00-00 .. 0F never leave the link: STP, pause, LACP, LLDP (IEEE 802.1D-2004 table 7-10).
RESERVED_GROUPS: Final = frozenset(b"\x01\x80\xc2\x00\x00" + bytes((last,)) for last in range(16))

TRUNCATED: Final = -1


def is_group(mac: bytes) -> bool:
    """True for a multicast or broadcast address (6 bytes): the group bit is the lowest bit of the first byte."""
    return mac[0] & 1 == 1


def is_reserved_group(mac: bytes) -> bool:
    """True for an address that a bridge never forwards (IEEE 802.1D-2004 section 7.12.6)."""
    return mac in RESERVED_GROUPS


def bad_source(mac: bytes) -> bool:
    """True for a source address that no station may have: a group address, or all zero."""
    return mac[0] & 1 == 1 or mac == ZERO_MAC


def tag_count(buf: Readable, start: int, length: int) -> int:
    """How many 802.1Q and 802.1ad tags the frame begins with.

    TRUNCATED (-1) if the frame ends before the ethertype: inside a tag, or inside the Ethernet header itself.
    """
    at = start + ETHERTYPE
    end = start + length
    tags = 0
    while at + 2 <= end:
        ethertype = buf[at] << 8 | buf[at + 1]
        if ethertype != ETH_P_8021Q and ethertype != ETH_P_8021AD:
            return tags
        tags += 1
        at += TAG_LEN
    return TRUNCATED


def strip_tags(buf: Writable, start: int, length: int) -> int:
    """Remove every leading VLAN tag in place; returns by how many bytes `start` moves (and `length` shrinks).

    0 if there is no tag, TRUNCATED (-1) as `tag_count` says it, the buffer then being untouched. Offsets counted from
    the start of the frame, such as csum_start, shrink by the same number.
    """
    tags = tag_count(buf, start, length)
    if tags <= 0:
        return tags
    shift = tags * TAG_LEN
    buf[start + shift : start + shift + ADDRESSES_LEN] = bytes(buf[start : start + ADDRESSES_LEN])
    return shift
