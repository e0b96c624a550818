"""A random overlay: hosts, networks, ports and policies by a seed, random frames, and changes of the tables between.

Everything that counts is counted a second time here, by what went into the ports and what came out of them.
"""

from __future__ import annotations

from typing import Any

from tests.dataplane import groups
from tests.dataplane.fabric import CablePort, Fabric, Host
from tests.dataplane.frames import (
    ARP,
    BROADCAST,
    IP4,
    IP6,
    QINQ,
    VLAN,
    VNET,
    ethernet,
    ip4,
    mac,
    partial,
    plain,
    super_frame,
    tcp,
    udp,
    vxlan,
    wire_count,
)
from vxswitch.fdb import Table
from vxswitch.wire import arp, nd

MACS = 12
GROUPS = (BROADCAST, bytes.fromhex("01005e000001"), bytes.fromhex("333300000001"), bytes.fromhex("0180c2000000"))


class World:
    """One random overlay, and what a random user and a random operator do to it."""

    def __init__(self, fabric: Fabric) -> None:
        self.fabric = fabric
        self.random = fabric.random
        self.offered: dict[CablePort, int] = {}
        self.vnis = self.random.sample((1, 7, 8, 0xFFFFFF), self.random.randint(1, 3))
        for _ in range(self.random.randint(1, 4)):
            self.add_host()
        for vni in self.vnis:
            self.set_peers(vni)

    # -- building ---------------------------------------------------------------------------------------------------

    def add_host(self) -> None:
        n = len(self.fabric.hosts) + 1
        addresses = self.random.choice(([f"192.0.2.{n}"], [f"2001:db8::{n}"], [f"192.0.2.{n}", f"2001:db8::{n}"]))
        host = self.fabric.host(*addresses, strict_reserved=self.random.random() < 0.5)
        for vni in self.vnis:
            host.network(
                vni,
                mtu=self.random.choice((1400, 1450, 9000)),
                learning=self.random.choice(("flood", "control", "hybrid")),
                unknown=self.random.choice(("flood", "drop", "ask")),
                suppress=self.random.random() < 0.8,
                vlan=self.random.choice(("strip", "carry")),
                max_macs=self.random.choice((4, 16384)),
            )
            for _ in range(self.random.randint(0, 3)):
                self.add_port(host, vni)

    def add_port(self, host: Host, vni: int) -> None:
        limits: dict[str, Any] = {}
        if self.random.random() < 0.2:
            limits = {"pps": 2000, "rate_bits": 10**7, "bum_pps": 100, "bum_burst": 50, "max_macs": 2}
        given = mac(self.random.randrange(MACS)) if self.random.random() < 0.5 else None
        port = host.port(vni, given, antispoof=given is not None and self.random.random() < 0.3, **limits)
        port.offloads, port.joins_udp = 0x27, self.random.random() < 0.5
        self.offered[port] = 0

    def set_peers(self, vni: int) -> None:
        for host in self.fabric.hosts:
            others = [h for h in self.fabric.hosts if h is not host and self.random.random() < 0.9]
            peers = [host.fdb.peer(self.random.choice(h.vteps), f"n{self.fabric.hosts.index(h)}") for h in others]
            for peer in peers:
                peer.live = self.random.random() < 0.8
                peer.static = self.random.random() < 0.2
            live = [p for p in peers if p.live]
            senders = {v.address: p for h, p in zip(others, peers, strict=True) for v in h.vteps}
            host.fdb.tables[vni].set_peers(live, len(peers) - len(live), senders)

    # -- the user ---------------------------------------------------------------------------------------------------

    def frame(self) -> bytes:
        """``[vnet][frame]``: good, odd or malformed; ``wire_count`` is right for all of them."""
        kind = self.random.randrange(11)
        dst = self.random.choice(GROUPS) if self.random.random() < 0.2 else mac(self.random.randrange(MACS))
        src = (
            mac(self.random.randrange(MACS))
            if self.random.random() < 0.95
            else self.random.choice((bytes(6), BROADCAST))
        )
        four, six = ("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")
        make = self.random.choice((udp, tcp))
        ends = self.random.choice((four, six))
        sport, size = self.random.randrange(1, 4), self.random.choice((0, 1, 64, 1372, 1373, 1400, 9500))
        tags = self.random.choice(((), (), (), (VLAN,), (QINQ, VLAN)))
        packet = make(*ends, sport, 2, self.random.randbytes(size))
        ethertype = IP6 if ends is six else IP4
        if kind < 4:
            return plain(ethernet(dst, src, ethertype, packet, tags=tags))
        if kind == 4:
            return partial(ethernet(dst, src, ethertype, packet), *ends)
        if kind < 7:
            bulk = make(*ends, sport, 2, self.random.randbytes(self.random.choice((700, 2800, 20_000))))
            gso = self.random.choice((700, 1300, 1372, 1399, 8000))
            return super_frame(ethernet(dst, src, ethertype, bulk), *ends, gso)
        if kind == 10:
            return groups.random_frame(self.random, src)
        return self.odd(kind, dst, src, packet)

    def odd(self, kind: int, dst: bytes, src: bytes, packet: bytes) -> bytes:
        if kind == 7 and self.random.random() < 0.6:
            return plain(self.question(dst, src))
        if kind == 7:
            return plain(ethernet(dst, src, self.random.choice((ARP, 0x88CC, 0, 0xFFFF, 600)), packet[:50]))
        if kind == 8:
            cut_short = ethernet(dst, src, VLAN, b"")[: self.random.randrange(0, 15)]
            return self.random.choice(
                (plain(cut_short), VNET.pack(1, 1, 0, 0, 34, 16) + ethernet(dst, src, IP4, packet))
            )
        bits = self.random.choice((0x4000, 0x2000, 0x0001))
        return plain(ethernet(dst, src, IP4, ip4("10.0.0.1", "10.0.0.2", 17, packet[20:], tos=3, fragment=bits)))

    def question(self, dst: bytes, src: bytes) -> bytes:
        """Something that is said about neighbours, to somebody or to all."""
        target, sender = (bytes((10, 0, 0, self.random.randrange(MACS))) for _ in range(2))
        if self.random.random() < 0.5:
            target, sender = (bytes.fromhex("fd" + "00" * 14) + address[3:] for address in (target, sender))
            group = nd.group_of(target)
            return nd.solicit(self.random.choice((dst, nd.group_mac(group))), src, sender, group, target)
        asked = arp.request(BROADCAST, src, self.random.choice((sender, target, bytes(4))), target)
        return self.random.choice((asked, arp.reply(src, sender, dst, target)))

    def send(self) -> None:
        ports = [p for h in self.fabric.hosts for p in h.ports if p in p.table.ports]
        for port in self.random.choices(ports, k=3) if ports else ():
            for _ in range(self.random.choice((1, 3, 80))):
                data = self.frame()
                bad_header = data[1] and VNET.unpack_from(data)[3] == 0
                self.offered[port] += 1 if bad_header else wire_count(data)
                port.inbox.append(data)

    def inject(self) -> None:
        """Somebody's datagram, good or garbage, with any ToS."""
        host = self.random.choice(self.fabric.hosts)
        sender = self.random.choice([v.address for h in self.fabric.hosts for v in h.vteps] + ["198.51.100.1"])
        header = vxlan(self.random.choice((*self.vnis, 99)), b"", flags=self.random.choice((8, 8, 8, 0, 0xFF)))
        payload = self.random.choice((header + self.frame()[10:1500], header, self.random.randbytes(40), b""))
        if host.vteps[0].family == 2 and ":" in sender:
            sender = "198.51.100.1"
        outer = {"tos": self.random.randrange(4), "fragmented": self.random.random() < 0.05}
        for _ in range(self.random.choice((1, 5))):
            self.fabric.inject(host, payload, sender, **outer)

    # -- the operator -----------------------------------------------------------------------------------------------

    def change(self) -> None:
        table = self.random.choice([t for h in self.fabric.hosts for t in h.fdb.tables.values()])
        host = next(h for h in self.fabric.hosts if table in h.fdb.tables.values())
        self.random.choice((self.row, self.policy, self.ports, self.state, self.groups))(host, table)

    def row(self, host: Host, table: Table) -> None:
        address = mac(self.random.randrange(MACS))
        hops = [*table.ports, *host.fdb.peers.values()]
        if self.random.random() < 0.4 or not hops:
            table.withdraw(address)
        else:
            hop = self.random.choice(hops)
            table.install(address, hop, self.random.choice(("claimed", "static", "learned")), self.fabric.now)
            last = self.random.randrange(MACS)
            table.bind(address, (bytes((10, 0, 0, last)), bytes.fromhex("fd" + "00" * 14) + bytes((last,))))

    def policy(self, host: Host, table: Table) -> None:
        table.resize(self.random.choice((1400, 1450, 9000)))
        table.unknown = self.random.choice(("flood", "drop", "ask"))
        table.learning = self.random.choice(("flood", "control", "hybrid"))
        table.vlan = self.random.choice(("strip", "carry"))
        table.changed()
        self.set_peers(table.vni)
        table.flush()

    def ports(self, host: Host, table: Table) -> None:
        if table.ports and self.random.random() < 0.5:
            port = self.random.choice(table.ports)
            assert isinstance(port, CablePort)
            table.remove_port(port)
        else:
            self.add_port(host, table.vni)

    def groups(self, host: Host, table: Table) -> None:
        """Its listeners are others now, or nobody knows them."""
        if table.groups is None:
            groups.snooped(table)
        elif self.random.random() < 0.2:
            table.set_groups(None)
        else:
            groups.change(self.random, table.groups)

    def state(self, host: Host, table: Table) -> None:
        for port in host.ports:
            port.refuse = self.random.choice((0, 0, 0, 32, 33))
        self.fabric.now += self.random.choice((0.01, 1.0, 100.0))
        host.encap.asking.tick(self.fabric.now)
        for _ in range(20):
            table.age(self.fabric.now, 60.0)
