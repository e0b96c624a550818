"""A million malformed datagrams in process: each dies under its name, and memory stays where it was."""

from __future__ import annotations

import random
import struct
from collections import Counter
from pathlib import Path

from tests.dataplane.conftest import VNI, Duo
from tests.dataplane.fabric import GRO_MAX_SEGMENTS, Datagram, Fabric, WireSocket
from tests.dataplane.frames import BROADCAST, IP4, IP6, VLAN, ethernet, mac, udp, vxlan

TOTAL = 1_000_000
KNOWN, STRANGER = "192.0.2.2", "192.0.2.66"
PAGE = 4096


def resident() -> int:
    """Bytes of memory that this process has in RAM (proc(5), statm)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def malformed(dice: random.Random) -> tuple[str, str, bytes]:
    """(reason, sender, payload) of a datagram that must die: random bytes around one fault that is certain."""
    junk = dice.randbytes(dice.randrange(0, 200))
    src = bytes((dice.randrange(256) & 0xFC | 2,)) + dice.randbytes(5)
    good = ethernet(mac(1), src, 0x1234, junk)
    kind = dice.randrange(11)
    if kind == 0:
        return "short_datagram", dice.choice((KNOWN, STRANGER)), dice.randbytes(dice.randrange(22))
    if kind == 1:
        return "no_i_flag", KNOWN, vxlan(VNI, good, flags=dice.randrange(256) & 0xF7, reserved=dice.randbytes(3))
    if kind == 2:
        return "reserved_bits", KNOWN, vxlan(VNI, good, flags=8, reserved=dice.randbytes(2) + b"\1")
    if kind == 3:
        return "unknown_vni", KNOWN, vxlan(dice.randrange(VNI + 1, 1 << 24), good)
    if kind == 4:
        flow = ethernet(mac(1), src, IP4, udp("10.0.0.1", "10.0.0.2", dice.randrange(1, 65536), 2, junk))
        return "unknown_vtep", STRANGER, vxlan(VNI, flow)
    if kind == 5:
        return "bad_source", KNOWN, vxlan(VNI, ethernet(mac(1), bytes((src[0] | 1,)) + src[1:], IP6, junk))
    if kind == 6:
        return "own_mac", KNOWN, vxlan(VNI, ethernet(BROADCAST, mac(1), IP4, junk))
    if kind == 7:
        return "vlan_policy", KNOWN, vxlan(VNI, ethernet(mac(1), src, VLAN, struct.pack("!H", 1) + junk))
    if kind == 8:
        return "oversize", KNOWN, vxlan(VNI, ethernet(mac(1), src, 0x1234, bytes(1451) + junk))
    if kind == 9:
        return "reserved_group", KNOWN, vxlan(VNI, ethernet(bytes.fromhex("0180c200000e"), src, 0x88CC, junk))
    return "unknown_unicast", KNOWN, vxlan(VNI, ethernet(bytes((4,)) + dice.randbytes(5), src, 0x1234, junk))


def runs(dice: random.Random, count: int) -> list[tuple[list[str], list[Datagram]]]:
    """Runs as GRO would deliver them: one sender, equal sizes, the last may be shorter."""
    made: list[tuple[list[str], list[Datagram]]] = []
    for _ in range(count):
        lead = malformed(dice)
        members = [lead]
        for _ in range(dice.choice((0, 1, 30))):
            more = malformed(dice)
            if more[1] == lead[1] and len(more[2]) == len(lead[2]) and len(lead[2]) > 0:
                members.append(more)
        members += [lead] * dice.randrange(0, GRO_MAX_SEGMENTS - len(members)) if lead[2] else []
        datagrams = [Datagram((sender, 50000), ("192.0.2.1", 4789), 0, payload) for _, sender, payload in members]
        made.append(([reason for reason, _, _ in members], datagrams))
    return made


def feed(fabric: Fabric, wire: WireSocket, made: list[tuple[list[str], list[Datagram]]]) -> None:
    """Bring all runs, some at a time, so that the queue itself stays small."""
    for _, datagrams in made:
        wire.queue.extend(datagrams)
        if len(wire.queue) > 5000:
            fabric.run()
    fabric.run()


def test_a_million_malformed_datagrams_in_process() -> None:
    """Control mode, strict, unknown dropped; nothing of it teaches anything or is delivered."""
    dice = random.Random(7)
    with Fabric(joined=True) as fabric:
        duo = Duo(fabric)
        duo.a.decap.strict = True
        duo.ta.learning, duo.ta.unknown = "control", "drop"
        duo.ta.changed()
        rows = dict(duo.ta.rows)
        wire = fabric.wires[duo.a.vteps[0].sockaddr]
        made = runs(dice, 3000)
        per_round = Counter(reason for reasons, _ in made for reason in reasons)
        rounds = -(-TOTAL // per_round.total())
        feed(fabric, wire, made)
        before = resident()
        for _ in range(rounds - 1):
            feed(fabric, wire, made)
        assert resident() - before < 1 << 20, "memory grows with what is thrown away"
        assert duo.a.drops() == {reason: rounds * count for reason, count in per_round.items()}
        assert sum(duo.a.drops().values()) >= TOTAL and len(per_round) == 11
        assert duo.ta.rows == rows and duo.pa.outbox == [] and duo.a.decap.flows == {}
