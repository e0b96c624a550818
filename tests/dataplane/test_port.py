"""Ports on real descriptors: a TAP in a namespace, through its life and its death."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator

import pytest

from tests.dataplane.frames import TCPV4, VNET, ethernet, mac, plain
from tests.kernel.namespaces import Namespace, until
from tests.kernel.tun import Tun
from vxswitch.counters import ALIVE, Drop
from vxswitch.dataplane.flow import FlowCache
from vxswitch.dataplane.port import TapPort
from vxswitch.fdb import Table
from vxswitch.model import PortSpec

pytestmark = pytest.mark.root

FRAME = plain(ethernet(mac(2), mac(1), 0x1234, b"data" * 20))


def spec(**more: object) -> PortSpec:
    settings: dict[str, object] = {"antispoof": False, "max_macs": 64, "bum_pps": 1000, "bum_burst": 2000}
    return PortSpec("p1", 7, mac(1), **(settings | more))  # type: ignore[arg-type]


def port_on(fd: int, **more: object) -> TapPort:
    return TapPort(spec(**more), Table("n", 7, mtu=1450), FlowCache(), 0.0, fd)


@pytest.fixture
def tap(namespace: Callable[[], Namespace]) -> Iterator[tuple[Namespace, TapPort]]:
    """A port on a TAP ``t0`` that is up in a namespace of its own."""
    one = namespace()
    tun = one.call(lambda: Tun("t0"))
    one.execute("sysctl", "-qw", "net.ipv6.conf.t0.disable_ipv6=1")
    one.ip("link", "set", "t0", "up", "multicast", "off")
    port = port_on(tun.fd)
    yield one, port
    port.close()


def test_a_frame_goes_in_and_another_comes_out(tap: tuple[Namespace, TapPort]) -> None:
    """The container is the kernel: it answers ARP."""
    one, port = tap
    one.ip("address", "add", "10.9.0.1/24", "dev", "t0")
    hardware = one.link("t0")
    assert hardware is not None
    asks = bytes.fromhex("0001080006040001") + mac(5) + bytes((10, 9, 0, 2)) + bytes(6) + bytes((10, 9, 0, 1))
    room = memoryview(bytearray(70000))
    assert port.write(memoryview(plain(ethernet(b"\xff" * 6, mac(5), 0x0806, asks)))) == ALIVE
    n = until(lambda: port.read(room), "the answer")
    answer = bytes(room[10:n])
    assert answer[:12] == mac(5) + bytes.fromhex(hardware["address"].replace(":", ""))
    assert answer[12:22] == bytes.fromhex("0806 0001 0800 0604 0002")
    assert port.read(room) == 0, "nothing is there, and that is no error"
    assert port.state == "up"


def test_an_interface_that_is_down_costs_frames_and_nothing_else(tap: tuple[Namespace, TapPort]) -> None:
    one, port = tap
    one.ip("link", "set", "t0", "down")
    assert port.write(memoryview(FRAME)) == Drop.PORT_DOWN
    one.ip("link", "set", "t0", "up")
    assert port.write(memoryview(FRAME)) == ALIVE


def test_a_vnet_header_that_the_kernel_refuses_is_the_frames_fault(tap: tuple[Namespace, TapPort]) -> None:
    _, port = tap
    assert port.write(memoryview(VNET.pack(1, TCPV4, 0, 0, 9000, 16) + FRAME[10:])) == Drop.BAD_VNET_HDR
    assert port.state == "up"


def test_a_device_that_vanishes_is_gone_for_reads_and_writes(tap: tuple[Namespace, TapPort]) -> None:
    one, port = tap
    one.ip("link", "del", "t0")
    room = memoryview(bytearray(70000))
    until(lambda: port.read(room) == -1, "the end of the device")
    assert port.state == "gone"
    port.state = "up"
    assert (port.write(memoryview(FRAME)), port.state) == (Drop.PORT_GONE, "gone")


def test_a_full_queue_is_busy() -> None:
    """A packet socket pair stands for a TAP whose queue is full: EAGAIN."""
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    with here, there:
        port = port_on(os.dup(here.fileno()))
        verdicts = [port.write(memoryview(FRAME)) for _ in range(5000)]
        passed = verdicts.index(Drop.PORT_BUSY)
        assert set(verdicts[:passed]) == {ALIVE} and set(verdicts[passed:]) == {Drop.PORT_BUSY}
        assert port.state == "up"
        port.close()
        port.close()
        assert port.fd == -1


def test_a_closed_descriptor_is_gone() -> None:
    read, write = os.pipe()
    port = port_on(read)
    os.close(write)
    os.close(read)
    assert port.read(memoryview(bytearray(100))) == -1
    assert port.write(memoryview(FRAME)) == Drop.PORT_GONE


@pytest.mark.parametrize(
    ("limits", "frames", "length", "admitted"),
    [
        ({}, 1, 1500, 1000),
        ({"pps": 100}, 1, 60, 10),
        ({"pps": 1000}, 10, 60, 10),
        ({"rate_bits": 8_000_000}, 1, 1000, 100),
        ({"rate_bits": 8_000}, 1, 1000, 65),
        ({"pps": 100, "rate_bits": 8_000_000}, 1, 20_000, 5),
    ],
)
def test_a_ports_own_rates(limits: dict[str, int], frames: int, length: int, admitted: int) -> None:
    """A tenth of a second's worth at once, at least one super-frame."""
    with open(os.devnull, "rb") as nowhere:
        port = port_on(nowhere.fileno(), **limits)
    assert port.limited == bool(limits)
    assert sum(port.admit(frames, length, 0.0) for _ in range(1000)) == admitted
