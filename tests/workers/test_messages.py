"""What leaves as bytes arrives as the same values, and the largest message fits the link."""

from __future__ import annotations

import msgspec
import pytest

from vxswitch.dataplane.sockets import UnderlayOptions
from vxswitch.model import PortSpec, Vtep
from vxswitch.wire.multicast import JOINED, LEFT, QUERY, REPORT, Message
from vxswitch.wire.probe import ANSWER, Identity, Probe
from vxswitch.workers.feed import ROWS
from vxswitch.workers.link import BUFFER
from vxswitch.workers.messages import (
    AddPort,
    Answered,
    Begin,
    Counted,
    FamilyState,
    Groups,
    GroupState,
    Learned,
    NetworkGone,
    NetworkState,
    OpenDoor,
    Overheard,
    PeerState,
    PortCounts,
    PortGone,
    RemovePort,
    Rows,
    RowState,
    Seen,
    SetVteps,
    Unreachable,
    Up,
    UpdatePort,
    UseDoor,
    address,
    decode_to_main,
    decode_to_worker,
    encode,
)

MAC = b"\x02\x00\xff\x00\x00\x01"
SPEC = PortSpec("red/c1/eth0", 100, MAC, True, 64, 1000, 2000, rate_bits=10**9, pps=None, offloads=0x67)
PEER = PeerState(("2001:db8::1", 4789), "n1", True, False)
NETWORK = NetworkState(100, "red", 1450, "control", "flood", "mac", "strip", True, 1, [PEER])

TO_WORKER = [
    Begin(UnderlayOptions(send_sockets=3, busy_poll=0.5), 1.0, Identity(2**64 - 1, 1), "debug", "json"),
    SetVteps([("192.0.2.1", 4789)]),
    OpenDoor(MAC),
    UseDoor(True),
    NETWORK,
    NetworkGone(100),
    AddPort(7, SPEC, True),
    UpdatePort(7, SPEC),
    RemovePort(7),
    Rows(100, [RowState(MAC), RowState(MAC, 7, None, "static", True, None, ("sticky",))]),
    Groups(100, True, ["n1"], [FamilyState(6, [7], ["n1"], [], False)], [GroupState(b"\xef\1\2\3", [7], ["n1"])]),
    Groups(100, False, [], [], []),
]
TO_MAIN = [
    Up(),
    Learned(100, MAC, None, ("192.0.2.1", 4789)),
    Seen(100, [(MAC, 1.25)]),
    PortGone(7),
    Answered("2001:db8::1", Probe(ANSWER, 1472, 2**64 - 1, 2**32 - 1, Identity(2**64 - 1, 0)), 1.25),
    Unreachable("192.0.2.1"),
    Overheard(100, 7, None, Message(REPORT, 4, records=((b"\xef\1\2\3", JOINED), (b"\xef\1\2\4", LEFT)))),
    Overheard(100, None, ("192.0.2.1", 4789), Message(QUERY, 6, b"", 0.5, True)),
    Counted(1, 2, 3, {4: 4}, {5: 6}, 7, 8, {}, [PortCounts(7, 1, 2, 3, 4, {33: 1})]),
]


@pytest.mark.parametrize("message", TO_WORKER, ids=lambda message: type(message).__name__)
def test_to_a_worker(message: msgspec.Struct) -> None:
    assert decode_to_worker(encode(message)) == message


@pytest.mark.parametrize("message", TO_MAIN, ids=lambda message: type(message).__name__)
def test_to_the_main_process(message: msgspec.Struct) -> None:
    assert decode_to_main(encode(message)) == message


def test_the_two_directions_do_not_understand_each_other() -> None:
    with pytest.raises(msgspec.ValidationError):
        decode_to_main(encode(NetworkGone(1)))
    with pytest.raises(msgspec.ValidationError):
        decode_to_worker(encode(Up()))


def test_a_vtep_is_its_address_and_port() -> None:
    vtep = Vtep("2001:db8::1", 8472)
    assert Vtep(*address(vtep)) == vtep


def test_the_largest_messages_fit() -> None:
    many = [PeerState(("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", 65535), "n" * 63, True, True)] * 20_000
    row = RowState(
        MAC, None, ("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", 65535), "claimed", False, "n" * 63, ("frozen",)
    )
    assert len(encode(msgspec.structs.replace(NETWORK, senders=many))) < BUFFER
    assert len(encode(Rows(2**24 - 1, [row] * ROWS))) < BUFFER // 8
