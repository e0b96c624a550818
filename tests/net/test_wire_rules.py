"""RFC 7348 at the real socket: datagrams made by hand, sent by a host that is a VTEP of the network.

Two switches stand on one host: one with the defaults, one (``strict``) that insists on what the RFC lets it insist on.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from scapy.layers.inet import IP, UDP
from scapy.packet import Raw

from tests.net.containers import Container, ask, attach
from tests.net.underlay import grown, header, shooter
from tests.net.wire import DEADLINE, Wire, frame, made_in
from vxswitch.lab import Host, Lab, SwitchProcess, until

SENDER = "02:0c:00:00:00:02"
SO_NO_CHECK = 11  # asm-generic/socket.h
IP_MTU_DISCOVER, IP_PMTUDISC_DONT = 10, 0  # linux/in.h
RESERVED = [1 << bit for bit in range(64) if 1 << bit not in (1 << 59,) and not 8 <= bit < 32]  # all but I and the VNI


@dataclass(frozen=True, slots=True)
class Receiver:
    """A switch, its container, and a socket of the VTEP that sends to it."""

    switch: SwitchProcess
    container: Container
    sock: socket.socket
    sender: Host

    def gets(self, payload: bytes) -> bool:
        """Whether the frame in this UDP payload arrives, as it is; a second, good one shows when to stop waiting."""
        return self.after(lambda: self.sock.send(payload) == len(payload), payload[8:])

    def after(self, send: Callable[[], bool], inner: bytes) -> bool:
        """Whether ``inner`` arrives once ``send`` has been called."""
        with Wire(self.container.namespace) as wire:
            assert send()
            marker = self.frame(b"marker")
            self.sock.send(header(100) + marker)
            return inner in wire.until(marker)

    def frame(self, text: bytes) -> bytes:
        """A frame from the sender's station to the container."""
        return frame(self.container.mac, SENDER, text)

    def dropped(self, payload: bytes) -> dict[str, int]:
        """The drops that this UDP payload causes, which must be one."""
        before = ask(self.switch, "drops")
        self.sock.send(payload)
        until(lambda: sum(grown(self.switch, before).values()), DEADLINE, "the drop")
        return grown(self.switch, before)


@pytest.fixture(scope="module")
def receivers() -> Iterator[tuple[Receiver, Receiver]]:
    """The one with the defaults, the strict one."""
    with Lab(hosts=2) as lab:
        host, sender = lab.hosts
        args = ("--network", "red=100", "--peer", sender.ip4, "--set", "networks.host_port=false")
        strict = ("--set", "underlay.strict_reserved=true", "--set", "underlay.accept_fragments=false")
        plain = host.switch(*args, wait=False)
        other = host.switch(*args, "--vtep", f"{host.ip4}:4790", *strict, node="strict")
        plain.wait_ready()
        yield (
            Receiver(plain, attach(lab, plain, "red", "plain", "10.9.0.1"), shooter(sender, plain), sender),
            Receiver(other, attach(lab, other, "red", "strict", "10.9.0.1"), shooter(sender, other), sender),
        )


def test_R10_the_i_flag_is_required(receivers: tuple[Receiver, Receiver]) -> None:
    for receiver in receivers:
        good = receiver.frame(b"flags")
        assert receiver.gets(header(100) + good)
        for flags in (0x00, 0xF7):
            assert receiver.dropped(bytes([flags]) + header(100)[1:] + good) == {"no_i_flag": 1}


def test_R11_R12_all_39_reserved_bits_behave_alike(receivers: tuple[Receiver, Receiver]) -> None:
    plain, strict = receivers
    assert len(RESERVED) == 39
    for bit in (*RESERVED, sum(RESERVED)):
        word = (int.from_bytes(header(100)) | bit).to_bytes(8)
        assert plain.gets(word + plain.frame(b"%d" % bit))
        assert strict.dropped(word + strict.frame(b"%d" % bit)) == {"reserved_bits": 1}


def test_R02_R13_only_the_networks_own_24_bits_get_in(receivers: tuple[Receiver, Receiver]) -> None:
    plain, _ = receivers
    for vni in (0, 1, 99, 101, 100 << 8, 100 << 16, 0xFFFFFF):
        assert plain.dropped(header(vni) + plain.frame(b"not yours")) == {"unknown_vni": 1}


def test_R19_a_zero_outer_checksum_is_accepted_over_ipv4(receivers: tuple[Receiver, Receiver]) -> None:
    plain, _ = receivers
    plain.sock.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)
    try:
        assert plain.gets(header(100) + plain.frame(b"unchecked"))
    finally:
        plain.sock.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 0)


@pytest.mark.parametrize("good", [True, False])
@pytest.mark.parametrize("length", [10, 1000])
def test_R20_R21_a_wrong_outer_checksum_is_dropped(
    receivers: tuple[Receiver, Receiver], good: bool, length: int
) -> None:
    """The kernel drops a short one before it finds the socket, a long one when it is read; both are counted."""
    plain, _ = receivers
    inner = plain.frame(b"%d" % good * length)
    udp = UDP(sport=50000, dport=4789) if good else UDP(sport=50000, dport=4789, chksum=0xBAD)
    datagram = bytes(IP(src=plain.sender.ip4, dst="10.77.0.1") / udp / Raw(header(100) + inner))
    before = ask(plain.switch, "drops")
    with made_in(plain.sender, lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)) as raw:
        assert plain.after(lambda: raw.sendto(datagram, ("10.77.0.1", 0)) == len(datagram), inner) is good
    wanted = {} if good else {"bad_outer_checksum": 1}
    until(lambda: grown(plain.switch, before) == wanted, DEADLINE, "the kernel's count of it")


def test_R07_fragments_are_accepted_or_refused_by_name(receivers: tuple[Receiver, Receiver]) -> None:
    """The sender's route has a small MTU and it does not forbid fragments."""
    plain, strict = receivers
    plain.sender.ip("route replace 10.77.0.0/16 dev eth0 mtu lock 1000")
    try:
        for receiver in receivers:
            receiver.sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT)
        assert plain.gets(header(100) + plain.frame(bytes(1400)))
        assert strict.dropped(header(100) + strict.frame(bytes(1400))) == {"rx_fragment": 1}
        assert strict.gets(header(100) + strict.frame(bytes(900)))
    finally:
        plain.sender.ip("route replace 10.77.0.0/16 dev eth0")


def test_the_mac_of_a_live_port_comes_from_nowhere_else(receivers: tuple[Receiver, Receiver]) -> None:
    plain, _ = receivers
    mac = plain.container.mac
    assert plain.dropped(header(100) + frame("ff:ff:ff:ff:ff:ff", mac, b"I am you")) == {"own_mac": 1}
    assert plain.gets(header(100) + plain.frame(b"still reachable"))
