"""Ancillary data: golden bytes, and the kernel's own word for every number and layout, on loopback UDP sockets.

What loopback cannot do at its MTU of 65536 (fragments, EMSGSIZE) runs in a child process in a network namespace of its
own, with a loopback MTU of 1400; the namespace goes when the child ends.
"""

import errno
import select
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from vxswitch.wire import cmsg

ROOT = Path(cmsg.__file__).parents[2]
DEADLINE = 5.0  # seconds
LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
FAMILIES = list(LOOPBACK)
Open = Callable[[int], socket.socket]


@pytest.fixture
def bound() -> Iterator[Open]:
    """Opens UDP sockets bound to loopback, whose every call gives up after DEADLINE."""
    with ExitStack() as stack:

        def make(family: int) -> socket.socket:
            sock = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
            sock.settimeout(DEADLINE)
            sock.bind((LOOPBACK[family], 0))
            return sock

        yield make


def native(value: int, size: int) -> bytes:
    return value.to_bytes(size, sys.byteorder)


def receive(sock: socket.socket, flags: int = 0) -> tuple[bytes, list[tuple[int, int, bytes]]]:
    data, ancillary, received_flags, _ = sock.recvmsg(65536, cmsg.ANCILLARY_LEN, flags)
    assert not received_flags & socket.MSG_CTRUNC
    return data, ancillary


SHARED = [name for name in vars(cmsg) if name.isupper() and name.startswith(("IP", "SO_", "SOL_", "UDP_", "AF_"))]


def test_numbers_that_the_socket_module_has_too_are_the_same() -> None:
    known = {name: getattr(socket, name) for name in SHARED if hasattr(socket, name)}
    assert {"IP_TOS", "IPV6_TCLASS", "SOL_UDP", "AF_INET6", "IP_RECVTOS"} <= known.keys()
    assert known == {name: getattr(cmsg, name) for name in known}


def test_golden_messages_written() -> None:
    assert cmsg.segment_cmsg(1458) == [(17, 103, native(1458, 2))]
    assert cmsg.tos_cmsg(cmsg.AF_INET, 2) == [(0, 1, native(2, 4))]
    assert cmsg.tos_cmsg(cmsg.AF_INET6, 2) == [(41, 67, native(2, 4))]


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ([], (0, 0, 0)),
        ([(17, 104, native(1458, 4))], (1458, 0, 0)),
        ([(0, 1, b"\x03")], (0, 3, 0)),
        ([(41, 67, native(0xB9, 4))], (0, 0xB9, 0)),
        ([(0, 25, native(1396, 4))], (0, 0, 1396)),
        ([(41, 77, native(1280, 4))], (0, 0, 1280)),
        ([(0, 1, b"\x02"), (17, 104, native(1000, 4)), (0, 25, native(576, 4))], (1000, 2, 576)),
        ([(1, 104, native(9, 4)), (17, 1, native(9, 4)), (0, 8, bytes(12))], (0, 0, 0)),  # others' messages
        ([(17, 104, native(1458, 2)), (0, 1, b""), (41, 67, b"\x01")], (0, 0, 0)),  # cut by MSG_CTRUNC
    ],
)
def test_golden_messages_read(messages: list[tuple[int, int, bytes]], said: tuple[int, int, int]) -> None:
    assert cmsg.parse(messages) == said


@pytest.mark.parametrize("family", FAMILIES)
def test_the_kernel_cuts_and_joins_a_run_and_carries_its_tos(bound: Open, family: int) -> None:
    receiver, sender = bound(family), bound(family)
    receiver.setsockopt(cmsg.SOL_UDP, cmsg.UDP_GRO, 1)
    if family == socket.AF_INET:
        receiver.setsockopt(cmsg.SOL_IP, cmsg.IP_RECVTOS, 1)
    else:
        receiver.setsockopt(cmsg.SOL_IPV6, cmsg.IPV6_RECVTCLASS, 1)
    run = bytes(range(250)) * 20
    ancillary = cmsg.segment_cmsg(1200) + cmsg.tos_cmsg(family, 0xB9)
    sender.sendmsg([run], ancillary, 0, receiver.getsockname())
    data, said = receive(receiver)
    assert data == run
    assert cmsg.parse(said) == (1200, 0xB9, 0)


@pytest.mark.parametrize("family", FAMILIES)
def test_without_options_the_kernel_says_nothing_and_cuts_for_real(bound: Open, family: int) -> None:
    receiver, sender = bound(family), bound(family)
    sender.sendmsg([bytes(2500)], cmsg.segment_cmsg(1000), 0, receiver.getsockname())
    sizes = [len(receive(receiver)[0]) for _ in range(3)]
    assert sizes == [1000, 1000, 500]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_refused_datagram_tells_errno_icmp_and_offender(bound: Open, family: int) -> None:
    sender, gone = bound(family), bound(family)
    nobody = gone.getsockname()
    gone.close()
    v4 = family == socket.AF_INET
    sender.setsockopt(*((cmsg.SOL_IP, cmsg.IP_RECVERR) if v4 else (cmsg.SOL_IPV6, cmsg.IPV6_RECVERR)), 1)
    sender.sendto(b"x", nobody)
    poll = select.poll()
    poll.register(sender, 0)
    assert poll.poll(DEADLINE * 1000), "no error arrived"
    error = cmsg.parse_extended_error(receive(sender, socket.MSG_ERRQUEUE)[1])
    assert error is not None
    assert error.errno == errno.ECONNREFUSED
    # Port unreachable: RFC 792 type 3 code 3, RFC 4443 section 3.1 type 1 code 4.
    assert (error.origin, error.type, error.code) == (
        (cmsg.SO_EE_ORIGIN_ICMP, 3, 3) if v4 else (cmsg.SO_EE_ORIGIN_ICMP6, 1, 4)
    )
    assert error.offender == socket.inet_pton(family, LOOPBACK[family])


@pytest.mark.parametrize("family", FAMILIES)
def test_the_kernel_knows_the_socket_options(bound: Open, family: int) -> None:
    sock = bound(family)
    options = [(cmsg.SOL_UDP, cmsg.UDP_GRO, 1), (cmsg.SOL_SOCKET, cmsg.SO_NO_CHECK, 1)]
    if family == socket.AF_INET:
        options += [(cmsg.SOL_IP, cmsg.IP_MTU_DISCOVER, cmsg.IP_PMTUDISC_PROBE), (cmsg.SOL_IP, cmsg.IP_RECVFRAGSIZE, 1)]
    else:
        options += [
            (cmsg.SOL_UDP, cmsg.UDP_NO_CHECK6_RX, 1),
            (cmsg.SOL_IPV6, cmsg.IPV6_MTU_DISCOVER, cmsg.IPV6_PMTUDISC_PROBE),
            (cmsg.SOL_IPV6, cmsg.IPV6_DONTFRAG, 1),
            (cmsg.SOL_IPV6, cmsg.IPV6_RECVFRAGSIZE, 1),
        ]
    for level, option, value in options:
        sock.setsockopt(level, option, value)
        assert sock.getsockopt(level, option) == value


def test_meminfo_counts_what_a_full_buffer_lost(bound: Open) -> None:
    receiver, sender = bound(socket.AF_INET), bound(socket.AF_INET)
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)  # the kernel's least: a few KB
    for _ in range(50):
        sender.sendto(bytes(1000), receiver.getsockname())
    arrived = 0
    receiver.setblocking(False)
    try:
        while receiver.recv(2000):
            arrived += 1
    except BlockingIOError:
        pass
    info = cmsg.MEMINFO.unpack(receiver.getsockopt(cmsg.SOL_SOCKET, cmsg.SO_MEMINFO, cmsg.MEMINFO.size))
    assert 0 < arrived < 50
    assert info[cmsg.SK_MEMINFO_DROPS] == 50 - arrived


@pytest.mark.parametrize(
    ("messages", "error"),
    [
        ([], None),
        ([(0, 1, bytes(32))], None),
        ([(0, 11, bytes(15))], None),  # cut short
        (
            [(0, 11, native(90, 4) + bytes([2, 3, 4, 0]) + native(1400, 4) + bytes(4)
              + native(2, 2) + bytes(2) + bytes([192, 0, 2, 1]) + bytes(8))],
            (90, 2, 3, 4, 1400, bytes([192, 0, 2, 1])),
        ),
        (
            [(41, 25, native(90, 4) + bytes([3, 2, 0, 0]) + native(1300, 4) + bytes(4)
              + native(10, 2) + bytes(6) + bytes(range(16)) + bytes(4))],
            (90, 3, 2, 0, 1300, bytes(range(16))),
        ),
        ([(0, 11, native(90, 4) + bytes([1, 0, 0, 0]) + native(1500, 4) + bytes(20))], (90, 1, 0, 0, 1500, b"")),
        ([(0, 11, native(111, 4) + bytes(12) + native(2, 2) + bytes(5))], (111, 0, 0, 0, 0, b"")),  # address cut
    ],
)  # fmt: skip
def test_golden_extended_errors(messages: list[tuple[int, int, bytes]], error: tuple[object, ...] | None) -> None:
    assert cmsg.parse_extended_error(messages) == error


SMALL_MTU = """
import socket, subprocess
from vxswitch.wire import cmsg

subprocess.run(["ip", "link", "set", "lo", "mtu", "1400", "up"], check=True)
V6 = FAMILY == socket.AF_INET6
LOCAL = "::1" if V6 else "127.0.0.1"


def bound():
    sock = socket.socket(FAMILY, socket.SOCK_DGRAM)
    sock.settimeout(5)
    sock.bind((LOCAL, 0))
    return sock


receiver, sender = bound(), bound()
if V6:
    receiver.setsockopt(cmsg.SOL_IPV6, cmsg.IPV6_RECVFRAGSIZE, 1)
else:
    receiver.setsockopt(cmsg.SOL_IP, cmsg.IP_RECVFRAGSIZE, 1)
    sender.setsockopt(cmsg.SOL_IP, cmsg.IP_MTU_DISCOVER, 0)
for size in (1000, 3000):
    sender.sendto(bytes(size), receiver.getsockname())
    data, ancillary, _, _ = receiver.recvmsg(65536, cmsg.ANCILLARY_LEN)
    print(len(data), cmsg.parse(ancillary)[2])

if V6:
    sender.setsockopt(cmsg.SOL_IPV6, cmsg.IPV6_MTU_DISCOVER, cmsg.IPV6_PMTUDISC_PROBE)
    sender.setsockopt(cmsg.SOL_IPV6, cmsg.IPV6_DONTFRAG, 1)
    sender.setsockopt(cmsg.SOL_IPV6, cmsg.IPV6_RECVERR, 1)
else:
    sender.setsockopt(cmsg.SOL_IP, cmsg.IP_MTU_DISCOVER, cmsg.IP_PMTUDISC_PROBE)
    sender.setsockopt(cmsg.SOL_IP, cmsg.IP_RECVERR, 1)
try:
    sender.sendto(bytes(3000), receiver.getsockname())
except OSError as error:
    print(error.errno)
_, ancillary, _, _ = sender.recvmsg(65536, cmsg.ANCILLARY_LEN, socket.MSG_ERRQUEUE)
error = cmsg.parse_extended_error(ancillary)
print(error.errno, error.origin, error.info, error.offender.hex() or "-")
"""


@pytest.mark.parametrize("family", FAMILIES)
def test_R06_R07_fragment_size_and_the_devices_mtu_are_told(family: int) -> None:
    code = f"FAMILY = {int(family)}\n{SMALL_MTU}"
    child = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    whole, reassembled, refused, told = child.stdout.splitlines()
    assert whole == "1000 0"
    size, fragment = map(int, reassembled.split())
    assert size == 3000
    assert 1300 < fragment <= 1400  # a multiple of 8 bytes and the headers, within the MTU
    assert int(refused) == errno.EMSGSIZE
    assert told == f"{errno.EMSGSIZE} {cmsg.SO_EE_ORIGIN_LOCAL} 1400 -"
