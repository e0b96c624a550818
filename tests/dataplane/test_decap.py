"""The way in from the underlay: who may send what to whom, what it teaches, and that bytes stay as they are."""

from __future__ import annotations

import itertools
import struct
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.dataplane.conftest import VNI, Duo
from tests.dataplane.fabric import CablePort, Fabric
from tests.dataplane.frames import (
    BROADCAST,
    IP4,
    IP6,
    QINQ,
    VLAN,
    VNET,
    cut,
    ethernet,
    finish,
    mac,
    ones_complement_sum,
    partial,
    plain,
    super_frame,
    tcp,
    udp,
    vxlan,
)

B = "192.0.2.2"
FOUR, SIX = ("10.0.0.2", "10.0.0.1"), ("fd00::2", "fd00::1")


def to_a(payload: bytes, ethertype: int = 0x1234, src: int = 2, **more: Any) -> bytes:
    return ethernet(mac(1), mac(src), ethertype, payload, **more)


def bring(duo: Duo, *payloads: bytes, source: str = B, **outer: Any) -> list[bytes]:
    """Datagrams come to host A; the frames that its port got."""
    for payload in payloads:
        duo.fabric.inject(duo.a, payload, source, **outer)
    duo.fabric.run()
    return duo.pa.got()


@pytest.mark.parametrize("flags", [0x08, 0x0C, 0x88, 0xFF])
def test_r11_r12_reserved_bits_are_ignored(duo: Duo, flags: int) -> None:
    """GPE's and GBP's among them."""
    frame = to_a(b"data")
    assert bring(duo, vxlan(VNI, frame, flags=flags, reserved=b"\xff\xff\xff", last=0xFF)) == [frame]


def test_r02_only_ports_of_the_datagrams_network_get_it(duo: Duo) -> None:
    duo.a.network(8)
    eight = duo.a.port(8, mac(1))
    duo.fabric.mesh(VNI, duo.a, duo.b)
    assert bring(duo, vxlan(8, to_a(b"not a member of 8"))) == []
    assert duo.a.drops() == {"unknown_vtep": 1}
    duo.a.fdb.tables[8].set_peers([], 0, {B: duo.a.peer(duo.b)})
    duo.fabric.inject(duo.a, vxlan(8, to_a(b"eight")), B)
    assert bring(duo, vxlan(VNI, to_a(b"seven"))) == [to_a(b"seven")]
    assert eight.got() == [to_a(b"eight")]


def test_r03_flood_mode_learns_and_a_mac_moves_with_its_latest_frame(duo: Duo) -> None:
    c = duo.fabric.host()
    duo.join(c, 3)
    duo.fabric.mesh(VNI, duo.a, duo.b, c)
    bring(duo, vxlan(VNI, to_a(b"", src=9)))
    assert duo.ta.rows[mac(9)].hop is duo.a.peer(duo.b)
    bring(duo, vxlan(VNI, to_a(b"", src=9)), source="192.0.2.3")
    assert duo.ta.rows[mac(9)].hop is duo.a.peer(c)
    duo.pa.send(ethernet(mac(2), mac(9), 0x1234))
    duo.fabric.run()
    assert duo.ta.rows[mac(9)].hop is duo.pa
    bring(duo, vxlan(VNI, to_a(b"", src=9)))
    assert duo.ta.rows[mac(9)].hop is duo.a.peer(duo.b), "a MAC that was merely learned here may move away"


@pytest.mark.parametrize("ethertype", [0x1234, IP4])
def test_r03_control_mode_is_taught_nothing_by_the_underlay(duo: Duo, ethertype: int) -> None:
    """Known and unknown sources get through; the table is what it was. A static peer alone teaches."""
    duo.ta.learning = "control"
    frame = to_a(udp(*FOUR, 1, 2, b""), ethertype, src=9)
    before = dict(duo.ta.rows)
    assert bring(duo, *[vxlan(VNI, frame)] * 3) == [frame] * 3
    assert duo.ta.rows == before
    duo.a.peer(duo.b, static=True)
    assert bring(duo, vxlan(VNI, frame)) == [frame]
    assert duo.ta.rows[mac(9)].source == "learned"


def test_control_mode_keeps_no_local_mac_alive_by_what_a_static_peer_sends(duo: Duo) -> None:
    """The MAC is here until a claim says otherwise; its age counts what it sends here."""
    duo.ta.learning = "control"
    duo.a.peer(duo.b, static=True)
    row = duo.ta.learn(mac(9), duo.pa, duo.fabric.now)
    assert row is not None
    seen = row.seen
    duo.fabric.now += 10.0
    other = duo.a.port(VNI, mac(3))
    frame = ethernet(mac(3), mac(9), IP4, udp(*FOUR, 1, 2, b""))
    for _ in range(3):
        bring(duo, vxlan(VNI, frame))
    assert other.got() == [frame] * 3
    assert (row.hop, row.seen) == (duo.pa, seen)


def test_control_mode_lets_a_suspended_owners_mac_through_and_teaches_nothing(duo: Duo) -> None:
    c = duo.fabric.host()
    duo.join(c, 3)
    duo.fabric.mesh(VNI, duo.a, duo.b, c)
    duo.ta.learning = "control"
    owner = duo.a.peer(c)
    duo.ta.install(mac(9), owner, "claimed", 0.0, node="node2", rev=4)
    assert bring(duo, vxlan(VNI, to_a(b"", src=9))) == []
    owner.live = False
    duo.ta.changed()
    assert bring(duo, vxlan(VNI, to_a(b"", src=9))) == [to_a(b"", src=9)]
    assert (duo.ta.rows[mac(9)].hop, duo.ta.rows[mac(9)].rev) == (owner, 4)
    assert duo.a.drops() == {"wrong_owner": 1}


def test_wrong_owner_strikes_a_flow_that_was_decided_before_the_claim(duo: Duo) -> None:
    c = duo.fabric.host()
    duo.join(c, 3)
    duo.fabric.mesh(VNI, duo.a, duo.b, c)
    frame = to_a(udp(*FOUR, 1, 2, b""), IP4, src=9)
    assert len(bring(duo, *[vxlan(VNI, frame)] * 2)) == 2
    duo.ta.learning = "control"
    duo.ta.changed()
    duo.ta.install(mac(9), duo.a.peer(c), "claimed", 1.0, node="node2", rev=1)
    assert bring(duo, vxlan(VNI, frame)) == []
    assert duo.a.drops() == {"wrong_owner": 1}


@pytest.mark.parametrize("learning", ["flood", "control"])
def test_r29_an_unknown_vtep_with_a_victims_mac_changes_nothing(duo: Duo, learning: str) -> None:
    duo.ta.learning = learning
    duo.ta.learn(mac(9), duo.a.peer(duo.b), 0.0)
    rows = {m: (r.hop, r.seen, r.source) for m, r in duo.ta.rows.items()}
    forged = [vxlan(VNI, to_a(udp(*FOUR, 1, 2, b""), IP4, src=n)) for n in (1, 2, 9, 77)]
    assert bring(duo, *forged * 2, source="192.0.2.66") == []
    assert {m: (r.hop, r.seen, r.source) for m, r in duo.ta.rows.items()} == rows
    assert duo.a.drops() == {"unknown_vtep": 8}


def test_senders_that_nobody_knows_cost_nobody_else_a_decision(duo: Duo) -> None:
    """A spoofed source address per datagram must not fill, or empty, what is kept about real senders."""
    frame = to_a(udp(*FOUR, 1, 2, b""), IP4)
    bring(duo, vxlan(VNI, frame))
    kept = {address: dict(flows) for address, flows in duo.a.decap.flows.items()}
    assert [len(flows) for flows in kept.values()] == [1]
    for n in range(5000):
        duo.fabric.inject(duo.a, vxlan(VNI, frame), f"198.51.{n >> 8}.{n & 255}")
    duo.fabric.run()
    assert {address: dict(flows) for address, flows in duo.a.decap.flows.items()} == kept


@pytest.mark.parametrize("cached", [True, False])
def test_a_known_flow_refreshes_what_its_source_sends_and_nothing_else(duo: Duo, cached: bool) -> None:
    frame = to_a(udp(*FOUR, 1, 2, b""), IP4 if cached else 0x1234, src=9)
    duo.ta.learn(mac(5), duo.pa, duo.fabric.now)
    to_five = mac(5) + frame[6:]
    start = duo.fabric.now
    for _ in range(3):
        duo.fabric.now += 10.0
        assert bring(duo, vxlan(VNI, frame), vxlan(VNI, to_five)) == [frame, to_five]
    assert duo.ta.rows[mac(9)].seen == duo.fabric.now
    assert duo.ta.rows[mac(5)].seen == start, "what is sent to a MAC does not keep it alive"
    assert sum(map(len, duo.a.decap.flows.values())) == (2 if cached else 0)


@pytest.mark.parametrize("tags", [(), (VLAN,), (QINQ, VLAN)])
def test_r26_tags_pass_where_they_are_carried(duo: Duo, tags: tuple[int, ...]) -> None:
    duo.ta.vlan = "carry"
    frame = to_a(bytes(1450), tags=tags)
    assert bring(duo, vxlan(VNI, frame)) == [frame]


# RFC 6040, figure 4: what leaves, by inner and outer codepoint; -1 drops.
FIGURE_4 = {0: (0, 0, 0, -1), 1: (1, 1, 1, 3), 2: (2, 1, 2, 3), 3: (3, 3, 3, 3)}


@pytest.mark.parametrize("dst", [mac(1), BROADCAST])
@pytest.mark.parametrize("ends", [FOUR, SIX])
@pytest.mark.parametrize(("inner", "outer"), list(itertools.product(range(4), range(4))))
def test_ecn_as_in_figure_4(duo: Duo, inner: int, outer: int, ends: tuple[str, str], dst: bytes) -> None:
    """Twice: judged, and by the decision that was kept. The IPv4 header checksum stays right."""
    kind = IP4 if ends is FOUR else IP6
    dscp = 0x2C << 2

    def frame(ecn: int) -> bytes:
        return ethernet(dst, mac(2), kind, udp(*ends, 1, 2, b"data", tos=dscp | ecn))

    expected = FIGURE_4[inner][outer]
    got = bring(duo, *[vxlan(VNI, frame(inner))] * 2, tos=outer | 0x10)
    assert got == ([] if expected < 0 else [frame(expected)] * 2)
    if kind == IP4 and got:
        assert ones_complement_sum(got[0][14:34]) == 0xFFFF
    assert duo.a.drops() == ({"ecn_not_ect": 2} if expected < 0 else {})


def odd_frames() -> list[bytes]:
    """Frames with something wrong inside that is none of a switch's business."""
    good = udp(*FOUR, 1, 2, b"data"), tcp(*FOUR, 1, 2, b"data")
    frames = [to_a(b""), to_a(b"", 0x0000), to_a(b"", 0xFFFF), to_a(b"\0", IP4), to_a(b"", IP6), to_a(b"", 1500)]
    for packet in good:
        frames.append(to_a(packet[:24] + b"\xde\xad" + packet[26:], IP4))  # ports
        frames.append(to_a(packet[:-2] + b"\xde\xad", IP4))  # a wrong transport checksum
        frames.append(to_a(packet[:10] + b"\xde\xad" + packet[12:], IP4))  # a wrong header checksum
        frames.append(to_a(b"\x40" + packet[1:], IP4))  # IHL 0
        frames.append(to_a(b"\x4f" + packet[1:], IP4))  # options beyond the frame
        frames.append(to_a(packet[:2] + b"\xff\xff" + packet[4:], IP4))  # total length beyond the frame
        frames.append(to_a(packet + b"trailer", IP4))
        frames.append(to_a(packet, IP6))
        frames.append(to_a(packet[:6] + b"\x20\0" + packet[8:], IP4))  # a fragment
    six = udp(*SIX, 1, 2, b"data")
    return [*frames, to_a(six, IP6), to_a(six[:6] + b"\0" + six[7:], IP6), to_a(six[:-1], IP6), to_a(six, IP4)]


@pytest.mark.parametrize("joined", [True, False])
def test_odd_frames_pass_byte_for_byte(duo: Duo, joined: bool) -> None:
    """Out of one port, across the underlay and into the other, and flooded; the vnet header says nothing of them."""
    duo.fabric.joined = joined
    frames = [mac(2) + mac(1) + f[12:] for f in odd_frames()] * 3
    frames += [BROADCAST + f[6:] for f in frames]
    arrived = []
    for frame in frames:  # one by one: different flows may overtake each other
        duo.pa.send(frame)
        duo.fabric.run()
        arrived += duo.pb.outbox
        duo.pb.outbox.clear()
    assert arrived == [plain(frame) for frame in frames]


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from((IP4, IP6, 0x1234)), st.binary(max_size=80)), min_size=1, max_size=8))
def test_any_payload_passes_byte_for_byte(duo: Duo, frames: list[tuple[int, bytes]]) -> None:
    sent = [ethernet(mac(2), mac(1), ethertype, payload) for ethertype, payload in frames]
    for frame in sent:
        duo.pa.send(frame)
    duo.fabric.run()
    assert sorted(finish(data) for data in duo.pb.outbox) == sorted(sent)
    duo.pb.outbox.clear()


@settings(max_examples=500, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=120), st.integers(0, 255), st.sampled_from((B, "192.0.2.66")))
def test_any_datagram_is_taken_without_an_exception_and_counted(
    duo: Duo, payload: bytes, tos: int, source: str
) -> None:
    duo.fabric.inject(duo.a, payload, source, tos=tos)
    duo.fabric.inject(duo.a, vxlan(VNI, payload), source, tos=tos)
    duo.fabric.run()
    duo.fabric.check_law()


# -- joining ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ends", [FOUR, SIX])
@pytest.mark.parametrize("cached", [False, True])
def test_segments_of_one_flow_leave_as_one_super_frame(duo: Duo, ends: tuple[str, str], cached: bool) -> None:
    """Cut again, it is what came, and it is counted as what came: frames and bytes."""
    duo.fabric.joined = True
    kind = IP4 if ends is FOUR else IP6
    segments = cut(super_frame(to_a(tcp(*ends, 1, 2, bytes(range(200)) * 100, flags=0x18), kind), *ends, 1371))
    if cached:
        bring(duo, vxlan(VNI, to_a(tcp(*ends, 1, 2, b""), kind)))
    before = duo.pa.tx_frames, duo.pa.tx_bytes
    for frame in segments:
        duo.fabric.inject(duo.a, vxlan(VNI, frame), B)
    duo.fabric.run()
    assert len(duo.pa.outbox) == (1 if cached else 2), "the frame that is judged goes alone, the others joined"
    assert [frame for data in duo.pa.outbox for frame in cut(data)] == segments
    assert duo.pa.tx_frames - before[0] == len(segments)
    assert duo.pa.tx_bytes - before[1] == sum(map(len, segments))


@pytest.mark.parametrize("uso", [True, False])
def test_udp_is_joined_for_those_who_know_it(fabric: Fabric, uso: bool) -> None:
    fabric.joined = True
    host, far = fabric.host(), fabric.host()
    host.network(VNI).set_peers([], 0, {B: host.peer(far)})
    port = host.port(VNI, mac(1), offloads=0x20 if uso else 0)
    frames = [to_a(udp(*FOUR, 1, 2, bytes([n]) * 100), IP4) for n in range(10)]
    for n, frame in enumerate(frames):  # what the kernel's segmentation makes has IP identifications that count up
        head = frame[14:18] + struct.pack("!H", n) + frame[20:24] + b"\0\0" + frame[26:34]
        right = struct.pack("!H", ones_complement_sum(head) ^ 0xFFFF)
        frames[n] = frame[:14] + head[:10] + right + head[12:] + frame[34:]
        fabric.inject(host, vxlan(VNI, frames[n]), B)
    fabric.run()
    assert len(port.outbox) == (2 if uso else 10)
    assert [frame for data in port.outbox for frame in cut(data)] == frames


def test_a_corrupt_segment_is_not_laundered(duo: Duo) -> None:
    """Joining would give it a good checksum; it must arrive as wrong as it came, in its place."""
    duo.fabric.joined = True
    segments = cut(super_frame(to_a(tcp(*FOUR, 1, 2, bytes(10_000)), IP4), *FOUR, 1000))
    segments[4] = segments[4][:-1] + b"\x01"
    for frame in segments:
        duo.fabric.inject(duo.a, vxlan(VNI, frame), B)
    duo.fabric.run()
    assert [frame for data in duo.pa.outbox for frame in cut(data)] == segments


def test_one_run_may_hold_several_flows_and_networks(duo: Duo) -> None:
    """GRO joins by the outer header alone; each row is judged for itself."""
    duo.fabric.joined = True
    duo.a.network(8).set_peers([], 0, {B: duo.a.peer(duo.b)})
    eight: CablePort = duo.a.port(8, mac(1))
    flows = [cut(super_frame(to_a(tcp(*FOUR, port, 2, bytes(8000)), IP4), *FOUR, 1000)) for port in (1, 2, 3)]
    mixed = [frame for row in itertools.zip_longest(*flows) for frame in row]
    for n, frame in enumerate(mixed):
        duo.fabric.inject(duo.a, vxlan(VNI if n % 2 else 8, frame), B)
        duo.fabric.inject(duo.a, vxlan(VNI if n % 5 else 9, b"\0" * 6 + frame[6:]), B)
    duo.fabric.run()
    seven, other = ([f for data in port.outbox for f in cut(data)] for port in (duo.pa, eight))
    assert [f for f in seven if f[:6] == mac(1)] == mixed[1::2]
    assert other == mixed[0::2]
    assert duo.a.drops() == {"unknown_vni": len(mixed[::5])}


# -- what a kernel peer on a virtual underlay leaves undone -----------------------------------------------------------


def test_a_kernel_peers_partial_checksum_is_named_to_the_port(duo: Duo) -> None:
    frames = [partial(to_a(make(*FOUR, 1, 2, b"data"), IP4), *FOUR) for make in (udp, tcp)]
    for data in frames:
        duo.fabric.inject(duo.a, vxlan(VNI, data[10:]), B)
    duo.fabric.run()
    assert [finish(data) for data in duo.pa.outbox] == [finish(data) for data in frames]


@pytest.mark.parametrize("ends", [FOUR, SIX])
def test_a_kernel_peers_whole_super_frame_is_cut_by_the_ports_kernel(duo: Duo, ends: tuple[str, str]) -> None:
    whole = super_frame(to_a(tcp(*ends, 1, 2, bytes(30_000)), IP4 if ends is FOUR else IP6), *ends, 1300)
    for _ in range(2):
        duo.fabric.inject(duo.a, vxlan(VNI, whole[10:]), B)
        duo.fabric.run()
        (data,) = duo.pa.outbox
        duo.pa.outbox.clear()
        assert data[10:] == whole[10:]
        assert VNET.unpack_from(data)[1] == VNET.unpack_from(whole)[1]
        frames = cut(data)
        assert max(map(len, frames)) == 1464 and len(frames) > 20
        assert b"".join(f[VNET.unpack_from(data)[4] + 20 :] for f in frames) == bytes(30_000)
