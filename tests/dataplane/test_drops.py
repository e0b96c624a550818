"""Every reason under which the data plane can lose a frame is met once, alone, and counted for what it was."""

from __future__ import annotations

import pytest

from tests.dataplane.conftest import VNI, Duo
from tests.dataplane.fabric import Host
from tests.dataplane.frames import (
    BROADCAST,
    IP4,
    VLAN,
    ethernet,
    ip4,
    mac,
    plain,
    super_frame,
    udp,
    vxlan,
)
from tests.dataplane.groups import G4, data, snooped
from tests.dataplane.losing import BULK, DATA, SCENARIOS, TO_A, A, B, Scenario, arrives, loses
from vxswitch.counters import Drop
from vxswitch.groups import Members

# -- from the underlay ----------------------------------------------------------------------------------------------


@loses(Drop.SHORT_DATAGRAM, 3)
def short_datagram(duo: Duo) -> Host:
    arrives(duo, b"")
    arrives(duo, vxlan(VNI, b"")[:5])
    return arrives(duo, vxlan(VNI, TO_A[:13]))


@loses(Drop.NO_I_FLAG)
def no_i_flag(duo: Duo) -> Host:
    return arrives(duo, vxlan(VNI, TO_A, flags=0xF7, reserved=b"\xff\xff\xff", last=255))


@loses(Drop.NO_I_FLAG)
def no_i_flag_comes_before_reserved_bits(duo: Duo) -> Host:
    duo.a.decap.strict = True
    return no_i_flag(duo)


@loses(Drop.RESERVED_BITS)
def reserved_bits_when_strict(duo: Duo) -> Host:
    duo.a.decap.strict = True
    return arrives(duo, vxlan(VNI, TO_A, last=1))


@loses(Drop.UNKNOWN_VNI)
def unknown_vni(duo: Duo) -> Host:
    return arrives(duo, vxlan(VNI + 1, TO_A))


@loses(Drop.UNKNOWN_VTEP)
def unknown_vtep(duo: Duo) -> Host:
    duo.fabric.inject(duo.a, vxlan(VNI, TO_A), "192.0.2.99")
    return duo.a


@loses(Drop.BAD_SOURCE, 2)
def bad_source(duo: Duo) -> Host:
    arrives(duo, vxlan(VNI, ethernet(mac(1), bytes(6), 0x1234, DATA)))
    return arrives(duo, vxlan(VNI, ethernet(mac(1), BROADCAST, 0x1234, DATA)))


@loses(Drop.OWN_MAC)
def own_mac(duo: Duo) -> Host:
    return arrives(duo, vxlan(VNI, ethernet(BROADCAST, mac(1), 0x1234, DATA)))


@loses(Drop.WRONG_OWNER, 2)
def wrong_owner(duo: Duo) -> Host:
    c = duo.fabric.host()
    duo.join(c, 3)
    duo.fabric.mesh(VNI, duo.a, duo.b, c)
    duo.ta.learning = "control"
    duo.ta.install(mac(9), duo.a.peer(c), "claimed", 0.0, node="node2", rev=1)
    duo.ta.install(mac(8), duo.a.peer(c), "static", 0.0)
    duo.ta.changed()
    arrives(duo, vxlan(VNI, ethernet(mac(1), mac(8), 0x1234, DATA)))
    return arrives(duo, vxlan(VNI, TO_A))


@loses(Drop.VLAN_POLICY, 2)
def r26_tag_from_the_underlay(duo: Duo) -> Host:
    arrives(duo, vxlan(VNI, ethernet(mac(1), mac(9), 0x0800, ip4(A, B, 1, DATA), tags=(VLAN,))))
    return arrives(duo, vxlan(VNI, ethernet(mac(1), mac(9), VLAN, b"\0")))


@loses(Drop.OVERSIZE)
def oversize_from_the_underlay(duo: Duo) -> Host:
    return arrives(duo, vxlan(VNI, ethernet(mac(1), mac(9), 0x1234, bytes(1451))))


@loses(Drop.OVERSIZE)
def oversize_from_the_underlay_in_a_known_flow(duo: Duo) -> Host:
    for size in (1422, 1423):
        arrives(duo, vxlan(VNI, ethernet(mac(1), mac(9), IP4, udp("10.0.0.1", "10.0.0.2", 5, 6, bytes(size)))))
    return duo.a


@loses(Drop.RESERVED_GROUP)
def pause_from_the_underlay(duo: Duo) -> Host:
    return arrives(duo, vxlan(VNI, ethernet(bytes.fromhex("0180c2000001"), mac(9), 0x8808, DATA)))


@loses(Drop.ECN_NOT_ECT)
def congestion_on_what_cannot_carry_it(duo: Duo) -> Host:
    return arrives(duo, vxlan(VNI, ethernet(mac(1), mac(9), IP4, udp("10.0.0.9", "10.0.0.1", 5, 6, DATA))), tos=3)


@loses(Drop.ECN_NOT_ECT)
def congestion_on_what_is_flooded(duo: Duo) -> Host:
    return arrives(duo, vxlan(VNI, ethernet(BROADCAST, mac(9), IP4, udp("10.0.0.9", "10.0.0.1", 5, 6, DATA))), tos=3)


@loses(Drop.SPLIT_HORIZON)
def transit(duo: Duo) -> Host:
    c = duo.fabric.host()
    duo.ta.install(mac(30), duo.a.peer(c), "static", 0.0)
    return arrives(duo, vxlan(VNI, ethernet(mac(30), mac(9), 0x1234, DATA)))


@loses(Drop.UNKNOWN_UNICAST)
def unknown_unicast_from_the_underlay(duo: Duo) -> Host:
    duo.ta.unknown = "drop"
    return arrives(duo, vxlan(VNI, ethernet(mac(77), mac(9), 0x1234, DATA)))


@loses(Drop.NO_FLOOD_PEERS)
def nobody_here(duo: Duo) -> Host:
    duo.ta.remove_port(duo.pa)
    return arrives(duo, vxlan(VNI, ethernet(BROADCAST, mac(9), 0x1234, DATA)))


@loses(Drop.NO_LISTENERS, 2)
def nobody_listens(duo: Duo) -> Host:
    snooped(duo.ta)
    frame = ethernet(bytes.fromhex("01005e010203"), mac(9), IP4, udp("10.0.0.9", "239.1.2.3", 5, 6, DATA))
    duo.ta.set_peers((), 0, duo.ta.senders)
    duo.pa.send(ethernet(bytes.fromhex("01005e010203"), mac(1), IP4, udp("10.0.0.1", "239.1.2.3", 5, 6, DATA)))
    return arrives(duo, vxlan(VNI, frame))


@loses(Drop.COPY_LIMIT, 3)
def copies_beyond_the_budget(duo: Duo) -> Host:
    """Two copies a frame, and a budget for four; the third frame finds it empty, cached decision or not."""
    port = duo.a.port(VNI, mac(3), mcast_copies=40)
    known = snooped(duo.ta)
    known.put(G4, Members(frozenset({duo.pa}), frozenset({"node1"})))
    for payload in (b"1", b"2", b"3", b"4", b"5"):
        port.send(data(G4, 3, payload))
    return duo.a


# -- to a port ------------------------------------------------------------------------------------------------------


@loses(Drop.PORT_BUSY)
def port_busy(duo: Duo) -> Host:
    duo.pa.refuse = Drop.PORT_BUSY
    return arrives(duo, vxlan(VNI, TO_A))


@loses(Drop.PORT_DOWN, 3)
def port_down_for_a_super_frame(duo: Duo) -> Host:
    other = duo.a.port(VNI, mac(3))
    other.refuse = Drop.PORT_DOWN
    frame = ethernet(mac(3), mac(1), IP4, BULK)
    duo.pa.inbox.append(super_frame(frame, "10.0.0.1", "10.0.0.2", 1400))
    return duo.a


@loses(Drop.PORT_GONE)
def port_gone_among_those_flooded_to(duo: Duo) -> Host:
    duo.a.port(VNI, mac(3)).refuse = Drop.PORT_GONE
    return arrives(duo, vxlan(VNI, ethernet(BROADCAST, mac(9), 0x1234, DATA)))


CASES = [
    pytest.param(scenario, reason, count, id=f"{reason.label}-{scenario.__name__}")
    for reason, scenarios in SCENARIOS.items()
    for scenario, count in scenarios
]


@pytest.mark.parametrize(("scenario", "reason", "count"), CASES)
def test_lost_for_this_reason_alone(duo: Duo, scenario: Scenario, reason: Drop, count: int) -> None:
    host = scenario(duo)
    duo.fabric.run()
    assert host.drops() == {reason.label: count}


def test_every_reason_of_the_data_plane_is_met() -> None:
    """What is left is other rooms' to count (crypto; the kernel's checksum), or needs real sockets (test_underlay)."""
    crypto = {Drop.REPLAY, Drop.AUTH, Drop.UNKNOWN_SPI, Drop.PLAINTEXT, Drop.NO_SESSION}
    assert set(Drop) - set(SCENARIOS) == crypto | {Drop.BAD_OUTER_CHECKSUM, Drop.STRAY_DATAGRAM}


def test_a_datagram_that_is_plain_reaches_its_port(duo: Duo) -> None:
    """The scenarios above would lose everything by a mistake of their own; this is their counterpart."""
    host = arrives(duo, vxlan(VNI, TO_A))
    duo.fabric.run()
    assert host.drops() == {} and duo.pa.outbox == [plain(TO_A)]
