"""What ``dataplane.reuseport`` relies on: classic BPF chooses the socket, by MAC or port, and how it is bound."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator

import pytest

from tests.kernel.namespaces import Namespace, until
from tests.kernel.udp import ONE4, ONE6, TWO4, TWO6, readable, udp
from vxswitch.dataplane.reuseport import MAX_OWNED, receive_group, steer
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


@pytest.mark.parametrize(("target", "source"), [(ONE4, TWO4), (ONE6, TWO6)], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("known", [1, 8, 9, 300, 5000])
def test_what_is_for_a_mac_goes_to_its_owner_and_the_rest_by_source_port(
    pair: tuple[Namespace, Namespace], group: Group, target: str, source: str, known: int
) -> None:
    one, two = pair
    socks = group(one, target, 3)
    macs = [b"\x02\x42" + (number * 0x9E3779B1 % 2**32).to_bytes(4, "big") for number in range(known)]
    owners = {mac: number % 3 for number, mac in enumerate(macs)}
    family = socket.AF_INET6 if ":" in target else socket.AF_INET
    steer(socks[0], family, 3, owners)
    asked = [(mac, owners[mac]) for mac in sorted(macs)[:MAX_OWNED] if mac in (*macs[:9], min(macs), max(macs))]
    port = 50000
    for mac in (b"\xff" * 6, b"\x33\x33\0\0\0\x01", b"\x02\0\0\0\0\x01"):
        asked.append((mac, (port + len(asked)) % 3))
    for at, (mac, expected) in enumerate(asked):
        with udp(two, source, port + at) as sender:
            sender.sendto(bytes(8) + mac + at.to_bytes(2, "big"), (target, PORT))
        chosen = socks[expected]
        until(lambda chosen=chosen: readable(chosen), f"the datagram for {mac.hex(':')}")
        assert chosen.recv(100)[14:] == at.to_bytes(2, "big")
    with udp(two, source, port + 1) as sender:
        sender.sendto(b"too short", (target, PORT))
    until(lambda: readable(socks[0]), "what is too short for a MAC at the first socket")
    assert socks[0].recv(100) == b"too short" and not any(map(readable, socks))
    steer(socks[0], family, 3)
    with udp(two, source, 50001) as sender:
        sender.sendto(bytes(8) + asked[0][0], (target, PORT))
    until(lambda: readable(socks[50001 % 3]), "nobody's any more: by its source port")


def test_where_memory_for_options_is_short_fewer_macs_are_known(
    pair: tuple[Namespace, Namespace], group: Group
) -> None:
    """net.core.optmem_max was 20,480 before Linux 6.9, and a program counts against it."""
    one, two = pair
    socks = group(one, ONE4, 2)
    one.execute("sysctl", "-qw", "net.core.optmem_max=20480")
    macs = [b"\x02\x42\0\0" + number.to_bytes(2, "big") for number in range(1000)]
    steer(socks[0], socket.AF_INET, 2, dict.fromkeys(macs, 1))
    for mac, expected in ((macs[0], 1), (macs[-1], 0)):
        with udp(two, TWO4, 50000) as sender:
            sender.sendto(bytes(8) + mac, (ONE4, PORT))
        until(lambda expected=expected: readable(socks[expected]), f"the datagram for {mac.hex(':')}")
        assert socks[expected].recv(100)[8:] == mac


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
