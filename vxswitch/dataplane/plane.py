"""The data plane as the rest of the switch sees it: open and close ports and VTEPs, ask for counts, trace.

It is the loop's guest: whoever builds it hands in ``add_reader`` and ``remove_reader``, and it imports no loop. No
callback raises: the hot room returns verdicts, and what a bug still throws is counted and told once per kind, because
the loop would only log it, and uvloop would go on calling.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vxswitch.counters import Counts, Drop, Stats
from vxswitch.dataplane.asking import TICK
from vxswitch.dataplane.bucket import Bucket
from vxswitch.dataplane.decap import Decap
from vxswitch.dataplane.encap import Encap
from vxswitch.dataplane.flow import FlowCache
from vxswitch.dataplane.kernel_cut import Door
from vxswitch.dataplane.links import Links
from vxswitch.dataplane.port import OFFLOAD_BITS, Port, TapPort, copies_of
from vxswitch.dataplane.probing import OnAnswer, Probes
from vxswitch.dataplane.sockets import UnderlayOptions
from vxswitch.dataplane.trace import Stage, trace, trace_in
from vxswitch.dataplane.trial import Trial
from vxswitch.dataplane.underlay import OpenReceiver, Receiver, Underlay
from vxswitch.fdb import Fdb, LocalPort, Peer
from vxswitch.model import PortSpec, Vtep
from vxswitch.wire import probe
from vxswitch.wire.neighbour import ask_again

Reader = Callable[[int, Callable[[], None]], None]

_MAX_UNREACHABLE = 64  # addresses told of at once; whoever keeps sending to others hears of them next


class Plane:
    """See the head of this file. ``clock`` gives monotonic seconds; ``on_port_gone`` is told once per vanished TAP."""

    def __init__(
        self,
        fdb: Fdb,
        options: UnderlayOptions,
        *,
        clock: Callable[[], float],
        call_soon: Callable[[Callable[[], None]], object],
        call_later: Callable[[float, Callable[[], None]], object],
        add_reader: Reader,
        remove_reader: Callable[[int], object],
        on_port_gone: Callable[[LocalPort], None],
        on_bug: Callable[[Exception], None],
        open_receiver: OpenReceiver | None = None,
        leads: bool = True,
        identity: probe.Identity = probe.NOBODY,
    ) -> None:
        self.fdb = fdb
        self.clock = clock
        self.stats = Stats()
        self.ports: dict[str, TapPort] = {}
        self._links = Links()
        self.underlay = Underlay(options, open_receiver, leads=leads)
        self.encap = Encap(self.underlay, self.stats, copy_dscp=options.copy_dscp)
        self.encap.asking.wake = lambda: call_later(TICK, self._guarded(self._look_again))
        self.decap = Decap(fdb, self.underlay.counts, self.stats, strict_reserved=options.strict_reserved)
        self.probes = self.decap.probes = Probes(fdb, self.underlay, self.stats, identity)
        self.retired = Counts()  # of ports that are gone
        self.retired_rx = self.retired_tx = 0
        self.received = 0  # by receivers that are closed
        self._door: Door | None = None
        self._trial: Trial | None = None
        self._busy_poll = options.busy_poll
        self._awake_until = 0.0
        self._spinning = False
        self._unreachable: set[str] = set()
        self._call_soon = call_soon
        self._add_reader = add_reader
        self._remove_reader = remove_reader
        self._on_port_gone = on_port_gone
        self._on_bug = on_bug
        add_reader(self.underlay.epoll.fileno(), self._guarded(self.underlay.on_errors))

    # -- VTEPs and ports -------------------------------------------------------------------------------------------

    def set_vteps(self, vteps: Sequence[Vtep]) -> None:
        """Receive on, and send from, these addresses. OSError of bind (EADDRINUSE, EADDRNOTAVAIL): nothing changed."""
        opened, gone = self.underlay.set_vteps(list(vteps))
        for receiver in gone:
            self._remove_reader(receiver.sock.fileno())
            self.received += receiver.frames
            receiver.close()
        for receiver in opened:
            self._add_reader(receiver.sock.fileno(), self._guarded(self._on_underlay(receiver)))
        if self._door is not None:
            self.underlay.without_flow_labels()
            self._door.forget()
        for table in self.fdb.tables.values():
            table.changed()  # cached decisions hold paths with the old sockets

    def open_door(self, fd: int, mac: bytes, exit_fd: int | None = None, targets: Sequence[str] = ()) -> None:
        """Prepare to let the kernel cut super-frames that go out, by this TAP into the host's own stack.

        ``exit_fd`` and ``targets`` are for ``check_door``; without them another process checks.
        """
        self.underlay.without_flow_labels()
        self._door = Door(fd, mac, self.underlay.options.ttl)
        if exit_fd is not None:
            self._trial = Trial(self._door, self.underlay, exit_fd, targets)
            self._trial.ask()

    def check_door(self) -> bool:
        """Whether what went into the door since the last check has left the host. It is used as long as that is so."""
        if self._trial is None:
            return False
        works = self._trial.passed()
        if works != (self.encap.leaving.door is not None):
            self.use_door(works)
        self._trial.ask()
        return works

    def use_door(self, use: bool) -> None:
        """Let the kernel cut from now on, or no more."""
        self.encap.leaving.door = self._door if use else None

    def add_port(self, spec: PortSpec, fd: int, *, reads: bool = True) -> LocalPort:
        """Begin to forward for a TAP; the descriptor is the port's from here on. KeyError: no such network here.

        ``reads`` False: another process reads what the TAP sends, and here it is only written to.
        """
        table = self.fdb.tables[spec.vni]
        port = TapPort(spec, table, FlowCache(), self.clock(), fd)
        self._links.add(port)
        self.ports[spec.id] = port
        table.add_port(port)
        if reads:
            self._add_reader(fd, self._guarded(self._on_port(port)))
        return port

    def update_port(self, port: LocalPort, spec: PortSpec) -> None:
        """Other limits and policy for a port; what its rate buckets have left is forgotten."""
        tap = self.ports.get(port.id)
        if tap is not None:
            tap.antispoof, tap.max_macs = spec.antispoof, spec.max_macs
            tap.addresses = None if spec.addresses is None else frozenset(spec.addresses)
            tap.bum = Bucket(spec.bum_pps, spec.bum_burst, self.clock())
            tap.copies = copies_of(spec, self.clock())
            tap.table.changed()

    def remove_port(self, port: LocalPort) -> None:
        """Stop, close the descriptor, withdraw the rows; the port's counts stay with the switch."""
        tap = self.ports.pop(port.id, None)
        if tap is None:
            return
        if tap.fd >= 0:
            self._let_go(tap)
        tap.counts.by_reason[Drop.PORT_GONE] += self.encap.asking.forget(tap)
        tap.table.remove_port(tap)
        self.retired.add(tap.counts)
        self.retired_rx += tap.rx_frames
        self.retired_tx += tap.tx_frames

    def say(self, port: LocalPort, frame: bytes) -> None:
        """Send a frame of the switch's own to what is behind a port."""
        tap = self.ports.get(port.id)
        if tap is not None and tap is port and tap.fd >= 0:
            self.encap.say(tap, frame)

    def ask_station(self, port: LocalPort, mac: bytes, address: bytes) -> None:
        """Ask a station behind a local port whether it still has this address (4 or 16 bytes)."""
        self.say(port, ask_again(mac, address))

    def close(self) -> None:
        """Let go of every descriptor; TAPs that are persistent stay."""
        self._remove_reader(self.underlay.epoll.fileno())
        for port in list(self.ports.values()):
            self.remove_port(port)
        for receiver in self.underlay.receivers.values():
            self._remove_reader(receiver.sock.fileno())
        self.underlay.close()
        self.encap.leaving.door = None
        for opened in (self._door, self._trial):
            if opened is not None:
                opened.close()

    # -- probes ------------------------------------------------------------------------------------------------------

    def follow_probes(self, on_answer: OnAnswer, on_unreachable: Callable[[str], None]) -> None:
        """Tell these of answers, and of addresses that an ICMP error came back for, never in the middle of a send."""

        def later(address: str) -> None:
            if not self._unreachable:
                self._call_soon(self._guarded(tell))
            if len(self._unreachable) < _MAX_UNREACHABLE:
                self._unreachable.add(address)

        def tell() -> None:
            told, self._unreachable = self._unreachable, set()
            for address in told:
                on_unreachable(address)

        self.probes.on_answer = on_answer
        self.underlay.on_unreachable = later

    def send_probe(self, peer: Peer, way: int, datagram: bytes) -> int:
        """Send a probe by one of the source ports that frames have; 0, or the ``Drop`` under which it died."""
        verdict = self.underlay.send_probe(peer, way, datagram)
        if not verdict:
            self.stats.probes_sent += 1
        return verdict

    # -- what it did -------------------------------------------------------------------------------------------------

    def poll(self, now: float) -> None:
        """Cold housekeeping, a few times a second: what only the kernel counts, and which links are up."""
        self.underlay.poll()
        self._links.look(self.ports.values())
        for port in [p for p in self.ports.values() if p.state == "gone"]:
            self._gone(port)

    def drops(self) -> dict[str, int]:
        """Frames lost since start, by reason, every reason present."""
        total = Counts()
        total.add(self.retired)
        total.add(self.underlay.counts)
        for port in self.ports.values():
            total.add(port.counts)
        return total.as_dict()

    def frames(self) -> tuple[int, int]:
        """Wire frames (offered, delivered), of TAPs and VTEPs together; what the kernel lost is offered, too."""
        ports = self.ports.values()
        received = self.received + sum(r.frames for r in self.underlay.receivers.values())
        lost = self.underlay.counts.by_reason
        received += lost[Drop.UNDERLAY_OVERFLOW] + lost[Drop.BAD_OUTER_CHECKSUM] + lost[Drop.STRAY_DATAGRAM]
        offered = received + self.retired_rx + sum(p.rx_frames for p in ports)
        delivered = self.underlay.sent + self.retired_tx + sum(p.tx_frames for p in ports)
        return offered, delivered

    def offloads(self, port: LocalPort) -> dict[str, bool]:
        """What the port's TAP may hand over unfinished, by name."""
        mask = self.ports[port.id].offloads if port.id in self.ports else 0
        return {name: bool(mask & bit) for name, bit in OFFLOAD_BITS.items()}

    def trace(self, vni: int, src: bytes, dst: bytes, frame: bytes, port: LocalPort | None) -> list[Stage]:
        """What would happen to a frame if this port sent it now; without a port, if a VTEP had brought it here."""
        if port is not None:
            tap = self.ports[port.id]
            return trace(self.underlay, tap.table, tap, frame)
        return trace_in(self.fdb.tables[vni], src, dst, frame)

    # -- callbacks of the loop ---------------------------------------------------------------------------------------

    def _on_port(self, port: TapPort) -> Callable[[], None]:
        def readable() -> None:
            now = self.clock()
            if not self.encap.burst(port, now):
                self._gone(port)
            elif self._busy_poll:
                self._stay_awake(now)

        return readable

    def _on_underlay(self, receiver: Receiver) -> Callable[[], None]:
        def readable() -> None:
            now = self.clock()
            self.decap.burst(receiver, now)
            if self._busy_poll:
                self._stay_awake(now)

        return readable

    def _look_again(self) -> None:
        """Frames wait for their destination to be found."""
        asking = self.encap.asking
        try:
            asking.tick(self.clock())
        finally:
            if asking.waiting:
                asking.wake()

    def _stay_awake(self, now: float) -> None:
        """Busy polling: after traffic the loop asks again at once, instead of sleeping, for ``busy_poll`` seconds."""
        self._awake_until = now + self._busy_poll
        if not self._spinning:
            self._spinning = True
            self._call_soon(self._spin)

    def _spin(self) -> None:
        """A callback that is always due keeps the loop from sleeping: it polls its descriptors with no timeout."""
        if self.clock() < self._awake_until:
            self._call_soon(self._spin)
        else:
            self._spinning = False

    def _gone(self, port: Port) -> None:
        tap = self.ports.get(port.id)
        if tap is None or tap.fd < 0:
            return
        self._let_go(tap)
        tap.state = "gone"
        self._on_port_gone(tap)

    def _let_go(self, tap: TapPort) -> None:
        self._remove_reader(tap.fd)
        self._links.remove(tap)
        tap.close()

    def _guarded(self, callback: Callable[[], None]) -> Callable[[], None]:
        def call() -> None:
            try:
                callback()
            except Exception as error:
                self._on_bug(error)

        return call
