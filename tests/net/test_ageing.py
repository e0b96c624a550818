"""A learned MAC lives by what it sends, never by what is sent to it.

No clock is read here: one MAC goes on sending and another falls silent while frames still go *to* it; what counts is
who is gone while the other is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from tests.net.containers import Container, attach, rows
from tests.net.wire import DEADLINE, Wire, frame
from vxswitch.lab import Lab, SwitchProcess, until

SETTINGS = ("--network", "red=100", "--set", "fdb.age=2", "--set", "networks.host_port=false")


@pytest.fixture(scope="module")
def ends() -> Iterator[tuple[SwitchProcess, list[Container]]]:
    """The switch of the first host; its container, and two containers of the second host."""
    with Lab(hosts=2) as lab:
        one, two = lab.hosts
        near = one.switch(*SETTINGS, "--peer", two.ip4, wait=False)
        far = two.switch(*SETTINGS, "--peer", one.ip4, wait=False)
        near.wait_ready()
        far.wait_ready()
        yield (
            near,
            [
                attach(lab, near, "red", "near", "10.9.0.1"),
                attach(lab, far, "red", "silent", "10.9.0.2"),
                attach(lab, far, "red", "lively", "10.9.0.3"),
            ],
        )


def in_ethernet(dst: str, src: str, text: bytes) -> bytes:
    """A frame that is judged anew each time."""
    return frame(dst, src, text)


def in_udp(dst: str, src: str, text: bytes) -> bytes:
    """A packet of one flow, about which a switch may keep its decision; its addresses are nobody's."""
    return bytes(Ether(dst=dst, src=src) / IP(src="10.9.9.1", dst="10.9.9.2") / UDP(sport=9, dport=9) / Raw(text))


@pytest.mark.parametrize("make", [in_ethernet, in_udp])
def test_a_mac_ages_out_while_frames_flow_only_to_it(
    ends: tuple[SwitchProcess, list[Container]], make: Callable[[str, str, bytes], bytes]
) -> None:
    switch, (near, silent, lively) = ends
    switch.vx("fdb", "flush", "red")
    with Wire(near.namespace) as here, Wire(silent.namespace) as mute, Wire(lively.namespace) as voice:
        for wire, sender in ((mute, silent), (voice, lively)):
            hello = make(near.mac, sender.mac, b"hello")
            wire.send(hello)
            here.until(hello)
        assert rows(switch, "red").keys() == {near.mac, silent.mac, lively.mac}
        sent = 0

        def silent_is_gone() -> bool:
            nonlocal sent
            sent += 1
            here.send(make(silent.mac, near.mac, b"to the silent one %d" % sent))
            again = make(near.mac, lively.mac, b"still here %d" % sent)
            voice.send(again)
            here.until(again)
            return silent.mac not in rows(switch, "red")

        until(silent_is_gone, DEADLINE, "the silent MAC to be gone")
        assert sent > 10
        table = rows(switch, "red")
        assert table.keys() == {near.mac, lively.mac}
        assert (table[near.mac]["hop"], table[near.mac]["age"]) == ("local", None)  # given: it does not age
        last = make(silent.mac, near.mac, b"the last")
        here.send(last)
        got = mute.until(last)  # unknown now, so it was flooded, and arrives all the same
        assert len([data for data in got if data[:14] == last[:14]]) == sent
