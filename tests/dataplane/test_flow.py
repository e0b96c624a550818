"""Cached decisions: which frames have a key, what the key tells apart, and how much is kept."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dataplane.conftest import VNI, Duo
from tests.dataplane.frames import IP4, IP6, VLAN, ethernet, ip4, mac, packet, tcp, udp, vxlan
from vxswitch.dataplane.flow import MAX_FLOWS, Flow, FlowCache, flow_key
from vxswitch.fdb import LocalPort, Table

FOUR, SIX = ("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")


def key(frame: bytes, vni: int = 7, **header: object) -> tuple[object, object]:
    """The keys of a frame from a port, and of the same frame from the underlay."""
    data = vxlan(vni, frame, **header)  # type: ignore[arg-type]
    assert flow_key(bytearray(b"\xa5" * 3 + frame), 3, len(frame), 0) == flow_key(memoryview(frame), 0, len(frame), 0)
    return flow_key(memoryview(frame), 0, len(frame), 0), flow_key(memoryview(data), 8, len(frame), 8)


def frame(
    make: object = udp, ends: tuple[str, str] = FOUR, sport: int = 1, dport: int = 2, src: int = 1, **more: object
) -> bytes:
    kind = IP6 if ":" in ends[0] else IP4
    return ethernet(mac(2), mac(src), kind, make(*ends, sport, dport, more.pop("data", b"data"), **more))  # type: ignore[operator]


@pytest.mark.parametrize("ends", [FOUR, SIX])
def test_every_field_that_decides_makes_another_flow(ends: tuple[str, str]) -> None:
    other = ("10.0.0.3", ends[1]) if ends is FOUR else ("fd00::3", ends[1])
    different = [
        frame(ends=ends),
        frame(tcp, ends),
        frame(ends=ends, sport=3),
        frame(ends=ends, dport=3),
        frame(ends=ends, src=9),
        frame(ends=other),
        frame(ends=ends[::-1]),
        frame(ends=ends, tos=2),
    ]
    assert len({key(f) for f in different}) == len(different)
    assert len({key(f)[1] for f in different} | {key(f, 8)[1] for f in different}) == 2 * len(different)
    assert key(frame(ends=ends))[1] != key(frame(ends=ends), flags=0x0C)[1], "the header is judged, so it decides"


@pytest.mark.parametrize("ends", [FOUR, SIX])
def test_what_changes_from_packet_to_packet_does_not(ends: tuple[str, str]) -> None:
    assert key(frame(tcp, ends, seq=5, data=b"")) == key(frame(tcp, ends, seq=9, data=b"more", flags=0x18))
    assert key(frame(ends=ends)) != (None, None)


def test_only_unfragmented_tcp_udp_and_echo_over_plain_ip_has_a_key() -> None:
    whole = udp(*FOUR, 1, 2, bytes(30))
    kinds = [ip4(*FOUR, protocol, bytes(30)) for protocol in (2, 47, 132)]
    kinds += [ip4(*FOUR, 1, bytes([kind]) + bytes(30)) for kind in (3, 5, 11, 13)]
    kinds += [ip4(*FOUR, 1, b"\x08" + bytes(30), fragment=0x2000)]
    kinds += [ip4(*FOUR, 17, bytes(30), fragment=bits) for bits in (0x2000, 0x0001, 0x1FFF, 0x3F00)]
    kinds += [b"\x46" + whole[1:], b"\x65" + whole[1:], whole[:23]]
    frames = [ethernet(mac(2), mac(1), IP4, kind) for kind in kinds]
    frames += [ethernet(mac(2), mac(1), IP4, whole, tags=(VLAN,)), ethernet(mac(2), mac(1), 0x0801, whole)]
    frames += [ethernet(mac(2), mac(1), IP6, udp(*SIX, 1, 2, b"")[:43]), ethernet(mac(2), mac(1), IP6, whole)]
    assert [key(f) for f in frames] == [(None, None)] * len(frames)
    assert key(ethernet(mac(2), mac(1), IP4, ip4(*FOUR, 17, bytes(30), fragment=0x4000))) != (None, None)


def echo(ends: tuple[str, str] = FOUR, kind: int | None = None, rest: bytes = b"\0abcd", tos: int = 0) -> bytes:
    """A frame with an ICMP or ICMPv6 message, an echo request if no ``kind`` is named."""
    six = ":" in ends[0]
    kind = (128 if six else 8) if kind is None else kind
    message = packet(*ends, 58 if six else 1, bytes([kind]) + rest + bytes(20), tos=tos)
    return ethernet(mac(2), mac(1), IP6 if six else IP4, message)


@pytest.mark.parametrize("ends", [FOUR, SIX])
def test_an_echo_is_a_flow_whatever_its_number_and_checksum(ends: tuple[str, str]) -> None:
    answer = 129 if ":" in ends[0] else 0
    assert key(echo(ends)) == key(echo(ends, rest=b"\0ABCD")) != (None, None)
    different = [
        echo(ends),
        echo(ends, answer),
        echo(ends[::-1]),
        echo(ends, tos=2),
        frame(ends=ends),
        frame(tcp, ends),
    ]
    assert len({key(f) for f in different}) == len(different)


@pytest.mark.parametrize("kind", [130, 131, 132, 133, 134, 135, 136, 137, 143])
def test_multicast_listeners_and_neighbours_are_no_flow(kind: int) -> None:
    """RFC 2710, 3810, 4861: these are read by the switch, each one of them."""
    assert key(echo(SIX, kind)) == (None, None)


@given(st.binary(max_size=100), st.sampled_from((b"\x08\0", b"\x86\xdd", b"\x88\xa8")))
def test_any_bytes_have_a_key_or_none(payload: bytes, ethertype: bytes) -> None:
    data = vxlan(7, bytes(12) + ethertype + payload)
    found = key(data[8:])
    assert (found[0] is None) == (found[1] is None)
    assert flow_key(memoryview(data), 8, 13, 8) is None


def a_flow() -> Flow:
    table = Table("n", 7, mtu=1450)
    port = LocalPort("p", None, 10)
    src, dst = table.learn(mac(1), port, 0.0), table.learn(mac(2), port, 0.0)
    assert src is not None and dst is not None
    return Flow(table, src, dst, None)


@pytest.mark.parametrize("head", [0, 8])
@given(st.data())
def test_found_is_what_was_kept_under_the_frames_key_and_nothing_else(head: int, data: st.DataObject) -> None:
    """Finding does not judge the frame first; no other frame may be taken for one of the flow."""
    ends = data.draw(st.sampled_from((FOUR, SIX)))
    make = data.draw(st.sampled_from((udp, tcp, echo)))
    kept = vxlan(7, echo(ends) if make is echo else frame(make, ends))
    flow, cache = a_flow(), FlowCache(head)
    key_of_flow = flow_key(memoryview(kept), 8, len(kept) - 8, head)
    assert key_of_flow is not None
    cache.keep(key_of_flow, flow)
    other = bytearray(kept)
    for _ in range(data.draw(st.integers(0, 2))):
        other[data.draw(st.integers(0, min(69, len(kept) - 1)))] ^= data.draw(st.integers(0, 255))
    length = data.draw(st.integers(14, len(other) - 8))
    same = flow_key(memoryview(other), 8, length, head) == key_of_flow
    assert (cache.find(memoryview(other), 8, length) is flow) == same
    flow.table.changed()
    assert cache.find(memoryview(kept), 8, len(kept) - 8) is None, "a decision that holds no more is not found"


def test_a_cache_is_bounded_and_comes_back() -> None:
    cache, flow = FlowCache(), a_flow()
    for n in range(3 * MAX_FLOWS):
        cache.keep((n,), flow)
        assert 0 < len(cache) <= MAX_FLOWS
        assert cache[(n,)] is flow


def test_a_port_that_sends_every_flow_there_is_empties_only_its_own(duo: Duo) -> None:
    """Through the switch: the neighbour's decisions stay."""
    other = duo.a.port(VNI, mac(3))
    duo.ta.install(mac(2), duo.a.peer(duo.b), "static", 0.0)
    other.send(frame(src=3))
    duo.fabric.run()
    kept = dict(other.flows)
    assert len(kept) == 1
    template = frame()
    for n in range(MAX_FLOWS + 10):
        duo.pa.send(template[:34] + struct.pack("!H", n) + template[36:])
    duo.fabric.run()
    assert dict(other.flows) == kept and 0 < len(duo.pa.flows) <= MAX_FLOWS
