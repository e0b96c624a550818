"""The data plane of the main process when workers share its frames. Control sees a ``Plane`` like any other.

A port's frames are read by one process, the one with the fewest ports; whatever a port sends stays in order, and its
limits are whole. That process receives, too, what is for the MAC that the port was attached with; anything else that
comes from the underlay is divided by its source port (``dataplane.reuseport``). So one inner flow is always one
process's. Every process may write to every port: all have the same descriptor.

This process, number 0, forwards as well. It is the only one that learns, ages and counts up: tables are fed to the
workers (``feed``), what they could not explain is learned here, what they count is added here.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Sequence
from typing import Any

from vxswitch.dataplane.plane import Plane
from vxswitch.dataplane.port import TapPort
from vxswitch.dataplane.probing import OnAnswer
from vxswitch.dataplane.reuseport import receive_group, steer
from vxswitch.dataplane.sockets import UnderlayOptions
from vxswitch.fdb import Fdb, Hop, LocalPort, Table
from vxswitch.model import PortSpec, Vtep
from vxswitch.wire.neighbour import Said
from vxswitch.workers import counting
from vxswitch.workers.crew import Crew
from vxswitch.workers.feed import Feed
from vxswitch.workers.messages import (
    AddPort,
    Answered,
    Counted,
    Heard,
    Learned,
    OpenDoor,
    Overheard,
    PortGone,
    RemovePort,
    Seen,
    SetVteps,
    ToMain,
    Unreachable,
    UpdatePort,
    UseDoor,
    address,
)

log = logging.getLogger(__name__)


class SharedPlane(Plane):
    """See the head of this file. ``guest``: what a ``Plane`` is given by its loop."""

    def __init__(
        self,
        fdb: Fdb,
        options: UnderlayOptions,
        crew: Crew,
        *,
        call_soon: Callable[[Callable[[], None]], object],
        **guest: Any,
    ) -> None:
        self._crew = crew
        self._groups: dict[Vtep, list[socket.socket]] = {}  # the workers' sockets, in their order
        self._numbers: dict[Hop, int] = {}
        self._by_number: dict[int, TapPort] = {}
        self._reader: dict[int, int] = {}  # port number -> process
        self._owners: dict[int, tuple[bytes, int]] = {}  # port number -> the MAC that is attached, process
        self._last_number = 0
        self._on_unreachable: Callable[[str], None] = lambda address: None
        super().__init__(fdb, options, call_soon=call_soon, open_receiver=self._open_group, **guest)
        fdb.watcher = Feed(fdb, self._numbers, tell=crew.tell, call_soon=call_soon)
        crew.on_message = self._on_message

    # -- VTEPs and ports -------------------------------------------------------------------------------------------

    def _open_group(self, vtep: Vtep, options: UnderlayOptions) -> socket.socket:
        ours, *theirs = receive_group(vtep, options, 1 + len(self._crew.hands))
        self._groups[vtep] = theirs
        return ours

    def set_vteps(self, vteps: Sequence[Vtep]) -> None:
        """See ``Plane``, as for all methods."""
        before = set(self._groups)
        try:
            super().set_vteps(vteps)
        except OSError:
            self._close_groups(set(self._groups) - before)
            raise
        self._close_groups(before - set(vteps))
        self._steer()
        for vtep, receiver in self.underlay.receivers.items():
            receiver.sisters = self._groups[vtep]
        told = SetVteps([address(vtep) for vtep in vteps])
        for at, hand in enumerate(self._crew.hands):
            hand.link.send(told, [self._groups[vtep][at].fileno() for vtep in vteps])

    def _close_groups(self, vteps: set[Vtep]) -> None:
        for vtep in vteps:
            for sock in self._groups.pop(vtep):
                sock.close()

    def open_door(self, fd: int, mac: bytes, exit_fd: int | None = None, targets: Sequence[str] = ()) -> None:
        super().open_door(fd, mac, exit_fd, targets)
        self._crew.tell(OpenDoor(mac), [fd])

    def use_door(self, use: bool) -> None:
        super().use_door(use)
        self._crew.tell(UseDoor(use))

    def add_port(self, spec: PortSpec, fd: int, *, reads: bool = True) -> LocalPort:
        reader = self._least_busy()
        port = super().add_port(spec, fd, reads=reader == 0)
        self._last_number += 1
        number = self._last_number
        if spec.mac is not None:
            self._owners[number] = spec.mac, reader
            self._steer()
        self._numbers[port] = number
        self._by_number[number] = self.ports[spec.id]
        self._reader[number] = reader
        for hand in self._crew.hands:
            hand.link.send(AddPort(number, spec, hand.number == reader), [fd])
        return port

    def _steer(self) -> None:
        """Have each process receive for the ports that it reads."""
        owners = dict(reversed(self._owners.values()))  # of two ports with one MAC the elder has it
        for vtep, receiver in self.underlay.receivers.items():
            steer(receiver.sock, vtep.family, 1 + len(self._crew.hands), owners)

    def _least_busy(self) -> int:
        readers = list(self._reader.values())
        return min(range(1 + len(self._crew.hands)), key=readers.count)

    def update_port(self, port: LocalPort, spec: PortSpec) -> None:
        super().update_port(port, spec)
        if (number := self._numbers.get(port)) is not None:
            self._crew.tell(UpdatePort(number, spec))

    def remove_port(self, port: LocalPort) -> None:
        super().remove_port(port)
        number = self._numbers.pop(port, None)
        if number is not None:
            del self._by_number[number], self._reader[number]
            if self._owners.pop(number, None) is not None:
                self._steer()
            self._crew.tell(RemovePort(number))

    def follow_probes(self, on_answer: OnAnswer, on_unreachable: Callable[[str], None]) -> None:
        super().follow_probes(on_answer, on_unreachable)
        self._on_unreachable = on_unreachable

    def close(self) -> None:
        self.fdb.watcher = None
        super().close()
        self._close_groups(set(self._groups))

    # -- what workers tell -------------------------------------------------------------------------------------------

    def _on_message(self, message: ToMain) -> None:
        try:
            self._hear(message)
        except Exception as error:
            self._on_bug(error)

    def _hear(self, message: ToMain) -> None:
        match message:
            case Counted():
                counting.add(self, self._by_number, message)
            case Learned():
                self._learn(message)
            case Heard():
                self._heard(message)
            case Seen():
                self._refresh(message)
            case Answered(whom, answer, now):
                if self.probes.on_answer is not None:
                    self.probes.on_answer(whom, answer, now)
            case Unreachable(whom):
                self._on_unreachable(whom)
            case Overheard():
                self._hear_groups(message)
            case PortGone(number):
                port = self._by_number.get(number)
                if port is not None:
                    self._gone(port)

    def _learn(self, message: Learned) -> None:
        table = self.fdb.tables.get(message.vni)
        hop = self._hop(table, message) if table is not None else None
        if table is not None and hop is not None:
            table.learn(message.mac, hop, self.clock())

    def _hear_groups(self, message: Overheard) -> None:
        table = self.fdb.tables.get(message.vni)
        hop = self._hop(table, message) if table is not None else None
        if table is not None and table.groups is not None and hop is not None:
            table.groups.hear(hop, message.message)

    def _heard(self, message: Heard) -> None:
        table, port = self.fdb.tables.get(message.vni), self._by_number.get(message.port)
        if table is not None and port is not None:
            table.hear(port, Said(message.kind, message.mac, message.ip, message.target, message.evidence))

    def _hop(self, table: Table, message: Learned | Overheard) -> Hop | None:
        """Where the frame came in, if that is still a way into this network."""
        if message.vtep is not None:
            peer = table.senders.get(message.vtep[0])
            return peer if peer is not None and address(peer.vtep) == message.vtep else None
        port = self._by_number.get(message.port) if message.port is not None else None
        return port if port in table.ports else None

    def _refresh(self, message: Seen) -> None:
        table = self.fdb.tables.get(message.vni)
        if table is None:
            return
        for mac, seen in message.rows:
            row = table.rows.get(mac)
            if row is not None and row.seen < seen:
                row.seen = seen
