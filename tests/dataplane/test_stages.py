"""The order of the questions on receipt: a frame with several faults dies under the one that is cheapest to see."""

from __future__ import annotations

import pytest

from tests.dataplane.conftest import VNI, Duo
from tests.dataplane.frames import BROADCAST, VLAN, ethernet, mac, vxlan
from vxswitch.counters import Drop
from vxswitch.dataplane import stages

KNOWN, STRANGER = "192.0.2.2", "192.0.2.66"
LLDP = bytes.fromhex("0180c200000e")
GROUP, OTHERS, HERS = BROADCAST, mac(30), mac(2)

# In the order of conformance.md: each row has all the faults of the rows below it as well.
FAULTS: list[tuple[Drop, bytes, str]] = [
    (Drop.SHORT_DATAGRAM, vxlan(99, b"", flags=0) + bytes(13), STRANGER),
    (Drop.NO_I_FLAG, vxlan(99, ethernet(LLDP, GROUP, VLAN, b""), flags=0x04), STRANGER),
    (Drop.RESERVED_BITS, vxlan(99, ethernet(LLDP, GROUP, VLAN, b""), flags=0x0C), STRANGER),
    (Drop.UNKNOWN_VNI, vxlan(99, ethernet(LLDP, GROUP, VLAN, b"")), STRANGER),
    (Drop.UNKNOWN_VTEP, vxlan(VNI, ethernet(LLDP, GROUP, VLAN, b"")), STRANGER),
    (Drop.BAD_SOURCE, vxlan(VNI, ethernet(LLDP, GROUP, VLAN, b"")), KNOWN),
    (Drop.OWN_MAC, vxlan(VNI, ethernet(LLDP, mac(1), VLAN, b"")), KNOWN),
    (Drop.WRONG_OWNER, vxlan(VNI, ethernet(LLDP, OTHERS, VLAN, b"")), KNOWN),
    (Drop.VLAN_POLICY, vxlan(VNI, ethernet(LLDP, HERS, VLAN, b"")), KNOWN),
    (Drop.OVERSIZE, vxlan(VNI, ethernet(LLDP, HERS, 0x88CC, bytes(2000))), KNOWN),
    (Drop.RESERVED_GROUP, vxlan(VNI, ethernet(LLDP, HERS, 0x88CC, b"")), KNOWN),
]


@pytest.mark.parametrize(("reason", "payload", "source"), FAULTS, ids=[reason.label for reason, _, _ in FAULTS])
def test_sanity_order_on_receipt(duo: Duo, reason: Drop, payload: bytes, source: str) -> None:
    duo.a.decap.strict = True
    duo.ta.learning = "control"
    elsewhere = duo.a.peer(duo.fabric.host())
    duo.ta.install(OTHERS, elsewhere, "claimed", 0.0, node="node2")
    before = dict(duo.ta.rows)
    duo.fabric.inject(duo.a, payload, source)
    duo.fabric.run()
    assert duo.a.drops() == {reason.label: 1}
    assert duo.ta.rows == before, "a frame that is refused teaches nothing"


def test_a_claim_is_its_nodes_whatever_vtep_that_has_now(duo: Duo) -> None:
    """The owner may send from another VTEP than the row names; who has no name may not use a named one's MAC."""
    owner, moved = duo.a.peer(duo.fabric.host(), "node2"), duo.a.peer(duo.fabric.host(), "node2")
    nameless = duo.a.peer(duo.fabric.host(), static=True)
    duo.ta.learning = "control"
    duo.ta.install(OTHERS, owner, "claimed", 0.0, node="node2")
    assert stages.remote_source(duo.ta, owner, OTHERS) == 0
    assert stages.remote_source(duo.ta, moved, OTHERS) == 0
    assert stages.remote_source(duo.ta, nameless, OTHERS) == Drop.WRONG_OWNER


@pytest.mark.parametrize("last", range(16))
def test_reserved_groups_never_leave_their_link(duo: Duo, last: int) -> None:
    duo.pa.send(ethernet(LLDP[:5] + bytes((last,)), mac(1), 0x88CC, b""))
    duo.pa.send(ethernet(LLDP[:5] + bytes((last + 16,)), mac(1), 0x88CC, b""))
    duo.fabric.run()
    assert duo.a.drops() == {"reserved_group": 1}
    assert len(duo.pb.got()) == 1


def test_oversize_counts_tags_only_where_they_go_along(duo: Duo) -> None:
    """A full-size frame with a tag to be stripped fits; so does one whose tag is carried."""
    frame = ethernet(mac(9), mac(1), 0x1234, bytes(1450), tags=(VLAN,))
    duo.pa.send(frame)
    duo.pa.send(frame + b"\0")
    duo.fabric.run()
    assert duo.a.drops() == {"oversize": 1}
    for table in (duo.ta, duo.tb):
        table.vlan = "carry"
    duo.pa.send(frame)
    duo.pa.send(frame + b"\0")
    duo.fabric.run()
    assert duo.a.drops() == {"oversize": 2}
    assert [len(f) for f in duo.pb.got()] == [1464, 1468]


def test_a_network_that_shrinks_still_takes_what_others_send_as_before(duo: Duo) -> None:
    """Their stations learn of it late, or never; what leaves here is held to the new MTU at once."""
    frame = ethernet(mac(9), mac(1), 0x1234, bytes(1450))
    duo.tb.resize(1350)
    duo.tb.changed()
    for _ in range(2):  # judged, and by a cached decision
        duo.pa.send(frame)
    duo.fabric.run()
    assert duo.b.drops() == {} and [len(f) for f in duo.pb.got()] == [1464, 1464]
    duo.pb.send(ethernet(mac(1), mac(9), 0x1234, bytes(1351)))
    duo.fabric.run()
    assert duo.b.drops() == {"oversize": 1}
