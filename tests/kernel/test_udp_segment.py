"""UDP_SEGMENT and UDP_GRO: what is refused, with which error, and what comes out on the other side."""

import os
import socket
import struct

import pytest

from tests.kernel.namespaces import Namespace, until
from tests.kernel.udp import ONE4, ONE6, SO_NO_CHECK, SOL_UDP, TWO4, TWO6, UDP_GRO, readable, receive, send, udp

Pair = tuple[Namespace, Namespace]

KERNEL = tuple(int(part) for part in os.uname().release.split(".")[:2])
MAX_SEGMENTS = 128 if KERNEL >= (6, 9) else 64  # UDP_MAX_SEGMENTS, linux/udp.h

families = pytest.mark.parametrize(("ours", "theirs", "headers"), [(ONE4, TWO4, 28), (ONE6, TWO6, 48)])


@families
def test_a_run_is_cut_and_the_last_may_be_shorter(pair: Pair, ours: str, theirs: str, headers: int) -> None:
    one, two = pair
    with udp(one, ours) as sender, udp(two, theirs) as receiver:
        run = os.urandom(3 * 1000 + 7)
        assert send(sender, run, receiver.getsockname()[:2], 1000) == ""
        got = receive(receiver, len(run))
    assert [len(part) for part in got] == [1000, 1000, 1000, 7]
    assert b"".join(got) == run


@families
def test_a_segment_over_the_mtu_is_refused_whole(pair: Pair, ours: str, theirs: str, headers: int) -> None:
    """EMSGSIZE here, EINVAL on kernels before 6.2 or so: a run that is to go frame by frame."""
    one, two = pair
    largest = 1500 - headers
    with udp(one, ours) as sender, udp(two, theirs) as receiver:
        to = receiver.getsockname()[:2]
        assert send(sender, bytes(2 * largest), to, largest) == ""
        assert send(sender, bytes(2 * largest + 2), to, largest + 1) in ("EMSGSIZE", "EINVAL")
        assert sorted({len(part) for part in receive(receiver, 2 * largest)}) == [largest]


def test_too_many_segments_are_einval(pair: Pair) -> None:
    one, two = pair
    with udp(one, ONE4) as sender, udp(two, TWO4) as receiver:
        to = receiver.getsockname()
        assert send(sender, bytes(100 * MAX_SEGMENTS), to, 100) == ""
        assert send(sender, bytes(100 * MAX_SEGMENTS + 1), to, 100) == "EINVAL"


def test_more_than_a_udp_datagram_is_emsgsize(pair: Pair) -> None:
    one, two = pair
    with udp(one, ONE4) as sender, udp(two, TWO4) as receiver:
        assert send(sender, bytes(65507), receiver.getsockname(), 1400) == ""
        assert send(sender, bytes(65508), receiver.getsockname(), 1400) == "EMSGSIZE"


def test_without_udp_checksum_segmentation_is_einval(pair: Pair) -> None:
    one, two = pair
    with udp(one, ONE4) as sender, udp(two, TWO4) as receiver:
        sender.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)
        assert send(sender, bytes(2000), receiver.getsockname(), 1000) == "EINVAL"
        assert send(sender, bytes(2000), receiver.getsockname()) == ""


def test_a_device_without_checksum_offload(pair: Pair) -> None:
    """EIO before kernel 6.11; later kernels cut and sum in software. Either way plain sends go on."""
    one, two = pair
    one.execute("ethtool", "-K", "u0", "tx", "off")
    with udp(one, ONE4) as sender, udp(two, TWO4) as receiver:
        to = receiver.getsockname()
        assert send(sender, bytes(2800), to, 1400) == ("" if KERNEL >= (6, 11) else "EIO")
        assert send(sender, bytes(1400), to) == ""


def test_gro_gives_the_segment_size_as_a_c_int(pair: Pair) -> None:
    one, two = pair
    with udp(one, ONE4) as sender, udp(two, TWO4) as receiver:
        receiver.setsockopt(SOL_UDP, UDP_GRO, 1)
        run = os.urandom(5 * 1200)
        assert send(sender, run, receiver.getsockname(), 1200) == ""
        until(lambda: readable(receiver), "a datagram")
        data, ancillary, _, _ = receiver.recvmsg(70000, 128)
    assert data == run
    assert [(level, kind) for level, kind, _ in ancillary] == [(SOL_UDP, UDP_GRO)]
    assert len(ancillary[0][2]) == struct.calcsize("i")
    assert struct.unpack("i", ancillary[0][2]) == (1200,)


def test_gro_joins_what_the_wire_brought_one_by_one_but_only_with_a_checksum(pair: Pair) -> None:
    """Wire-like: datagrams sent singly, joined by the receiving veth's NAPI, which is told to wait for more."""
    one, two = pair
    one.execute("ethtool", "-K", "u0", "tx", "off")
    two.execute("ethtool", "-K", "u0", "gro", "on")
    two.execute("sh", "-c", "echo 100000000 > /sys/class/net/u0/gro_flush_timeout")
    with udp(one, ONE4) as summed, udp(one, ONE4) as plain, udp(two, TWO4) as receiver:
        receiver.setsockopt(SOL_UDP, UDP_GRO, 1)
        plain.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)
        until(lambda: largest_of_burst(summed, receiver) > 1000, "a joined run")
        assert max(largest_of_burst(plain, receiver) for _ in range(50)) == 1000
        until(lambda: largest_of_burst(summed, receiver) > 1000, "a joined run, still")


def largest_of_burst(sender: socket.socket, receiver: socket.socket) -> int:
    """Send 16 datagrams of 1000 bytes; the most that one read gave."""
    for _ in range(16):
        assert send(sender, bytes(1000), receiver.getsockname()) == ""
    return max(len(part) for part in receive(receiver, 16 * 1000))
