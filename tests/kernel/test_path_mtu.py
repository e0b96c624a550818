"""PMTUDISC_PROBE: DF stays on, a path MTU learned from (forgeable) ICMP is not obeyed, EMSGSIZE is the device's MTU."""

import socket
import struct

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import ICMPv6PacketTooBig, IPv6
from scapy.layers.l2 import Ether

from tests.kernel.namespaces import Namespace, until
from tests.kernel.udp import (
    IP_MTU_DISCOVER,
    IP_PMTUDISC_DO,
    IP_PMTUDISC_PROBE,
    IPV6_DONTFRAG,
    IPV6_MTU_DISCOVER,
    ONE4,
    ONE6,
    TWO4,
    TWO6,
    receive,
    send,
    udp,
)

Pair = tuple[Namespace, Namespace]
ETH_P_ALL = 3
FORGED_MTU = 1300

families = pytest.mark.parametrize(("ours", "theirs", "headers"), [(ONE4, TWO4, 28), (ONE6, TWO6, 48)])


def discovery(sock: socket.socket, mode: int) -> None:
    if sock.family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, mode)
    else:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, mode)
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_DONTFRAG, 1)


def packet_socket(namespace: Namespace) -> socket.socket:
    def make() -> socket.socket:
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        made.bind(("u0", 0))
        made.setblocking(False)
        return made

    return namespace.call(make)


def mac(namespace: Namespace) -> str:
    found = namespace.link("u0")
    assert found is not None
    return str(found["address"])


def forge_too_big(pair: Pair, sock: socket.socket, to: tuple[str, int]) -> None:
    """The second namespace claims, about a datagram of ``sock``, that its path only carries FORGED_MTU."""
    one, two = pair
    source, port = sock.getsockname()[:2]
    if sock.family == socket.AF_INET:
        quoted = IP(src=source, dst=to[0], len=1428, flags="DF") / UDP(sport=port, dport=to[1], len=1408)
        claim = IP(src=to[0], dst=source) / ICMP(type=3, code=4, nexthopmtu=FORGED_MTU) / bytes(quoted)[:28]
    else:
        quoted = IPv6(src=source, dst=to[0], plen=1408) / UDP(sport=port, dport=to[1], len=1408)
        claim = IPv6(src=to[0], dst=source) / ICMPv6PacketTooBig(mtu=FORGED_MTU) / bytes(quoted)[:48]
    with packet_socket(two) as wire:
        wire.send(bytes(Ether(src=mac(two), dst=mac(one)) / claim))


@families
def test_a_forged_path_mtu_is_cached_and_obeyed_by_do_but_not_by_probe(
    pair: Pair, ours: str, theirs: str, headers: int
) -> None:
    one, two = pair
    with udp(one, ours) as obedient, udp(one, ours) as probing, udp(two, theirs) as receiver:
        discovery(obedient, IP_PMTUDISC_DO)
        discovery(probing, IP_PMTUDISC_PROBE)
        to = receiver.getsockname()[:2]
        whole = bytes(1500 - headers)
        assert send(obedient, whole, to) == ""
        assert send(probing, whole, to) == ""
        forge_too_big(pair, obedient, to)
        until(lambda: f"mtu {FORGED_MTU}" in one.ip("route", "get", theirs), "the lowered path MTU")
        assert send(obedient, whole, to) == "EMSGSIZE"
        assert send(probing, whole, to) == ""
        assert send(probing, whole + whole, to, len(whole)) == ""
        assert [len(part) for part in receive(receiver, 5 * len(whole))] == [len(whole)] * 5


@families
def test_a_claim_about_the_probing_socket_itself_changes_nothing_for_it(
    pair: Pair, ours: str, theirs: str, headers: int
) -> None:
    one, two = pair
    with udp(one, ours) as probing, udp(one, ours) as witness, udp(two, theirs) as receiver:
        discovery(probing, IP_PMTUDISC_PROBE)
        discovery(witness, IP_PMTUDISC_DO)
        to = receiver.getsockname()[:2]
        whole = bytes(1500 - headers)
        assert send(probing, whole, to) == ""
        forge_too_big(pair, probing, to)
        forge_too_big(pair, witness, to)
        until(lambda: f"mtu {FORGED_MTU}" in one.ip("route", "get", theirs), "the lowered path MTU")
        assert send(probing, whole, to) == ""
        assert [len(part) for part in receive(receiver, 2 * len(whole))] == [len(whole)] * 2


@families
def test_emsgsize_means_the_mtu_of_the_device(pair: Pair, ours: str, theirs: str, headers: int) -> None:
    one, two = pair
    with udp(one, ours) as probing, udp(two, theirs) as receiver:
        discovery(probing, IP_PMTUDISC_PROBE)
        to = receiver.getsockname()[:2]
        assert send(probing, bytes(1500 - headers), to) == ""
        assert send(probing, bytes(1501 - headers), to) == "EMSGSIZE"
        one.ip("link", "set", "u0", "mtu", "1400")
        assert send(probing, bytes(1401 - headers), to) == "EMSGSIZE"
        assert send(probing, bytes(1400 - headers), to) == ""
        got = receive(receiver, 2900 - 2 * headers)
        assert [len(part) for part in got] == [1500 - headers, 1400 - headers]


def test_df_is_on_the_wire_for_single_datagrams_and_runs(pair: Pair) -> None:
    one, two = pair
    with udp(one, ONE4) as probing, udp(two, TWO4) as receiver, packet_socket(two) as wire:
        discovery(probing, IP_PMTUDISC_PROBE)
        assert send(probing, bytes(1000), receiver.getsockname()) == ""
        assert send(probing, bytes(3000), receiver.getsockname(), 1000) == ""
        receive(receiver, 4000)
        flags = list(df_flags(wire))
    assert flags
    assert set(flags) == {0x4000}


def df_flags(wire: socket.socket) -> list[int]:
    """The flags and offset word (RFC 791) of each UDP packet that was seen."""
    found = []
    while True:
        try:
            frame = wire.recv(70000)
        except BlockingIOError:
            return found
        if frame[12:14] == b"\x08\x00" and frame[23] == socket.IPPROTO_UDP:
            found.append(struct.unpack_from("!H", frame, 20)[0])
