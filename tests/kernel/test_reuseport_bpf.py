"""What ``dataplane.reuseport`` relies on: classic BPF on the source port chooses the socket, and how it is bound."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator

import pytest

from tests.kernel.namespaces import Namespace, until
from tests.kernel.udp import ONE4, ONE6, TWO4, TWO6, readable, udp
from vxswitch.dataplane.reuseport import receive_group
from vxswitch.dataplane.sockets import UnderlayOptions
from vxswitch.model import Vtep

PORT = 4789
Group = Callable[[Namespace, str, int], list[socket.socket]]


@pytest.fixture
def group() -> Iterator[Group]:
    """Makes groups of receiving sockets; all are closed when the test ends."""
    made: list[socket.socket] = []

    def make(namespace: Namespace, address: str, count: int) -> list[socket.socket]:
        socks = namespace.call(lambda: receive_group(Vtep(address, PORT), UnderlayOptions(), count))
        made.extend(socks)
        return socks

    yield make
    for sock in made:
        sock.close()


@pytest.mark.parametrize(("target", "source"), [(ONE4, TWO4), (ONE6, TWO6)], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("count", [2, 3])
def test_source_port_chooses_the_socket(
    pair: tuple[Namespace, Namespace], group: Group, target: str, source: str, count: int
) -> None:
    one, two = pair
    socks = group(one, target, count)
    for port in range(50000, 50000 + 4 * count):
        with udp(two, source, port) as sender:
            sender.sendto(port.to_bytes(2, "big"), (target, PORT))
        chosen = socks[port % count]
        until(lambda chosen=chosen: readable(chosen), f"the datagram from port {port}")
        assert chosen.recv(100) == port.to_bytes(2, "big")
    assert not any(map(readable, socks))


def test_ip_options_do_not_shift_the_choice(pair: tuple[Namespace, Namespace], group: Group) -> None:
    one, two = pair
    socks = group(one, ONE4, 2)
    for port in (50000, 50001):
        with udp(two, TWO4, port) as sender:
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, b"\x01\x01\x01\x00")  # RFC 791: no operation, end
            sender.sendto(b"x", (ONE4, PORT))
        until(lambda port=port: readable(socks[port % 2]), f"the datagram from port {port}")
        assert socks[port % 2].recv(1) == b"x"


def test_a_taken_port_is_still_found(pair: tuple[Namespace, Namespace], group: Group) -> None:
    """Also one that would be shared: SO_REUSEPORT on both sides would let a second switch in without a word."""
    one, _ = pair
    group(one, ONE4, 2)
    with pytest.raises(OSError) as caught:
        group(one, ONE4, 2)
    assert caught.value.errno == errno.EADDRINUSE


def test_a_stranger_in_the_group_gets_nothing(pair: tuple[Namespace, Namespace], group: Group) -> None:
    one, two = pair
    socks = group(one, ONE4, 2)

    def join() -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((ONE4, PORT))
        return sock

    with one.call(join) as stranger:
        for port in range(50000, 50016):
            with udp(two, TWO4, port) as sender:
                sender.sendto(b"x", (ONE4, PORT))
            until(lambda port=port: readable(socks[port % 2]), f"the datagram from port {port}")
            socks[port % 2].recv(1)
        assert not readable(stranger)


def test_a_group_lives_on_in_descriptors_passed_on(pair: tuple[Namespace, Namespace], group: Group) -> None:
    """The place in the group is the open socket's, not the descriptor's: duplicates keep it when the first closes."""
    one, two = pair
    socks = group(one, ONE4, 2)
    with socks[0].dup() as kept:
        socks[0].close()
        for port, receiver in ((50000, kept), (50001, socks[1])):
            with udp(two, TWO4, port) as sender:
                sender.sendto(b"x", (ONE4, PORT))
            until(lambda receiver=receiver: readable(receiver), f"the datagram from port {port}")
            assert receiver.recv(1) == b"x"
