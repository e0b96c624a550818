"""How a frame of a port leaves, once it is decided where to.

    to a VTEP     the VXLAN header is written over the vnet header's tail; the frame waits on its Path, as a view, for
                  equal ones, and all leave when the burst is over: nothing waits for a timer
    super-frame   cut into rows in the arena, sent at once, after what waits on the same Path; or left to the kernel
    to a port     written as it was read, vnet header and all: a super-frame passes whole
    to a Fan      one copy to each of its ports and paths
    another       a small frame like one before it in its flow goes the same way unjudged, and its checksum is finished
                  with those of the run (``unfinished``)

The frame stands in the slot, which is the Encap's; what waits are views of its buffer, so ``flush`` comes before the
buffer is used from its start again.
"""

from __future__ import annotations

from vxswitch.counters import ALIVE, Drop, Stats
from vxswitch.dataplane.fan import Fan
from vxswitch.dataplane.flow import Flow, Like
from vxswitch.dataplane.kernel_cut import HOLD, TCP, WHOLE_MAX, Door
from vxswitch.dataplane.port import Port
from vxswitch.dataplane.slot import VNET_LEN, Slot
from vxswitch.dataplane.underlay import MAX_DATAGRAM, Path, Underlay
from vxswitch.offload import segment
from vxswitch.offload.arena import Run
from vxswitch.offload.segment import Cutter
from vxswitch.wire.checksum import complete
from vxswitch.wire.vxlan import HEADER_LEN

_CUT_VERDICT = {segment.OK: ALIVE, segment.BAD: Drop.BAD_VNET_HDR, segment.UNSUPPORTED: Drop.UNSUPPORTED_GSO}


class Leaving:
    """What has left the stages behind. Methods that take ``at`` return where the next frame may be read to."""

    def __init__(self, underlay: Underlay, slot: Slot, stats: Stats) -> None:
        self.underlay = underlay
        self.slot = slot
        self.stats = stats
        self.cutter = Cutter()
        self.rows = Run(slot.arena)
        self.waiting: list[Path] = []
        self.door: Door | None = None  # the kernel cuts

    def another(self, port: Port, like: Like, at: int, now: float) -> int:
        """A frame like those before it: nothing about it is to be found out."""
        flow, n, csum = like
        path, slot = flow.path, self.slot
        port.rx_frames += 1
        port.rx_bytes += n - VNET_LEN
        flow.src.seen = now
        if path is None:
            slot.take(at, n)
            assert isinstance(flow.hop, Port)
            self.to_port(flow.hop)
            return at
        view, start = slot.view, at + VNET_LEN
        first = start - HEADER_LEN
        waiting = self._gather(path, view[first : at + n], flow.tos, now)
        if csum is not None:
            if not waiting:
                path.unfinished.begin(at, n, csum)
            elif not path.unfinished.take(at, n, csum, waiting):
                complete(view, start, n - VNET_LEN, *csum)
        view[first:start] = port.header
        return at + n

    def to_vtep(self, port: Port, flow: Flow | None, path: Path, tos: int, at: int, now: float) -> int:
        """To one VTEP. ``flow``: the decision, if it is one that was kept; ``tos``: outer."""
        slot = self.slot
        if (
            self.door is not None
            and flow is not None
            and (slot.gso_type in TCP or flow.door_until > now)
            and slot.end - slot.start <= WHOLE_MAX
        ):
            return self._through_door(self.door, port, flow, path, at, now)
        if slot.gso_type:
            if path.frames:
                self._send(path, now)
            verdict = self._cut(port)
            if verdict:
                return self.drop(port, verdict, at)
            self.underlay.send_rows(path, self.rows, tos, now)
            return at
        self._gather(path, self._datagram(port), tos, now)
        return slot.end

    def _through_door(self, door: Door, port: Port, flow: Flow, path: Path, at: int, now: float) -> int:
        """Leave it to the kernel; for a while all that follows in this flow goes the same way, so as to stay behind."""
        slot = self.slot
        if path.frames:
            self._send(path, now)
        if slot.gso_type:
            flow.door_until = now + HOLD
        elif slot.flags:
            slot.finish_checksum()
        verdict = door.send(slot, path, port.header, flow.tos)
        if verdict:
            return self.drop(port, verdict, at)
        self.underlay.sent += slot.count
        return at

    def _gather(self, path: Path, datagram: memoryview, tos: int, now: float) -> int:
        """The datagram joins the run that waits on the path, or that one leaves and a new one begins.

        Returns how many waited before it; 0: it is the first.
        """
        size = len(datagram)
        if path.room and size <= path.size and tos == path.tos and path.total + size <= MAX_DATAGRAM:
            path.frames.append(datagram)
            path.total += size
            path.room = path.room - 1 if size == path.size else 0
            return len(path.frames) - 1
        if path.frames:
            self._send(path, now)
        else:
            self.waiting.append(path)
        path.frames.append(datagram)
        path.size = path.total = size
        path.tos = tos
        path.room = self.underlay.max_segments - 1
        return 0

    def flush(self, now: float) -> None:
        """Send every run that is gathering."""
        for path in self.waiting:
            self._send(path, now)
        self.waiting.clear()

    def _send(self, path: Path, now: float) -> None:
        if path.unfinished.count:
            path.unfinished.finish(self.slot.arena)
        self.underlay.send_run(path, now)

    def _datagram(self, port: Port) -> memoryview:
        """The frame in the slot as the payload of one datagram: checksum finished, VXLAN header in front."""
        slot = self.slot
        if slot.flags:
            slot.finish_checksum()
        first = slot.start - HEADER_LEN
        slot.view[first : slot.start] = port.header
        return slot.view[first : slot.end]

    def _cut(self, port: Port) -> int:
        """Cut the super-frame in the slot into ``rows``, borrowed until the next cut."""
        slot = self.slot
        return _CUT_VERDICT[
            self.cutter.cut(
                slot.arena,
                slot.start,
                slot.end - slot.start,
                slot.gso_type,
                slot.gso_size,
                slot.csum_start,
                slot.csum_offset,
                port.header,
                self.rows,
            )
        ]

    def to_port(self, hop: Port) -> None:
        """To another local port, as it was read: a partial checksum or a super-frame is the next kernel's matter."""
        slot = self.slot
        verdict = hop.write(slot.view[slot.at : slot.end])
        if verdict:
            hop.counts.by_reason[verdict] += slot.count
        else:
            hop.tx_frames += slot.count
            hop.tx_bytes += slot.wire_bytes

    def to_fan(self, port: Port, fan: Fan, tos: int, at: int, now: float) -> int:
        """One copy to each hop, a super-frame cut once for all. Returns where the next frame may be read to."""
        slot = self.slot
        self.stats.copies += (fan.copies - 1) * slot.count
        for hop in fan.ports:
            self.to_port(hop)
        if fan.missing:
            port.counts.by_reason[Drop.NO_VTEP_ADDRESS] += fan.missing * slot.count
        if not fan.paths:
            return at
        if not slot.gso_type:
            datagram = self._datagram(port)
            for path in fan.paths:
                self._gather(path, datagram, tos, now)
            return slot.end
        verdict = self._cut(port)
        if verdict:
            port.counts.by_reason[verdict] += slot.count * len(fan.paths)
            return at
        for path in fan.paths:
            if path.frames:
                self._send(path, now)
            self.underlay.send_rows(path, self.rows, tos, now)
        return at

    def drop(self, port: Port, verdict: int, at: int) -> int:
        """Nowhere: counted against the port that sent it."""
        port.counts.by_reason[verdict] += self.slot.count
        return at
