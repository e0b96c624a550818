"""The joiner against the kernel's GRO: the same segments, written one by one to a TAP that receives through NAPI."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from scapy.packet import Packet

from tests.kernel.namespaces import Namespace
from tests.offload.frames import ACK, CWR, ECE, FIN, PSH, TIMESTAMPS, ip4, ip6, pattern, run_of, segments, tcp, udp
from tests.offload.test_coalesce import EDITS, EDITS_V4, EDITS_V6, atomic, edited, joined
from tests.offload.wiretap import VNET_LEN, Wiretap, coalescing, parse

pytestmark = pytest.mark.root

NO_VNET = bytes(VNET_LEN)
ROUNDS = 5
UDP_PROTOCOL = 17


@pytest.fixture
def wire(namespace: Callable[[], Namespace]) -> Iterator[Wiretap]:
    tap = coalescing(namespace())
    yield tap
    tap.close()


def by_the_kernel(wire: Wiretap, rows: list[bytes], headers: int) -> list[bytes]:
    """What GRO makes of the rows: the round in which it joined most.

    It lets go of a packet also when the timer tick changes between two writes: that is the time's doing, not a rule's.
    """
    rounds = []
    for _ in range(ROUNDS):
        for row in rows:
            wire.write(NO_VNET, row)
        rounds.append(wire.read(sum(len(row) - headers for row in rows), headers))
    return min(rounds, key=len)


def ends(payloads: list[bytes], whole: bytes) -> set[int]:
    """Where in the whole payload packets end. By content: what GRO holds back is overtaken by what it does not."""
    return {whole.index(payload) + len(payload) for payload in payloads}


def headers_of(row: bytes) -> int:
    """Bytes of Ethernet, IP and transport headers of a plain frame."""
    first, protocol = (54, row[20]) if row[12:14] == b"\x86\xdd" else (34, row[23])
    return first + (8 if protocol == UDP_PROTOCOL else (row[first + 12] >> 4) * 4)


@pytest.mark.parametrize("family", [ip4, ip6])
@pytest.mark.parametrize("kind", [tcp, udp])
@pytest.mark.parametrize("length", [5000, 4100])
def test_what_both_join_is_the_same_frame(wire: Wiretap, family: type[Packet], kind: type[Packet], length: int) -> None:
    rows = segments(family() / kind(), pattern(length), 1000)
    ((count, piece),) = joined(run_of(rows))
    (theirs,) = by_the_kernel(wire, rows, headers_of(rows[0]))
    assert count == 5
    assert parse(theirs) == parse(piece)


@pytest.mark.parametrize("flags", [ACK | PSH, ACK | FIN, ACK | FIN | PSH, ACK | ECE])
def test_flags_of_the_last_are_those_of_the_whole(wire: Wiretap, flags: int) -> None:
    rows = segments(ip4() / tcp(flags=flags, options=TIMESTAMPS), pattern(4100), 1000)
    ((_, piece),) = joined(run_of(rows))
    (theirs,) = by_the_kernel(wire, rows, headers_of(rows[0]))
    assert parse(theirs)[1] == piece[VNET_LEN:]


def test_one_id_for_all_is_joined_by_both(wire: Wiretap) -> None:
    rows = atomic("DF")
    ((_, piece),) = joined(run_of(rows))
    (theirs,) = by_the_kernel(wire, rows, headers_of(rows[0]))
    assert parse(theirs)[1] == piece[VNET_LEN:]


def assert_never_more(wire: Wiretap, rows: list[bytes]) -> None:
    """Wherever the kernel ends a packet, the joiner does, too."""
    headers = headers_of(rows[0])
    whole = b"".join(row[headers:] for row in rows)
    theirs = [packet[VNET_LEN + headers :] for packet in by_the_kernel(wire, rows, headers)]
    mine, at = [], 0
    for count, _ in joined(run_of(rows)):
        mine.append(b"".join(row[headers:] for row in rows[at : at + count]))
        at += count
    assert ends(theirs, whole) <= ends(mine, whole)


@pytest.mark.parametrize("what", EDITS | EDITS_V4)
def test_the_joiner_joins_no_more_than_the_kernel(wire: Wiretap, what: str) -> None:
    assert_never_more(wire, edited((EDITS | EDITS_V4)[what]))


@pytest.mark.parametrize("what", EDITS_V6)
def test_the_joiner_joins_no_more_than_the_kernel_over_ipv6(wire: Wiretap, what: str) -> None:
    assert_never_more(wire, edited(EDITS_V6[what], family=ip6))


def test_the_joiner_joins_no_more_than_the_kernel_in_other_cases(wire: Wiretap) -> None:
    assert_never_more(wire, atomic(""))
    assert_never_more(wire, segments(ip4() / tcp(flags=ACK | CWR), pattern(4000), 1000))
    first = segments(ip4() / tcp(flags=ACK | PSH), pattern(3000), 1000)
    later = segments(ip4(id=0x1237) / tcp(flags=ACK | PSH, seq=0x01020304 + 3000), pattern(1700, 2), 1000)
    assert_never_more(wire, first + later)
