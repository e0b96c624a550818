"""What anybody on the underlay can do to a VTEP: malformed datagrams by the million, forged senders, ICMP errors.

The arithmetic is the point: every datagram that was sent is either dropped under the name that it deserves, or was
never read because the receive buffer was full (`underlay_overflow`, the kernel's own count).
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP
from scapy.packet import Raw

from tests.net.containers import Container, ask, attach, rows
from tests.net.underlay import grown, header, shooter, strays_are_counted
from tests.net.wire import BROADCAST, DEADLINE, Wire, frame, made_in
from vxswitch.lab import Lab, SwitchProcess, ping, until

MILLION = 1_000_000
BATCH = 2_000  # datagrams: they fit the receive buffer, whatever the kernel adds to each
UNREAD = 60.0  # seconds to read what was sent
CORRUPT_EVERY = 20  # in one of so many datagrams the outer checksum is wrong
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Target:
    """The switch under fire on the first host; on the second its peer, with a container; the third is unknown to it."""

    lab: Lab
    switch: SwitchProcess
    other: SwitchProcess
    near: Container
    far: Container


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    with Lab(hosts=3) as lab:
        one, two, _ = lab.hosts
        switch = one.switch("--network", "red=100", "--peer", two.ip4, "--set", "networks.host_port=false", wait=False)
        other = two.switch("--network", "red=100", "--peer", one.ip4, "--set", "networks.host_port=false", wait=False)
        switch.wait_ready()
        other.wait_ready()
        near = attach(lab, switch, "red", "near", "10.9.0.1")
        far = attach(lab, other, "red", "far", "10.9.0.2")
        assert ping(near.namespace, far.ip).lost == 0
        yield Target(lab, switch, other, near, far)


def malformed(near: Container, far: Container) -> dict[str, list[bytes]]:
    """Datagrams by the reason under which each must die; the sender is a known VTEP."""
    rng = random.Random(3)
    head = header(100)
    good = frame(near.mac, far.mac, b"payload")
    tagged = good[:12] + b"\x81\x00\x00\x05" + good[12:]
    return {
        "short_datagram": [rng.randbytes(n) for n in range(22)],
        "no_i_flag": [bytes([rng.randrange(256) & 0xF7]) + rng.randbytes(21 + n) for n in range(0, 1400, 70)],
        "unknown_vni": [header(vni) + good for vni in (0, 1, 99, 101, 0xFFFFFF)],
        "bad_source": [
            head + frame(near.mac, src, b"") for src in ("00:00:00:00:00:00", BROADCAST, "01:00:5e:00:00:01")
        ],
        "own_mac": [head + frame(BROADCAST, near.mac, b"I am you"), head + frame(near.mac, near.mac)],
        "vlan_policy": [head + tagged, head + tagged[:14], head + tagged[:16]],
        "oversize": [head + good + bytes(near.mtu)],
        "reserved_group": [head + frame(f"01:80:c2:00:00:{n:02x}", far.mac, b"x") for n in (0, 2, 3, 0xE)],
    }


def good(target: Target) -> bytes:
    """A datagram as the far switch would send it."""
    return header(100) + frame(target.near.mac, target.far.mac, b"payload")


def measured(target: Target) -> tuple[dict[str, int], int, int]:
    """Drops, resident memory and log size, in bytes."""
    status = Path(f"/proc/{target.switch.pid}/status").read_text()
    resident = int(status.partition("VmRSS:")[2].split()[0]) * 1024
    log = target.switch.state_dir.parent / "switch.log"
    return ask(target.switch, "drops"), resident, log.stat().st_size


def accounted(target: Target, before: dict[str, int], sent: int) -> bool:
    """Whether as many frames have been dropped since ``before``, for whatever reason."""
    return sum(grown(target.switch, before).values()) >= sent


def test_a_million_malformed_datagrams_paced_are_each_counted_by_name(target: Target) -> None:
    """Each batch is read before the next is sent: nothing overflows."""
    kinds = malformed(target.near, target.far)
    flat = [(reason, data) for reason, list_ in kinds.items() for data in list_]
    random.Random(5).shuffle(flat)
    datagrams = list(itertools.islice(itertools.cycle(flat), MILLION))
    expected: dict[str, int] = {}
    sock = shooter(target.lab.hosts[1], target.switch)
    before, resident, log = measured(target)
    with sock:
        for first in range(0, MILLION, BATCH):
            for reason, data in datagrams[first : first + BATCH]:
                sock.send(data)
                expected[reason] = expected.get(reason, 0) + 1
            until(partial(accounted, target, before, first + BATCH), UNREAD, "a batch to be read", 0.001)
    assert grown(target.switch, before) == expected
    check_well(target, resident, log)


def test_a_million_malformed_datagrams_at_once_are_counted_or_overflow(target: Target) -> None:
    """As fast as a sender can, to a switch that sleeps at first: names plus the kernel's own counts make up the sum."""
    host = target.lab.hosts[1]
    datagrams = [data for list_ in malformed(target.near, target.far).values() for data in list_]
    corrupt = bytes(
        IP(src=host.ip4, dst=target.lab.hosts[0].ip4) / UDP(sport=50000, dport=4789, chksum=0xBAD) / Raw(good(target))
    )
    raw = made_in(host, lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW))
    sock = shooter(host, target.switch)
    before, resident, log = measured(target)
    asked = ask(target.other, "stats")["probes_sent"]
    with sock, raw:
        raw.connect((target.lab.hosts[0].ip4, 0))
        os.kill(target.switch.pid, signal.SIGSTOP)
        for number, data in enumerate(itertools.islice(itertools.cycle(datagrams), MILLION)):
            if number % CORRUPT_EVERY:
                sock.send(data)
            else:
                raw.send(corrupt)
            if number == MILLION // 4:
                os.kill(target.switch.pid, signal.SIGCONT)
    until(partial(accounted, target, before, MILLION), UNREAD, "all of it to be accounted for", 0.05)
    lost = grown(target.switch, before)
    asked = ask(target.other, "stats")["probes_sent"] - asked  # the kernel does not tell what it throws away
    assert MILLION <= sum(lost.values()) <= MILLION + asked
    assert lost["bad_outer_checksum"] == MILLION // CORRUPT_EVERY
    assert lost["underlay_overflow"] > 0
    assert lost.keys() <= {*malformed(target.near, target.far), "bad_outer_checksum", "underlay_overflow"}
    check_well(target, resident, log)


def check_well(target: Target, resident: int, log: int) -> None:
    """Alive, memory flat, log bounded, and traffic as before."""
    _, resident_now, log_now = measured(target)
    assert resident_now - resident < 2 * MIB
    assert log_now - log < 64 * 1024
    assert ping(target.near.namespace, target.far.ip, count=20).lost == 0


def test_R29_a_forged_sender_with_a_victims_mac_changes_nothing(target: Target) -> None:
    """A host that is no VTEP of the network claims the far container's MAC, and the near one's."""
    table = rows(target.switch, "red")
    before = ask(target.switch, "drops")
    with shooter(target.lab.hosts[2], target.switch) as sock, Wire(target.near.namespace) as wire:
        for src in (target.far.mac, target.near.mac):
            sock.send(header(100) + frame(BROADCAST, src, b"forged"))
            sock.send(header(100) + frame(target.near.mac, src, b"forged"))
        until(lambda: grown(target.switch, before) == {"unknown_vtep": 4}, DEADLINE, "four refusals")
        with Wire(target.far.namespace) as friend:
            marker = frame(target.near.mac, target.far.mac, b"marker")
            friend.send(marker)
            assert not [data for data in wire.until(marker) if data.endswith(b"forged")]
    now = rows(target.switch, "red")
    assert {mac: row["vtep"] for mac, row in now.items()} == {mac: row["vtep"] for mac, row in table.items()}


def test_what_is_sent_to_a_source_port_is_stray_and_harmless(target: Target) -> None:
    strays_are_counted(target.lab.hosts[0], target.lab.hosts[1], target.switch)
    assert ping(target.near.namespace, target.far.ip).lost == 0
