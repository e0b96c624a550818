"""The options of the sockets, seen on the wire and in what the kernel lets through (R06, R07, R17 to R22)."""

from __future__ import annotations

import errno
import select
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from tests.dataplane.wires import (
    ONE4,
    ONE6,
    TWO4,
    TWO6,
    path,
    plain,
    runs,
    send,
    sniffed,
    sniffer,
    underlay,
)
from tests.kernel.namespaces import Namespace, until
from vxswitch.dataplane import sockets
from vxswitch.dataplane.sockets import SourcePorts, UnderlayOptions, max_segments
from vxswitch.dataplane.underlay import Underlay
from vxswitch.model import Vtep

pytestmark = pytest.mark.root

Pair = tuple[Namespace, Namespace]
FOUR, SIX = (ONE4, TWO4), (ONE6, TWO6)
families = pytest.mark.parametrize("ends", [FOUR, SIX], ids=["ipv4", "ipv6"])


def lost(made: Underlay) -> dict[str, int]:
    return made.counts.as_dict(zeros=False)


@pytest.fixture
def one(namespace: Callable[[], Namespace]) -> Namespace:
    """A namespace with its loopback."""
    return namespace()


@families
def test_r17_r22_every_source_port_is_of_the_dynamic_range_and_of_our_address(
    pair: Pair, ends: tuple[str, str]
) -> None:
    one, two = pair
    with underlay(one, Vtep(ends[0]), send_sockets=64) as made, plain(two, ends[1], 4789) as far:
        for entropy in range(128):
            send(made, path(made, Vtep(ends[1]), entropy), [b"x"])
        sources = set()
        for _ in range(128):
            until(lambda: _peek(far), "a datagram")
            sources.add(far.recvfrom(100)[1][:2])
        assert {address for address, _ in sources} == {ends[0]}
        assert len(sources) == 64 and all(49152 <= port <= 65535 for _, port in sources)
        assert path(made, Vtep(ends[1]), 5) is path(made, Vtep(ends[1]), 5 + 64)


def _peek(sock: socket.socket) -> bool:
    try:
        sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    return True


@families
def test_r06_df_is_set_and_nothing_is_ever_fragmented(pair: Pair, ends: tuple[str, str]) -> None:
    one, two = pair
    size = 1500 - (48 if ends is SIX else 28)
    with underlay(one, Vtep(ends[0])) as made, sniffer(two) as wire:
        way = path(made, Vtep(ends[1]))
        send(made, way, [bytes(size + 1)])
        send(made, way, [bytes(size)], tos=2)
        (packet,) = sniffed(wire, 1)
        assert lost(made) == {"underlay_mtu": 1}
        if ends is FOUR:
            assert packet["IP"].flags == "DF" and packet["IP"].ttl == 64 and packet["IP"].tos == 2
            assert way.sock.getsockopt(socket.IPPROTO_IP, 10) == 3, "IP_PMTUDISC_PROBE"
        else:
            assert not packet.haslayer("IPv6ExtHdrFragment") and packet["IPv6"].hlim == 64 and packet["IPv6"].tc == 2
            assert way.sock.getsockopt(socket.IPPROTO_IPV6, 23) == 3, "IPV6_PMTUDISC_PROBE"
            assert way.sock.getsockopt(socket.IPPROTO_IPV6, 62) == 1, "IPV6_DONTFRAG"


@pytest.mark.parametrize(("ends", "zero"), [(FOUR, False), (FOUR, True), (SIX, False), (SIX, True)])
def test_r18_checksums_are_right_or_zero_if_asked(pair: Pair, ends: tuple[str, str], zero: bool) -> None:
    """On a wire, that is, with nothing left to a device. Runs still arrive when segmentation is given up."""
    one, two = pair
    one.execute("ethtool", "-K", "u0", "tx", "off")
    with underlay(one, Vtep(ends[0]), udp_checksum=not zero) as made, sniffer(two) as wire:
        way = path(made, Vtep(ends[1]))
        send(made, way, [b"odd"])
        send(made, way, [b"first", b"other"])
        for packet in sniffed(wire, 3):
            told = packet["UDP"].chksum
            right = type(packet)(bytes(packet))
            del right["UDP"].chksum
            right = type(packet)(bytes(right))
            assert told == (0 if zero and ends is FOUR else right["UDP"].chksum)
        assert (made.sent, lost(made)) == (3, {})


@families
@pytest.mark.parametrize("accept", [True, False])
def test_r07_fragments_are_taken_or_refused_by_choice(pair: Pair, ends: tuple[str, str], accept: bool) -> None:
    one, two = pair
    with underlay(two, Vtep(ends[1]), accept_fragments=accept) as made, plain(one, ends[0]) as far:
        (receiver,) = made.receivers.values()
        far.sendto(bytes(4000), (ends[1], 4789))
        far.sendto(b"whole", (ends[1], 4789))
        got = runs(receiver, 2 if accept else 1)
        assert [row for run in got for row in run] == ([bytes(4000)] if accept else []) + [b"whole"]
        assert lost(made) == ({} if accept else {"rx_fragment": 1})
        assert (receiver.frames, receiver.ctrunc) == (2, 0)


@pytest.mark.parametrize(
    ("ends", "option", "passes"),
    [(FOUR, False, True), (SIX, False, False), (SIX, True, True)],
)
def test_r19_zero_checksums_over_ipv4_and_by_choice_over_ipv6(
    pair: Pair, ends: tuple[str, str], option: bool, passes: bool
) -> None:
    one, two = pair
    with underlay(two, Vtep(ends[1]), udp6_zero_rx=option) as made, plain(one, ends[0]) as far:
        (receiver,) = made.receivers.values()
        if ends is FOUR:
            far.setsockopt(socket.SOL_SOCKET, 11, 1)  # SO_NO_CHECK
        else:
            far.setsockopt(17, 101, 1)  # UDP_NO_CHECK6_TX
        far.sendto(b"zero", (ends[1], 4789))
        far.setsockopt(*((socket.SOL_SOCKET, 11, 0) if ends is FOUR else (17, 101, 0)))
        far.sendto(b"right", (ends[1], 4789))
        got = runs(receiver, 2 if passes else 1)
        assert [row for run in got for row in run] == ([b"zero"] if passes else []) + [b"right"]


def test_r21_a_wrong_checksum_never_comes_through(pair: Pair) -> None:
    one, two = pair
    hardware = two.link("u0")
    assert hardware is not None
    with underlay(two, Vtep(TWO4)) as made, sniffer(one) as wire:
        (receiver,) = made.receivers.values()
        for data, checksum in ((b"wrong", 0x1234), (b"right", None)):
            packet = IP(src=ONE4, dst=TWO4) / UDP(sport=50000, dport=4789, chksum=checksum) / data
            wire.send(bytes(Ether(dst=hardware["address"]) / packet))
        assert runs(receiver, 1) == [[b"right"]]


def test_buffers_are_as_large_as_asked_whatever_the_hosts_limit(one: Namespace) -> None:
    limit = int(Path("/proc/sys/net/core/rmem_max").read_text())
    with underlay(one, Vtep("127.0.0.1"), receive_buffer=limit * 2, send_buffer=limit * 2) as made:
        (receiver,) = made.receivers.values()
        assert receiver.sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) >= limit * 2
        sender = path(made, Vtep("127.0.0.2")).sock
        assert sender.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) >= limit * 2


def test_a_source_port_that_is_taken_is_passed_over(one: Namespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """And when none is free, that is said; nothing stays open."""
    first, last = 60000, 60299
    monkeypatch.setattr(sockets, "FIRST_SOURCE_PORT", first)
    monkeypatch.setattr(sockets, "LAST_SOURCE_PORT", last)
    taken = [plain(one, "127.0.0.1", port) for port in range(first, last + 1, 2)]
    options = UnderlayOptions(send_sockets=16)
    with select.epoll() as epoll:
        made = one.call(lambda: SourcePorts(Vtep("127.0.0.1"), options, epoll))
        assert all(sock.getsockname()[1] % 2 for sock in made.socks)
        made.close()
        taken += [plain(one, "127.0.0.1", port) for port in range(first + 1, last + 1, 2)]
        with pytest.raises(OSError) as failure:
            one.call(lambda: SourcePorts(Vtep("127.0.0.1"), options, epoll))
        assert failure.value.errno == errno.EADDRINUSE
    for sock in taken:
        sock.close()


@pytest.mark.parametrize(
    ("release", "most"),
    [("6.18.44-fc", 128), ("6.9.0", 128), ("6.8.12", 64), ("5.15.0-1", 64), ("10.0", 128), ("4.19", 64), ("odd", 64)],
)
def test_a_run_is_as_long_as_the_kernel_takes(release: str, most: int) -> None:
    assert max_segments(release) == most
