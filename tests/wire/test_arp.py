"""ARP and RARP, with scapy as the other implementation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.l2 import ARP, Ether

from vxswitch.wire import arp

A, B, BROADCAST = "02:00:00:00:00:01", "02:00:00:00:00:02", "ff:ff:ff:ff:ff:ff"
MACS = st.binary(min_size=6, max_size=6)
ADDRESSES = st.binary(min_size=4, max_size=4)


def raw(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


@given(MACS, MACS, ADDRESSES, ADDRESSES)
def test_what_is_made_reads_the_same_in_scapy_and_here(one: bytes, other: bytes, ip: bytes, target: bytes) -> None:
    asked = arp.request(b"\xff" * 6, one, ip, target)
    told = Ether(asked)[ARP]
    assert (told.op, raw(told.hwsrc), told.hwdst) == (1, one, "00:00:00:00:00:00")
    assert arp.parse(asked, 0, len(asked)) == arp.Arp(False, arp.REQUEST, one, ip, bytes(6), target)
    answered = arp.reply(other, target, one, ip)
    assert bytes(Ether(answered)) == answered and Ether(answered).dst == Ether(asked).src
    assert arp.parse(answered, 0, len(answered)) == arp.Arp(False, arp.REPLY, other, target, one, ip)


def test_scapys_frames_are_read_also_padded_and_within_a_buffer() -> None:
    packet = ARP(op=1, hwsrc=A, psrc="10.0.0.1", hwdst=B, pdst="10.0.0.2")
    frame = bytes(Ether(src=A, dst=BROADCAST) / packet)
    buffer = b"\xa5" * 7 + frame + bytes(18)
    found = arp.parse(buffer, 7, len(frame) + 18)
    assert found == arp.Arp(False, 1, raw(A), bytes((10, 0, 0, 1)), raw(B), bytes((10, 0, 0, 2)))
    reverse = bytes(Ether(src=A, dst=BROADCAST, type=0x8035) / ARP(op=3, hwsrc=A, hwdst=A))
    assert arp.parse(reverse, 0, len(reverse)).reverse  # type: ignore[union-attr]


@pytest.mark.parametrize("field", [{"hwtype": 6}, {"ptype": 0x86DD}, {"hwlen": 8}, {"plen": 16}])
def test_other_hardware_and_protocols_are_not_read(field: dict[str, int]) -> None:
    frame = bytes(Ether(src=A, dst=BROADCAST) / ARP(op=1, hwsrc=A, psrc="10.0.0.1", pdst="10.0.0.2"))
    at = {"hwtype": (14, 2), "ptype": (16, 2), "hwlen": (18, 1), "plen": (19, 1)}[next(iter(field))]
    changed = frame[: at[0]] + next(iter(field.values())).to_bytes(at[1]) + frame[sum(at) :]
    assert arp.parse(changed, 0, len(changed)) is None


def test_a_frame_that_is_cut_short_is_not_read() -> None:
    frame = arp.request(b"\xff" * 6, raw(A), bytes(4), bytes(4))
    assert all(arp.parse(frame, 0, length) is None for length in range(len(frame)))
