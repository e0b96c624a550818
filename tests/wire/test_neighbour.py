"""ARP and neighbour discovery as one kind of sentence."""

from __future__ import annotations

import ipaddress

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether

from vxswitch.wire import neighbour
from vxswitch.wire.address import STAND_IN
from vxswitch.wire.neighbour import ANNOUNCE, ASK, PROBE, TELL, Said, listen

A, B, BROADCAST = "02:00:00:00:00:01", "02:00:00:00:00:02", "ff:ff:ff:ff:ff:ff"
ONE, TWO, SIX, SEVEN = "10.0.0.1", "10.0.0.2", "2001:db8::6", "2001:db8::7"


def raw(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def ip(text: str) -> bytes:
    return ipaddress.ip_address(text).packed


def hear(packet: Ether | bytes) -> Said | None:
    data = bytes(packet)
    return listen(data, 0, len(data))


def arp(op: int, sender: str, target: str, *, dst: str = BROADCAST, kind: int = 0x0806) -> Ether:
    return Ether(src=A, dst=dst, type=kind) / ARP(op=op, hwsrc=A, psrc=sender, hwdst=B, pdst=target)


def six(message: ICMPv6ND_NS | ICMPv6ND_NA, src: str, dst: str) -> Ether:
    return Ether(src=A, dst=B) / IPv6(src=src, dst=dst, hlim=255) / message


@pytest.mark.parametrize(
    ("packet", "kind", "address", "target", "evidence"),
    [
        (arp(1, ONE, TWO), ASK, ONE, TWO, "frame"),
        (arp(1, "0.0.0.0", TWO), PROBE, None, TWO, "frame"),
        (arp(2, ONE, TWO, dst=B), TELL, ONE, TWO, "frame"),
        (arp(1, ONE, ONE), ANNOUNCE, ONE, ONE, "garp"),
        (arp(2, ONE, ONE), ANNOUNCE, ONE, ONE, "garp"),
        (arp(2, ONE, TWO), ANNOUNCE, ONE, TWO, "garp"),
        (arp(3, "0.0.0.0", "0.0.0.0", kind=0x8035), ANNOUNCE, None, "0.0.0.0", "rarp"),
        (six(ICMPv6ND_NS(tgt=SEVEN), SIX, "ff02::1:ff00:7"), ASK, SIX, SEVEN, "frame"),
        (six(ICMPv6ND_NS(tgt=SEVEN), "::", "ff02::1:ff00:7"), PROBE, None, SEVEN, "frame"),
        (six(ICMPv6ND_NA(tgt=SIX, S=1), SIX, SEVEN), TELL, SIX, SIX, "frame"),
        (six(ICMPv6ND_NA(tgt=SIX, S=0), SIX, "ff02::1"), ANNOUNCE, SIX, SIX, "na"),
    ],
)
def test_what_is_said(packet: Ether, kind: int, address: str | None, target: str, evidence: str) -> None:
    said = hear(packet)
    assert said == Said(kind, raw(A), None if address is None else ip(address), ip(target), evidence)  # type: ignore[arg-type]


def test_the_option_says_who_is_meant() -> None:
    said = hear(six(ICMPv6ND_NA(tgt=SIX, S=0), SIX, "ff02::1") / ICMPv6NDOptDstLLAddr(lladdr=B))
    assert said is not None and said.mac == raw(B)


@pytest.mark.parametrize(
    "packet",
    [
        Ether(src=A, dst=B) / IP(src=ONE, dst=TWO) / UDP(),
        Ether(src=A, dst=B) / IPv6(src=SIX, dst=SEVEN) / UDP(),
        Ether(src=A, dst=B, type=0x88CC),
        arp(9, ONE, TWO),
        arp(4, ONE, TWO, kind=0x8035),
        Ether(src=A, dst=B, type=0x8100),
    ],
)
def test_what_is_about_something_else(packet: Ether) -> None:
    assert hear(packet) is None


@pytest.mark.parametrize("address", [ONE, "192.168.0.1", "223.0.0.1", SIX, "fd00::1"])
def test_addresses_that_others_may_be_told(address: str) -> None:
    assert neighbour.usable(ip(address))


@pytest.mark.parametrize(
    "address", ["0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "255.255.255.255", "::", "::1", "ff02::1", "fe80::1"]
)
def test_addresses_that_nobody_is_told(address: str) -> None:
    assert not neighbour.usable(ip(address))


@pytest.mark.parametrize(
    ("question", "told"),
    [
        (arp(1, ONE, TWO), Said(TELL, raw(B), ip(TWO), ip(ONE), "frame")),
        (arp(1, "0.0.0.0", TWO), Said(TELL, raw(B), ip(TWO), ip("0.0.0.0"), "frame")),
        (
            six(ICMPv6ND_NS(tgt=SEVEN), "fe80::6", "ff02::1:ff00:7"),
            Said(TELL, raw(B), ip(SEVEN), ip(SEVEN), "frame"),
        ),
        (
            six(ICMPv6ND_NS(tgt=SEVEN), "::", "ff02::1:ff00:7"),
            Said(ANNOUNCE, raw(B), ip(SEVEN), ip(SEVEN), "na"),
        ),
    ],
)
def test_an_answer_says_where_the_target_is_to_whom_asked(question: Ether, told: Said) -> None:
    said = hear(question)
    assert said is not None
    answer = Ether(neighbour.answer(said, raw(B)))
    assert hear(answer) == told
    if IPv6 in answer:
        assert answer[ICMPv6ND_NA].R == 0 and answer[ICMPv6ND_NA].O == 1
        asker = question[IPv6].src
        wanted = ("33:33:00:00:00:01", "ff02::1") if asker == "::" else (A, asker)
        assert (answer.dst, answer[IPv6].dst) == wanted and (asker != "::") == answer[ICMPv6ND_NA].S
    else:
        assert (answer.dst, answer[ARP].hwdst) == (A, A)


def test_the_switch_asks_one_station_in_a_way_that_teaches_it_nothing() -> None:
    question = Ether(neighbour.ask_again(raw(A), ip(ONE)))
    assert (question.dst, question[ARP].psrc, question[ARP].pdst) == (A, "0.0.0.0", ONE)
    question = Ether(neighbour.ask_again(raw(A), ip(SIX)))
    assert (question.dst, question[IPv6].dst, question[ICMPv6ND_NS].tgt) == (A, SIX, SIX)
    assert question[IPv6].src == "fe80::876:78ff:fe73:7700" and question.src == STAND_IN.hex(":")


def test_a_packets_sender_could_have_asked_for_its_destination_like_this() -> None:
    packet = bytes(Ether(src=A, dst=B) / IP(src=ONE, dst=TWO) / UDP())
    asked = neighbour.ask_all(packet, 0, len(packet))
    assert asked is not None and hear(asked) == Said(ASK, raw(A), ip(ONE), ip(TWO), "frame")
    assert Ether(asked).dst == BROADCAST
    packet = bytes(Ether(src=A, dst=B) / IPv6(src=SIX, dst=SEVEN) / UDP())
    asked = neighbour.ask_all(packet, 0, len(packet))
    assert asked is not None and hear(asked) == Said(ASK, raw(A), ip(SIX), ip(SEVEN), "frame")
    assert (Ether(asked).dst, Ether(asked)[IPv6].dst) == ("33:33:ff:00:00:07", "ff02::1:ff00:7")
    assert neighbour.ask_all(bytes(Ether(src=A, dst=B, type=0x88CC)), 0, 14) is None
