"""The way out of a port: what leaves for which VTEP, in which datagrams, in which order."""

from __future__ import annotations

import itertools
import struct
from typing import Any

import pytest

from tests.dataplane.conftest import VNI, Duo
from tests.dataplane.fabric import CablePort, Fabric, Host
from tests.dataplane.frames import (
    ARP,
    BROADCAST,
    IP4,
    IP6,
    QINQ,
    VLAN,
    cut,
    ethernet,
    finish,
    mac,
    partial,
    plain,
    super_frame,
    tcp,
    udp,
    vxlan,
    wire_count,
)
from vxswitch.dataplane.encap import BURST_FRAMES
from vxswitch.model import Vtep

FOUR, SIX = ("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")


def to_b(payload: bytes, ethertype: int = 0x1234, **more: Any) -> bytes:
    return ethernet(mac(2), mac(1), ethertype, payload, **more)


@pytest.fixture
def known(duo: Duo) -> Duo:
    """Both ends know both MACs, so nothing is flooded."""
    duo.ta.install(mac(2), duo.a.peer(duo.b), "static", 0.0)
    duo.tb.install(mac(1), duo.b.peer(duo.a), "static", 0.0)
    return duo


def payloads(duo: Duo) -> list[bytes]:
    return [datagram.payload for datagram in duo.fabric.sent]


def test_r01_r10_r11_r12_r13_the_header_before_every_frame(known: Duo) -> None:
    frame = to_b(b"payload")
    known.pa.send(frame)
    known.fabric.run()
    (datagram,) = known.fabric.sent
    assert datagram.payload == bytes.fromhex("08000000 000007 00") + frame
    assert datagram.target == ("192.0.2.2", 4789) and datagram.source[0] == "192.0.2.1"
    assert known.pb.outbox == [plain(frame)]


def test_equal_frames_of_a_burst_leave_in_one_send(known: Duo) -> None:
    known.pa.alone = False  # in the middle of a stream
    frames = [to_b(udp(*FOUR, 1, 2, bytes([n]) * 30), IP4) for n in range(50)]
    for frame in frames:
        known.pa.send(frame)
    known.fabric.run()
    assert known.fabric.sends == [50]
    assert known.pb.got() == frames


def test_a_run_ends_with_a_shorter_frame_and_at_another_tos(known: Duo) -> None:
    def flow(size: int, tos: int = 0) -> bytes:
        return to_b(udp(*FOUR, 1, 2, bytes(size), tos=tos), IP4)

    known.pa.alone = False  # in the middle of a stream
    frames = [flow(50), flow(50), flow(20), flow(50), flow(60), flow(60, 2), flow(60, 2), flow(60)]
    for frame in frames:
        known.pa.send(frame)
    known.fabric.run()
    assert known.fabric.sends == [3, 1, 1, 2, 1]
    assert [d.tos for d in known.fabric.sent] == [0, 0, 0, 0, 0, 2, 2, 0]
    assert known.pb.got() == frames


def test_a_burst_is_bounded_and_its_buffer_used_again(known: Duo) -> None:
    """Jumbo frames fill the buffer several times within one burst; none may be written over before it has left."""
    known.ta.resize(9000)
    known.tb.resize(9000)
    frames = [to_b(bytes([n]) * (9000 - n)) for n in range(BURST_FRAMES + 1)]
    for frame in frames:
        known.pa.send(frame)
    known.a.encap.burst(known.pa, known.fabric.now)
    assert 0 < known.pa.rx_frames <= BURST_FRAMES and known.pa.inbox
    known.fabric.run()
    assert known.pb.got() == frames


def test_a_frame_that_waits_is_not_written_over(known: Duo) -> None:
    """It waits on its path from the start of the burst, while another path's jumbo frames go round the buffer."""
    known.ta.resize(9000)
    known.tb.resize(9000)
    frames = [to_b(udp(*FOUR, n, 2, b"waits" * 100), IP4) for n in range(1, 9)]
    frames += [to_b(udp(*FOUR, 99, 2, bytes([n]) * 8900), IP4) for n in range(24)]
    for frame in frames:
        known.pa.send(frame)
    known.fabric.run()
    assert sorted(payloads(known)) == sorted(vxlan(VNI, frame) for frame in frames)


@pytest.mark.parametrize("ends", [FOUR, SIX])
@pytest.mark.parametrize(("size", "gso"), [(1399, 1399), (60000, 1398), (60000, 1399), (64000, 100), (3000, 8)])
def test_a_super_frame_is_cut_as_the_kernel_cuts(known: Duo, ends: tuple[str, str], size: int, gso: int) -> None:
    ethertype = IP6 if ":" in ends[0] else IP4
    known.ta.resize(1500)
    known.tb.resize(1500)
    whole = super_frame(to_b(tcp(*ends, 1, 2, bytes(range(250)) * (size // 250), flags=0x98), ethertype), *ends, gso)
    known.pa.inbox.append(whole)
    known.fabric.run()
    assert payloads(known) == [vxlan(VNI, frame) for frame in cut(whole)]
    assert [frame for data in known.pb.outbox for frame in cut(data)] == cut(whole)
    assert max(known.fabric.sends) <= 128
    assert known.pa.rx_frames == wire_count(whole) and known.pa.rx_bytes == sum(map(len, cut(whole)))


def test_frames_of_one_flow_keep_their_order_around_super_frames(known: Duo) -> None:
    def bulk(n: int, size: int) -> bytes:
        return super_frame(to_b(tcp(*FOUR, 1, 2, bytes([n]) * size), IP4), *FOUR, 1000)

    sent = [
        plain(to_b(tcp(*FOUR, 1, 2, b"a"), IP4)),
        bulk(2, 5000),
        bulk(3, 3500),
        plain(to_b(tcp(*FOUR, 1, 2, b"b"), IP4)),
    ]
    sent.append(plain(to_b(tcp(*FOUR, 1, 2, b"c" * 900), IP4)))
    sent.append(bulk(6, 2001))
    known.pa.inbox.extend(sent)
    known.fabric.run()
    assert payloads(known) == [vxlan(VNI, frame) for data in sent for frame in cut(data)]


def test_a_partial_checksum_never_leaves_the_host(known: Duo) -> None:
    frames = [partial(to_b(make(*ends, 1, 2, b"odd length!"), kind), *ends) for make, ends, kind in flavours()]
    known.pa.inbox.extend(frames)
    known.fabric.run()
    assert sorted(payloads(known)) == sorted(vxlan(VNI, finish(data)) for data in frames)


def flavours() -> Any:
    return itertools.chain(
        ((make, FOUR, IP4) for make in (udp, tcp)),
        ((make, SIX, IP6) for make in (udp, tcp)),
    )


def test_a_neighbouring_port_gets_what_was_read(known: Duo) -> None:
    """Partial checksums and super-frames are the next kernel's matter: no cutting, no completing."""
    other = known.a.port(VNI, mac(3))
    frame = ethernet(mac(3), mac(1), IP4, tcp(*FOUR, 1, 2, bytes(5000)))
    sent = [partial(frame[:1000], *FOUR), super_frame(frame, *FOUR, 1000), plain(frame[:64])]
    known.pa.inbox.extend(sent)
    known.fabric.run()
    assert other.outbox == sent and not known.fabric.sent
    assert other.tx_frames == known.pa.rx_frames == 1 + 5 + 1


def test_r16_r17_one_flow_has_one_source_port_both_ways(known: Duo) -> None:
    ports: dict[int, set[int]] = {}
    for n, tos, size in itertools.product(range(64), (0, 2), (1, 700)):
        known.pa.send(to_b(udp(*FOUR, 1000 + n, 53, bytes(size), tos=tos), IP4))
        known.pb.send(ethernet(mac(1), mac(2), IP4, udp(*FOUR[::-1], 53, 1000 + n, bytes(size), tos=tos)))
    known.fabric.run()
    for datagram in known.fabric.sent:
        ends = struct.unpack_from("!HH", datagram.payload, 8 + 14 + 20)
        ports.setdefault(max(ends), set()).add(datagram.source[1])
    assert len(ports) == 64 and all(len(used) == 1 for used in ports.values())
    assert len(set.union(*ports.values())) == 8, "all source ports of the pool carry something"


def test_r16_fragments_of_one_packet_stay_together(known: Duo) -> None:
    packet = udp(*FOUR, 1, 2, bytes(40))
    for offset in (0x2000, 0x2003, 0x0009):
        known.pa.send(to_b(packet[:6] + struct.pack("!H", offset) + packet[8:], IP4))
    known.fabric.run()
    assert len({d.source for d in known.fabric.sent}) == 1


@pytest.mark.parametrize("tags", [(VLAN,), (QINQ,), (QINQ, VLAN), (VLAN,) * 3])
@pytest.mark.parametrize("local", [False, True])
def test_r27_tags_are_stripped(known: Duo, tags: tuple[int, ...], local: bool) -> None:
    """Also where the checksum is partial and its offsets, which count the tags, must move along."""
    target = known.a.port(VNI, mac(3)) if local else known.pb
    dst = mac(3) if local else mac(2)
    frame = ethernet(dst, mac(1), IP4, udp(*FOUR, 1, 2, b"data!"))
    flags, kind, _, gso, start, offset = struct.unpack_from("=BBHHHH", partial(frame, *FOUR))
    tagged = frame[:12] + b"".join(struct.pack("!HH", tpid, 7) for tpid in tags) + partial(frame, *FOUR)[22:]
    known.pa.inbox.append(struct.pack("=BBHHHH", flags, kind, 0, gso, start + 4 * len(tags), offset) + tagged)
    known.pa.send(ethernet(dst, mac(1), 0x1234, b"x", tags=tags))
    known.fabric.run()
    assert [finish(data) for data in target.outbox] == [frame, ethernet(dst, mac(1), 0x1234, b"x")]


def test_r27_a_tagged_super_frame_is_cut_without_its_tag(known: Duo) -> None:
    whole = super_frame(to_b(tcp(*FOUR, 1, 2, bytes(4000)), IP4), *FOUR, 1000)
    flags, kind, _, gso, start, offset = struct.unpack_from("=BBHHHH", whole)
    tagged = whole[10:22] + struct.pack("!HH", VLAN, 7) + whole[22:]
    known.pa.inbox.append(struct.pack("=BBHHHH", flags, kind, 0, gso, start + 4, offset) + tagged)
    known.fabric.run()
    assert payloads(known) == [vxlan(VNI, frame) for frame in cut(whole)]


@pytest.mark.parametrize("tags", [(), (VLAN,), (QINQ, VLAN)])
def test_r26_r27_tags_are_carried_where_configured(known: Duo, tags: tuple[int, ...]) -> None:
    """They are beyond the MTU, both ways."""
    for table in (known.ta, known.tb):
        table.vlan = "carry"
    frame = to_b(bytes(1450), tags=tags)
    known.pa.send(frame)
    known.fabric.run()
    assert known.pb.got() == [frame]


@pytest.mark.parametrize(("copy_dscp", "outer"), [(False, 2), (True, 0xBA)])
@pytest.mark.parametrize("ends", [FOUR, SIX])
def test_ecn_goes_out_and_dscp_only_if_asked(
    fabric: Fabric, ends: tuple[str, str], copy_dscp: bool, outer: int
) -> None:
    """RFC 6040 section 4.1."""
    host, far = fabric.host(copy_dscp=copy_dscp), fabric.host()
    host.network(VNI).install(mac(2), host.peer(far), "static", 0.0)
    port = host.port(VNI, mac(1))
    kind = IP6 if ":" in ends[0] else IP4
    for _ in range(2):
        port.send(to_b(udp(*ends, 1, 2, b"", tos=0xBA), kind))
    whole = super_frame(to_b(udp(*ends, 1, 2, bytes(3000), tos=0xBA), kind), *ends, 1000)
    port.inbox.append(whole)
    port.send(to_b(b"not IP at all"))
    fabric.run()
    assert [d.tos for d in fabric.sent] == [outer] * 5 + [0]


def test_r04_flooding_is_one_copy_per_vtep_and_per_port_and_none_back(fabric: Fabric) -> None:
    hosts = [fabric.host() for _ in range(4)]
    ports: dict[Host, list[CablePort]] = {}
    for host in hosts:
        host.network(VNI)
        ports[host] = [host.port(VNI, mac(10 * len(ports) + n)) for n in range(3)]
    fabric.mesh(VNI, *hosts)
    sender = ports[hosts[0]][1]
    frames = [ethernet(dst, sender.mac or b"", ARP, b"hello") for dst in (BROADCAST, b"\x01\0\x5e\0\0\1", mac(999))]
    for frame in frames:
        sender.send(frame)
    fabric.run()
    for port in itertools.chain(*ports.values()):
        assert port.got() == ([] if port is sender else frames)
    assert sorted(d.target[0] for d in fabric.sent) == sorted(f"192.0.2.{n}" for n in (2, 3, 4) for _ in frames)
    assert hosts[0].stats.copies == 4 * 3 and hosts[1].stats.copies == 2 * 3
    assert not any(host.drops() for host in hosts)


def test_r04_a_flooded_super_frame_is_cut_for_vteps_and_whole_for_ports(known: Duo) -> None:
    other = known.a.port(VNI, mac(3))
    whole = super_frame(ethernet(BROADCAST, mac(1), IP4, udp(*FOUR, 1, 2, bytes(3000))), *FOUR, 1000)
    known.pa.inbox.append(whole)
    known.fabric.run()
    assert other.outbox == [whole]
    assert payloads(known) == [vxlan(VNI, frame) for frame in cut(whole)]
    assert known.a.stats.copies == 3


def test_a_suspended_peer_gets_no_flood_but_keeps_its_unicast(known: Duo) -> None:
    peer = known.a.peer(known.b)
    peer.live = False
    known.ta.set_peers([], 1, known.ta.senders)
    known.pa.send(to_b(b"known unicast"))
    known.pa.send(ethernet(BROADCAST, mac(1), ARP, b""))
    known.fabric.run()
    assert len(known.fabric.sent) == 1
    assert known.a.drops() == {"suspended": 1}


@pytest.mark.parametrize("size", [10, 1000, 2500])
def test_what_is_flooded_does_not_overtake_what_waits(known: Duo, size: int) -> None:
    """The destination is known for the first frames and forgotten before the last of the same burst."""
    sent = [plain(to_b(udp(*FOUR, 1, 2, bytes([n])), IP4)) for n in range(2)]
    last = to_b(udp(*FOUR, 1, 2, bytes(size)), IP4)
    sent.append(super_frame(last, *FOUR, 1000) if size > 1000 else plain(last))
    known.pa.inbox.extend(sent)
    read = known.pa.read

    def read_and_forget(slot: memoryview) -> int:
        if len(known.pa.inbox) == 1:
            known.ta.withdraw(mac(2))
        return read(slot)

    known.pa.read = read_and_forget  # type: ignore[method-assign]
    known.fabric.run()
    assert payloads(known) == [vxlan(VNI, frame) for data in sent for frame in cut(data)]


def test_a_port_that_is_gone_ends_its_bursts(known: Duo) -> None:
    known.pa.state = "gone"
    assert known.a.encap.burst(known.pa, known.fabric.now) is False
    known.pa.state = "up"
    assert known.a.encap.burst(known.pa, known.fabric.now) is True


def test_the_budget_of_flooding_comes_back_with_time(fabric: Fabric) -> None:
    host, far = fabric.host(), fabric.host()
    table = host.network(VNI)
    port = host.port(VNI, mac(1), bum_pps=10, bum_burst=5)
    table.set_peers([host.peer(far)], 0, {})
    for seconds, passed in ((0.0, 5), (0.25, 2), (0.0, 0), (60.0, 5)):
        fabric.now += seconds
        before = len(fabric.sent)
        for _ in range(20):
            port.send(ethernet(BROADCAST, mac(1), ARP, b""))
        fabric.run()
        assert len(fabric.sent) - before == passed


@pytest.mark.parametrize("cached", [True, False])
def test_ageing_is_held_off_by_sending(known: Duo, cached: bool) -> None:
    """One clock read per burst; a cached decision refreshes its source as well."""
    row = known.ta.learn(mac(5), known.pa, known.fabric.now)
    frame = ethernet(mac(2), mac(5), IP4, udp(*FOUR, 1, 2, b"")) if cached else ethernet(mac(2), mac(5), 0x1234)
    for _ in range(3):
        known.fabric.now += 10.0
        known.pa.send(frame)
        known.fabric.run()
        assert row.seen == known.fabric.now
    assert bool(known.pa.flows) == cached


def test_a_mac_that_stays_elsewhere_is_not_kept_alive_from_here(known: Duo) -> None:
    """It may send from here, but nothing is learned of it, and no decision refreshes it."""
    there = known.a.port(VNI)
    row = known.ta.install(mac(5), there, "learned", known.fabric.now, flags=("sticky",))
    seen = row.seen
    known.fabric.now += 10.0
    for _ in range(3):
        known.pa.send(ethernet(mac(2), mac(5), IP4, udp(*FOUR, 1, 2, b"")))
        known.fabric.run()
    assert (row.hop, row.seen) == (there, seen)
    assert len(known.pb.got()) == 3


def test_a_full_table_refuses_to_learn_and_never_to_forward(known: Duo) -> None:
    """A port's share is a bound against that port: what it sends still arrives, uncached, and others keep learning."""
    greedy = known.a.port(VNI, max_macs=2)
    frames = [ethernet(mac(2), mac(100 + n), IP4, udp(*FOUR, 1, 2, b"")) for n in range(5)]
    for frame in frames * 2:
        greedy.send(frame)
    known.pa.send(ethernet(mac(2), mac(50), ARP, b""))
    known.fabric.run()
    assert known.pb.got().count(frames[4]) == 2 and not known.a.drops()
    assert {m for m, row in known.ta.rows.items() if row.hop is greedy} == {mac(100), mac(101)}
    assert mac(50) in known.ta.rows
    assert known.a.stats.fdb_refused == 2 * 3
    assert len(greedy.flows) == 2


def test_r15_each_peer_has_its_own_port(known: Duo) -> None:
    known.ta.install(mac(8), known.a.fdb.peer(Vtep("192.0.2.77", 8472)), "static", 0.0)
    known.pa.send(ethernet(mac(8), mac(1), 0x1234))
    known.pa.send(to_b(b""))
    known.fabric.run()
    assert [d.target for d in known.fabric.sent] == [("192.0.2.77", 8472), ("192.0.2.2", 4789)]


def test_a_frame_that_comes_alone_leaves_before_the_port_is_asked_for_another(known: Duo) -> None:
    """Where the last burst was one frame the next one is taken to be. What comes after the first one gathers."""
    seen: list[int] = []
    read = known.pa.read

    def counting(slot: memoryview) -> int:
        seen.append(len(known.fabric.sent))
        return read(slot)

    known.pa.read = counting  # type: ignore[method-assign]
    for frames, sent in ((3, [0, 1, 1, 1]), (3, [3, 3, 3, 3]), (1, [6, 6]), (1, [7, 8]), (2, [8, 9, 9])):
        for n in range(frames):
            known.pa.send(to_b(bytes([n]) * 50))
        seen.clear()
        assert known.a.encap.burst(known.pa, known.fabric.now)
        assert seen == sent
