"""Rows, members and networks as text: one way to write each, both ways the same, and nothing else is accepted."""

from __future__ import annotations

import ipaddress
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vxswitch.errors import UsageError
from vxswitch.model import Claim, NetworkRecord, NodeRecord, Vtep
from vxswitch.store.base import LocalMac
from vxswitch.store.codec import (
    Poisoned,
    canonical_mac,
    check_node,
    decode_mac,
    decode_member,
    decode_name,
    decode_network,
    decode_row,
    digest_of,
    encode_ips,
    encode_member,
    encode_network,
    encode_row,
    member_digest,
    row_digest,
)

VNI = 7
MAC = b"02:00:00:00:00:2a"
GOLDEN = b"1 12 1700000000.000250 3 f00d host-a 10.0.0.1:4789,[fd00::1]:4790 10.1.0.2,fd01::2 sticky,gateway"
GOLDEN_CLAIM = Claim(
    VNI,
    bytes.fromhex("02000000002a"),
    "host-a",
    "f00d",
    3,
    (Vtep("10.0.0.1"), Vtep("fd00::1", 4790)),
    ("10.1.0.2", "fd01::2"),
    ("sticky", "gateway"),
    1700000000.00025,
    12,
)

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", fullmatch=True)
uids = st.from_regex(r"[A-Za-z0-9_.-]{1,64}", fullmatch=True)
numbers = st.integers(0, 2**53 - 1)
addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).filter(
    lambda ip: (
        not (ip.is_multicast or ip.is_unspecified or str(ip) == "255.255.255.255")
        and not (ip.version == 6 and ip.is_link_local)
    )
)
vteps = st.lists(st.builds(Vtep, addresses.map(str), st.integers(1, 65535)), max_size=3).map(tuple)
flags = st.lists(st.text(string.ascii_lowercase, min_size=1, max_size=8), max_size=3).map(tuple)
macs = st.binary(min_size=6, max_size=6).map(lambda b: bytes([b[0] & 0xFE | 0x02]) + b[1:])
claims = st.builds(
    Claim,
    st.just(VNI),
    macs,
    names,
    uids,
    numbers,
    vteps,
    st.lists(addresses.map(str), max_size=4).map(tuple),
    flags,
    st.integers(0, 2 * 10**15).map(lambda microseconds: float(f"{microseconds // 10**6}.{microseconds % 10**6:06d}")),
    st.integers(0, 10**15 - 1),
)
nodes = st.builds(NodeRecord, names, uids, numbers, vteps, st.text(string.ascii_letters + string.digits, max_size=9))


def test_golden_row() -> None:
    assert encode_row(GOLDEN_CLAIM).encode() == GOLDEN
    assert decode_row(VNI, MAC, GOLDEN) == GOLDEN_CLAIM


def test_golden_digest() -> None:
    """The first 64 bits of SHA-1 over kind, field, space and line, as sha1sum says."""
    assert digest_of(b"r02:00:00:00:00:2a x") == 0x4182743C579FAA46
    assert row_digest(GOLDEN_CLAIM) == digest_of(b"r" + MAC + b" " + GOLDEN)


@given(claims)
def test_rows_come_back_the_same(claim: Claim) -> None:
    assert decode_row(VNI, claim.mac.hex(":").encode(), encode_row(claim).encode()) == claim


@given(nodes)
def test_members_come_back_the_same(node: NodeRecord) -> None:
    text = encode_member(node).encode()
    assert decode_member(node.name.encode(), text) == node
    assert member_digest(node) == digest_of(b"m" + node.name.encode() + b" " + text)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_poisoned(value: bytes) -> None:
    for decode in (
        decode_mac,
        decode_name,
        decode_network,
        lambda v: decode_row(VNI, MAC, v),
        lambda v: decode_row(VNI, v, GOLDEN),
        lambda v: decode_member(b"host-a", v),
        lambda v: decode_member(v, v),
    ):
        try:
            decode(value)
        except Poisoned:
            continue


@given(st.integers(0, len(GOLDEN) - 1), st.integers(0, 255))
def test_a_changed_byte_is_another_row_written_alike_or_poisoned(at: int, byte: int) -> None:
    changed = GOLDEN[:at] + bytes([byte]) + GOLDEN[at + 1 :]
    try:
        claim = decode_row(VNI, MAC, changed)
    except Poisoned:
        return
    assert encode_row(claim).encode() == changed


@pytest.mark.parametrize(
    "line",
    [
        GOLDEN.replace(b"1 12", b"2 12"),
        GOLDEN.replace(b" 12 ", b" 012 "),
        GOLDEN.replace(b"10.0.0.1:4789", b"10.0.0.1"),
        GOLDEN.replace(b"fd01::2", b"FD01::2"),
        GOLDEN.replace(b"fd01::2", b"fd01:0::2"),
        GOLDEN.replace(b"10.1.0.2,", b"10.1.0.2,,"),
        GOLDEN.replace(b"10.1.0.2,", b"224.0.0.1,"),
        GOLDEN + b"\n",
        GOLDEN + b" ",
        GOLDEN.replace(b"10.1.0.2,", b"10.1.0.2," * 33),
    ],
)
def test_rows_that_nobody_wrote(line: bytes) -> None:
    with pytest.raises(Poisoned):
        decode_row(VNI, MAC, line)


def test_networks_come_back_the_same_and_bear_fields_of_later_versions() -> None:
    record = NetworkRecord("blue", 4096, ("10.1.0.0/24", "fd00::/64"), 1400, "control", "drop", "off")
    text = encode_network(record)
    assert text.startswith('{"name":"blue","vni":4096,')
    assert decode_network(text.encode()) == record
    assert decode_network(text.replace("{", '{"new":[1],', 1).encode()) == record


def test_claims_become_canonical() -> None:
    local = LocalMac(VNI, b"\x02\0\0\0\0\x01", "garp", ("FD00:0::1", "10.0.0.1"), ("frozen", "sticky"))
    assert canonical_mac(local) == LocalMac(VNI, local.mac, "garp", ("fd00::1", "10.0.0.1"), ("sticky",))


def test_only_so_many_addresses_travel_with_a_row() -> None:
    many = tuple(str(ipaddress.IPv6Address(2**120 + n)) for n in range(100))
    assert len(encode_ips(many).split(",")) == 32


@pytest.mark.parametrize(
    "node",
    [
        NodeRecord("", "u", 1, ()),
        NodeRecord("two words", "u", 1, ()),
        NodeRecord("a" * 65, "u", 1, ()),
        NodeRecord("one", "", 1, ()),
        NodeRecord("one", "u u", 1, ()),
        NodeRecord("one", "u", -1, ()),
        NodeRecord("one", "u", 2**53, ()),
    ],
)
def test_nodes_that_cannot_stand_in_a_row(node: NodeRecord) -> None:
    with pytest.raises(UsageError):
        check_node(node)
