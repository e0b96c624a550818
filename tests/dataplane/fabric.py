"""Many switches in memory: fake cables for TAPs, fake sockets for the underlay, a fake clock, all else real.

Only the two factories of sockets are replaced (``receive_socket``, ``SourcePorts``). So gathering, segmentation, the
parsing of ancillary data and the error paths of ``Underlay`` and ``Receiver`` are the real ones. A ``WireSocket`` cuts
what is sent by UDP_SEGMENT as the kernel does, refuses what the kernel refuses, and hands received datagrams out one
by one or joined as UDP_GRO would (one outer flow, one ToS, equal sizes, the last may be shorter), as the seed has it.
"""

from __future__ import annotations

import errno
import random
import struct
from collections import deque
from collections.abc import Iterable
from typing import Any, NamedTuple
from unittest import mock

from tests.dataplane.frames import VNET, plain, wire_count
from vxswitch.counters import ALIVE, Counts, Stats
from vxswitch.dataplane import underlay as underlay_module
from vxswitch.dataplane.decap import Decap
from vxswitch.dataplane.encap import Encap
from vxswitch.dataplane.flow import FlowCache
from vxswitch.dataplane.port import Port
from vxswitch.dataplane.sockets import UnderlayOptions
from vxswitch.dataplane.underlay import Underlay
from vxswitch.fdb import Fdb, Peer, Table
from vxswitch.model import PortSpec, Vtep

SOL_IP, IP_TOS, SOL_IPV6, IPV6_TCLASS, SOL_UDP, UDP_SEGMENT, UDP_GRO = 0, 1, 41, 67, 17, 103, 104
IP_RECVFRAGSIZE = 25
GRO_MAX_SEGMENTS = 64
FIRST_PORT = 49152
POISON = b"\xa5" * 32


class Datagram(NamedTuple):
    """One datagram on the wire."""

    source: tuple[str, int]
    target: tuple[str, int]
    tos: int
    payload: bytes
    fragmented: bool = False


class CablePort(Port):
    """A local port whose container is two lists: ``send`` puts in, ``outbox`` has ``[vnet][frame]`` that came out."""

    def __init__(self, spec: PortSpec, table: Table, now: float) -> None:
        super().__init__(spec, table, FlowCache(), now)
        self.inbox: deque[bytes] = deque()
        self.outbox: list[bytes] = []
        self.refuse: int = ALIVE

    def send(self, frame: bytes) -> None:
        """The container sends an ordinary frame."""
        self.inbox.append(plain(frame))

    def read(self, slot: memoryview) -> int:
        if self.state == "gone":
            return -1
        if not self.inbox:
            return 0
        data = self.inbox.popleft()
        slot[: len(data)] = data
        slot[len(data) : len(data) + len(POISON)] = POISON
        return len(data)

    def write(self, view: memoryview) -> int:
        if not self.refuse:
            self.outbox.append(bytes(view))
        return self.refuse

    def got(self) -> list[bytes]:
        """The frames that came out, vnet headers off; forgets them."""
        frames = [data[10:] for data in self.outbox]
        self.outbox.clear()
        return frames


class WireSocket:
    """A fake UDP socket: sends into the fabric, or receives what the fabric brings to its address."""

    def __init__(self, fabric: Fabric, address: tuple[str, int]) -> None:
        self.fabric = fabric
        self.address = address
        self.queue: deque[Datagram] = deque()
        self.errors: deque[int] = deque()  # errnos that the next sends fail with
        self.pending = 0  # entries in the error queue
        self.lost = 0

    def getsockname(self) -> tuple[str, int]:
        return self.address

    def fileno(self) -> int:
        return -1

    def close(self) -> None:
        self.fabric.wires.pop(self.address, None)

    def getsockopt(self, level: int, option: int, size: int = 0) -> Any:
        return struct.pack("9I", *[0] * 8, self.lost) if size else 0

    def recvmsg(self, size: int, ancillary: int = 0, flags: int = 0) -> Any:
        if not self.pending:
            raise BlockingIOError(errno.EAGAIN, "empty")
        self.pending -= 1
        return b"", [], 0, None

    def sendmsg(self, views: Iterable[Any], ancillary: Iterable[Any], flags: int, target: tuple[str, int]) -> int:
        payload = b"".join(views)
        size, tos = 0, 0
        for level, kind, data in ancillary:
            if (level, kind) == (SOL_UDP, UDP_SEGMENT):
                (size,) = struct.unpack("H", data)
            else:
                assert (level, kind) in ((SOL_IP, IP_TOS), (SOL_IPV6, IPV6_TCLASS))
                (tos,) = struct.unpack("i", data)
        if self.errors and (code := self.errors.popleft()):
            raise OSError(code, "as the test asked")
        self.fabric.send(self.address, target[:2], tos, payload, size)
        return len(payload)

    def recvmsg_into(self, room: list[memoryview], ancillary_size: int) -> Any:
        if not self.queue:
            raise BlockingIOError(errno.EAGAIN, "empty")
        run = self._take()
        payload = b"".join(d.payload for d in run)
        room[0][: len(payload)] = payload
        room[0][len(payload) : len(payload) + len(POISON)] = POISON[: len(room[0]) - len(payload)]
        first = run[0]
        v6 = ":" in first.source[0]
        told = [(SOL_IPV6, IPV6_TCLASS, struct.pack("i", first.tos))] if v6 else [(SOL_IP, IP_TOS, bytes((first.tos,)))]
        if len(run) > 1:
            told.append((SOL_UDP, UDP_GRO, struct.pack("i", len(first.payload))))
        if first.fragmented:
            told.append((SOL_IP, IP_RECVFRAGSIZE, struct.pack("i", 1480)))
        return len(payload), told, 0, first.source

    def _take(self) -> list[Datagram]:
        """The next datagram, and those behind it that GRO would have joined to it, or some of them."""
        first = self.queue.popleft()
        run = [first]
        most = self.fabric.gro()
        total = len(first.payload)
        while self.queue and len(run) < most and first.payload:
            following = self.queue[0]
            size = len(following.payload)
            alike = following.source == first.source and following.tos == first.tos and not following.fragmented
            if not alike or not 0 < size <= len(first.payload) or total + size > 65535 or first.fragmented:
                break
            run.append(self.queue.popleft())
            total += size
            if size < len(first.payload):
                break
        return run


class Pool:
    """What stands for ``SourcePorts``: one fake socket per source port."""

    def __init__(self, fabric: Fabric, vtep: Vtep, options: UnderlayOptions) -> None:
        self.address = vtep.address
        self.socks = [WireSocket(fabric, (vtep.address, FIRST_PORT + n)) for n in range(options.send_sockets)]

    def close(self) -> None:
        """Nothing stays open."""


class Host:
    """One switch: the real tables and the real ways in and out."""

    def __init__(self, fabric: Fabric, vteps: list[Vtep], options: UnderlayOptions) -> None:
        self.fabric = fabric
        self.vteps = vteps
        self.fdb = Fdb()
        self.stats = Stats()
        self.underlay = Underlay(options)
        with (
            mock.patch.object(underlay_module, "receive_socket", fabric.receive_socket),
            mock.patch.object(underlay_module, "SourcePorts", lambda vtep, opts, epoll: Pool(fabric, vtep, opts)),
        ):
            self.underlay.set_vteps(vteps)
        self.encap = Encap(self.underlay, self.stats, copy_dscp=options.copy_dscp)
        self.decap = Decap(self.fdb, self.underlay.counts, self.stats, strict_reserved=options.strict_reserved)
        self.ports: list[CablePort] = []  # removed ones too: their counts stay

    def network(self, vni: int, **policy: Any) -> Table:
        """Join a network; ``policy`` as Table takes it, MTU 1450 and flood learning unless said otherwise."""
        settings: dict[str, Any] = {"mtu": 1450, "learning": "flood", "antispoof": "off"} | policy
        return self.fdb.add(Table(f"n{vni}", vni, stats=self.stats, **settings))

    def port(self, vni: int, mac: bytes | None = None, **spec: Any) -> CablePort:
        """Attach a port; with a MAC, that one is given to it."""
        table = self.fdb.tables[vni]
        settings: dict[str, Any] = {"antispoof": False, "max_macs": 64, "bum_pps": 10**9, "bum_burst": 10**9} | spec
        port = CablePort(PortSpec(f"p{len(self.ports)}", vni, mac, **settings), table, self.fabric.now)
        table.add_port(port)
        if mac is not None:
            table.install(mac, port, "learned", self.fabric.now, given=True)
        self.ports.append(port)
        return port

    def peer(self, other: Host, node: str | None = None, *, static: bool = False) -> Peer:
        """The Peer that stands for another host here."""
        return self.fdb.peer(other.vteps[0], node, static=static)

    def drops(self) -> dict[str, int]:
        """All drops of this host by name, zeros left out."""
        total = Counts()
        total.add(self.underlay.counts)
        for port in self.ports:
            total.add(port.counts)
        return total.as_dict(zeros=False)

    def offered(self) -> int:
        """Wire frames from TAPs and VTEPs."""
        return sum(p.rx_frames for p in self.ports) + sum(r.frames for r in self.underlay.receivers.values())

    def delivered(self) -> int:
        """Wire frames to TAPs and VTEPs."""
        return sum(p.tx_frames for p in self.ports) + self.underlay.sent

    def work(self) -> bool:
        """One pass over all readable descriptors; false if there was nothing to do."""
        busy = False
        for port in self.ports:
            if port.inbox and port.state != "gone":
                self.encap.burst(port, self.fabric.now)
                busy = True
        for receiver in self.underlay.receivers.values():
            if self.fabric.wires[receiver.vtep.sockaddr].queue:
                self.decap.burst(receiver, self.fabric.now)
                busy = True
        return busy

    def check_law(self) -> None:
        """The law of ``counters``, with what left counted by whoever got it."""
        dropped, stats = sum(self.drops().values()), self.stats
        came = self.offered() + stats.copies + stats.originated
        assert came == self.delivered() + stats.held + stats.absorbed + dropped, (self.drops(), stats.as_dict())


class Fabric:
    """The underlay and the clock. ``loss``: probability that a datagram is lost on the wire."""

    def __init__(self, seed: int = 0, *, loss: float = 0.0, joined: bool | None = None, mtu: int = 65535) -> None:
        self.random = random.Random(seed)
        self.loss = loss
        self.joined = joined  # GRO: always, never, or None as the seed has it
        self.mtu = mtu
        self.now = 1000.0
        self.hosts: list[Host] = []
        self.wires: dict[tuple[str, int], WireSocket] = {}
        self.sent: list[Datagram] = []
        self.sends: list[int] = []  # datagrams of each send
        self.lost = self.injected = 0

    def __enter__(self) -> Fabric:
        return self

    def __exit__(self, *_: object) -> None:
        for host in self.hosts:
            host.underlay.close()

    def host(self, *addresses: str, **options: Any) -> Host:
        """A switch with these VTEP addresses, 192.0.2.N if none are named."""
        addresses = addresses or (f"192.0.2.{len(self.hosts) + 1}",)
        host = Host(self, [Vtep(a) for a in addresses], UnderlayOptions(**({"send_sockets": 8} | options)))
        self.hosts.append(host)
        return host

    def mesh(self, vni: int, *hosts: Host, static: bool = False) -> None:
        """These hosts are the VTEPs of a network: all flood to all, all may send to all."""
        for host in hosts:
            peers = [
                host.peer(other, f"node{self.hosts.index(other)}", static=static) for other in hosts if other != host
            ]
            host.fdb.tables[vni].set_peers(peers, 0, {p.vtep.address: p for p in peers})

    def receive_socket(self, vtep: Vtep, options: UnderlayOptions) -> WireSocket:
        """Stands for ``sockets.receive_socket``."""
        wire = self.wires[vtep.sockaddr] = WireSocket(self, vtep.sockaddr)
        return wire

    def send(self, source: tuple[str, int], target: tuple[str, int], tos: int, payload: bytes, size: int) -> None:
        """A send of ``payload``, to be cut into datagrams of ``size`` bytes unless 0; OSError as the kernel has it."""
        step = size or len(payload)
        if len(payload) > 65507 or step > self.mtu - 28:
            raise OSError(errno.EMSGSIZE, "too long")
        if size and -(-len(payload) // size) > 128:
            raise OSError(errno.EINVAL, "more segments than UDP_MAX_SEGMENTS")
        self.sends.append(-(-len(payload) // step))
        for at in range(0, len(payload), step):
            self.bring(Datagram(source, target, tos, payload[at : at + step]))

    def bring(self, datagram: Datagram) -> None:
        """A datagram crosses the wire."""
        self.sent.append(datagram)
        wire = self.wires.get(datagram.target)
        if wire is None or self.random.random() < self.loss:
            self.lost += 1
        else:
            wire.queue.append(datagram)

    def inject(self, target: Host, payload: bytes, source: str = "192.0.2.1", **outer: Any) -> None:
        """Somebody sends one datagram to a host's first VTEP; ``outer``: ``tos``, ``fragmented``, ``port``."""
        port = outer.pop("port", 50000)
        self.injected += 1
        wire = self.wires[target.vteps[0].sockaddr]
        wire.queue.append(Datagram((source, port), target.vteps[0].sockaddr, outer.pop("tos", 0), payload, **outer))

    def gro(self) -> int:
        """How many datagrams the next receive may join."""
        if self.joined is None:
            return self.random.choice((1, 2, GRO_MAX_SEGMENTS))
        return GRO_MAX_SEGMENTS if self.joined else 1

    def run(self) -> None:
        """Let all hosts work until all is quiet, in an order that the seed decides."""
        while sum(host.work() for host in self.random.sample(self.hosts, len(self.hosts))):
            pass

    def check_law(self) -> None:
        """The conservation law at every host, and nothing lost or made on the wire between them."""
        for host in self.hosts:
            host.check_law()
            for port in host.ports:
                # a super-frame that its sender's kernel left whole came as one datagram, and counts as one frame
                assert sum(1 if VNET.unpack_from(data)[1] else wire_count(data) for data in port.outbox) <= (
                    port.tx_frames
                )
