"""UDP to TAP: what happens to the datagrams of one burst, in the order in which it happens.

``burst`` receives runs: equal-sized datagrams of one outer flow, one sender, one outer ToS. Each row is
``[VXLAN 8][frame]``. A row whose flow has a decision that still holds goes straight to its port; any other is judged
by the stages in their order and, where the network learns from the underlay, taught to the table. From there

    one inner flow   the rows that follow and are proved to be the same TCP flow leave with it as one super-frame
    all else         verbatim and in order: a vnet header is written over the VXLAN header and the two bytes before it,
                     which belong to the row that has already gone
    a group          both of these, to each port behind which somebody listens: that is a cached decision, too

A sender whose kernel leaves inner checksums partial and super-frames whole (``offload.partial``) is recognised by the
first frame of a flow; from then on each of its frames gets the vnet header that its kernel could not send along.

A datagram without the I flag may be a probe (``probing``), which is no frame.

The run belongs to the receiver and is filled again by the next receive.
"""

from __future__ import annotations

from vxswitch.counters import Counts, Drop, Stats
from vxswitch.dataplane import groups, stages
from vxswitch.dataplane.fan import KEPT_COPIES, Fan
from vxswitch.dataplane.flow import Flow, FlowCache, FlowKey, flow_key
from vxswitch.dataplane.port import Port
from vxswitch.dataplane.probing import Probes
from vxswitch.dataplane.underlay import Receiver
from vxswitch.fdb import Fdb, Hop, Peer, Row, Table
from vxswitch.offload import partial
from vxswitch.offload.arena import FRAME_ARENA, Arena
from vxswitch.offload.coalesce import Joiner
from vxswitch.wire import ethernet, ip, virtio, vxlan

BURST_RUNS = 16  # runs taken from one socket before the loop looks elsewhere
_CHANGES_INNER = frozenset((ip.ECT1, ip.CE))  # RFC 6040 figure 4: these outer codepoints alone change anything
_MAX_SENDERS = 4096


class Decap:
    """The way in from the underlay. One per switch; ``counts`` are the drops that no local port owns."""

    def __init__(self, fdb: Fdb, counts: Counts, stats: Stats, *, strict_reserved: bool = False) -> None:
        self.fdb = fdb
        self.counts = counts
        self.stats = stats
        self.strict = strict_reserved
        self.joiner = Joiner()
        self.out = Arena(FRAME_ARENA)
        self.flows: dict[str, FlowCache] = {}  # by the sender's address
        self.probes: Probes | None = None

    def burst(self, receiver: Receiver, now: float) -> None:
        """Take what has arrived, up to a share. ``now``: monotonic seconds."""
        for _ in range(BURST_RUNS):
            if not receiver.recv_run():
                return
            self._run(receiver, now)

    def _run(self, receiver: Receiver, now: float) -> None:
        run = receiver.run
        buf, at, end, size = run.view, run.start, run.start + run.total, run.size
        flows = self.flows.get(receiver.address)
        if flows is None:
            flows = FlowCache(vxlan.HEADER_LEN)  # kept with its first decision
        mark = receiver.tos & ip.ECN_MASK
        row = 0
        while row < run.count:
            length = min(size, end - at) - vxlan.HEADER_LEN
            start = at + vxlan.HEADER_LEN
            flow = flows.find(buf, start, length)
            hop: Hop | None
            if flow is not None:
                flow.src.seen = now
                hop = flow.hop
                if length > flow.longest and not self._restorable(flow.table, flows, buf, start, length):
                    self._drop(Drop.OVERSIZE)
                    hop = None
            else:
                decided = self._decide(receiver, flows, at, length, now)
                if isinstance(decided, int):
                    self._drop(decided)
                    decided = None
                hop = decided
            rows = 1
            if hop is not None:
                if mark in _CHANGES_INNER and not ip.apply_ecn(run.view, start, length, mark):
                    self._drop(Drop.ECN_NOT_ECT)
                else:
                    rows = self._to_port(receiver, flows, flow, hop, row, at, length)
            row += rows
            at += rows * size

    def _decide(self, receiver: Receiver, flows: FlowCache, at: int, length: int, now: float) -> Hop | int | None:
        """Judge and learn: the local port to go to, or the reason it dies, or None: flooded, nothing left to do."""
        buf = receiver.run.view
        if length < ethernet.HEADER_LEN:
            return Drop.SHORT_DATAGRAM
        flags_word, vni_word = vxlan.Header.unpack_from(buf, at)
        verdict = stages.vxlan_header(flags_word, vni_word, self.strict)
        if verdict:
            return None if verdict == Drop.NO_I_FLAG and self._probe(receiver, at, length, now) else verdict
        table = self.fdb.tables.get(vxlan.vni_of(vni_word))
        if table is None:
            return Drop.UNKNOWN_VNI
        peer = table.senders.get(receiver.address)
        if peer is None:
            return Drop.UNKNOWN_VTEP
        start = at + vxlan.HEADER_LEN
        dst = bytes(buf[start : start + ethernet.SRC])
        src = bytes(buf[start + ethernet.SRC : start + ethernet.ETHERTYPE])
        tags = ethernet.tag_count(buf, start, length)
        verdict = (
            stages.remote_source(table, peer, src)
            or stages.vlan_in(table, tags)
            or (0 if self._restorable(table, flows, buf, start, length) else stages.size_in(table, length, tags))
            or stages.group_destination(dst)
        )
        if verdict:
            return verdict
        source = self._learn(table, peer, src, now)
        if dst[0] & 1:
            return self._group(receiver, table, peer, source, flows, at, length)
        row = table.lookup(dst)
        if row is None or row.hop is None:
            everybody = groups.everybody(table, Drop.NO_FLOOD_PEERS)
            return stages.unknown_unicast(table) or self._flood(receiver, table, everybody, peer, flows, at, length)
        verdict = stages.unicast_from_vtep(row)
        if verdict:
            return verdict
        key = flow_key(buf, start, length, vxlan.HEADER_LEN)
        if key is not None and source is not None and source.hop is peer:
            self._keep(receiver.address, flows, key, Flow(table, source, row, None))
        return row.hop

    def _probe(self, receiver: Receiver, at: int, length: int, now: float) -> bool:
        """What no frame can be is a probe, perhaps, and then does not count as a frame that arrived."""
        payload = length + vxlan.HEADER_LEN
        if self.probes is None or not self.probes.take(receiver.run.view, at, payload, receiver.address, now):
            return False
        receiver.frames -= 1
        return True

    @staticmethod
    def _restorable(table: Table, flows: FlowCache, view: memoryview, start: int, length: int) -> bool:
        """A frame that its kernel left unfinished, whatever its size. Marks the sender as one that does so."""
        if partial.gso_header(view, start, length, table.mtu) is None:
            return False
        flows.partial = True
        return True

    @staticmethod
    def _learn(table: Table, peer: Peer, src: bytes, now: float) -> Row | None:
        """In control mode the store says who has a MAC, and the underlay teaches nothing, but for configured peers.

        In hybrid mode it teaches where the store says nothing: a learned row never replaces a claimed one.
        """
        if table.learning != "control" or peer.static:
            return table.learn(src, peer, now)
        return table.lookup(src)

    # -- one hop ---------------------------------------------------------------------------------------------------

    def _to_port(
        self, receiver: Receiver, flows: FlowCache, flow: Flow | None, hop: Hop, row: int, at: int, length: int
    ) -> int:
        """Write the row, with those behind it that are proved to continue it. Returns how many rows are done."""
        if not isinstance(hop, Port):
            assert isinstance(hop, Fan)
            return self._to_listeners(receiver, flows, flow, hop, row, at, length)
        run = receiver.run
        if flow is not None and row + 1 < run.count and receiver.tos & ip.ECN_MASK not in _CHANGES_INNER:
            if flow.skip:
                flow.skip -= 1
            else:
                rows, n = self.joiner.join(run, row, self.out, hop.joins_udp)
                flow.joined(rows)
                if rows > 1:
                    wire_bytes = min(rows * run.size, run.start + run.total - at) - rows * vxlan.HEADER_LEN
                    self._written(hop, hop.write(self.out.view[:n]), rows, wire_bytes)
                    return rows
        self._verbatim(run.view, flows, hop, at, length)
        return 1

    def _verbatim(self, view: memoryview, flows: FlowCache, hop: Port, at: int, length: int) -> None:
        start = at + vxlan.HEADER_LEN
        first = start - virtio.HEADER_LEN
        fields = partial.gso_header(view, start, length, hop.table.mtu) if flows.partial else None
        view[first:start] = virtio.HEADER.pack(*fields) if fields is not None else virtio.NONE
        self._written(hop, hop.write(view[first : start + length]), 1, length)

    @staticmethod
    def _written(hop: Port, verdict: int, frames: int, length: int) -> None:
        if verdict:
            hop.counts.by_reason[verdict] += frames
        else:
            hop.tx_frames += frames
            hop.tx_bytes += length

    # -- many hops -------------------------------------------------------------------------------------------------

    def _group(
        self,
        receiver: Receiver,
        table: Table,
        peer: Peer,
        source: Row | None,
        flows: FlowCache,
        at: int,
        length: int,
    ) -> Hop | int | None:
        """To a group address: to its listeners here, if it is data of a group and they are known, else to everybody."""
        buf, start = receiver.run.view, at + vxlan.HEADER_LEN
        way = groups.way(table, buf, start, length, Drop.NO_FLOOD_PEERS)
        if way.listeners is None:
            return self._flood(receiver, table, way, peer, flows, at, length)
        fan = Fan(way.audience.ports)
        key = flow_key(buf, start, length, vxlan.HEADER_LEN)
        if key is not None and source is not None and source.hop is peer and fan.copies <= KEPT_COPIES:
            self._keep(receiver.address, flows, key, Flow(table, source, way.listeners, None, fan=fan))
        return fan

    def _to_listeners(
        self, receiver: Receiver, flows: FlowCache, flow: Flow | None, fan: Fan, row: int, at: int, length: int
    ) -> int:
        """As ``_to_port``, to each: rows are joined, once for all, if all of them take what it makes."""
        if not fan.ports:
            self._drop(Drop.NO_LISTENERS)
            return 1
        run, rows = receiver.run, 1
        if flow is not None and row + 1 < run.count and receiver.tos & ip.ECN_MASK not in _CHANGES_INNER:
            if flow.skip:
                flow.skip -= 1
            else:
                rows, n = self.joiner.join(run, row, self.out, fan.joins_udp)
                flow.joined(rows)
        if rows > 1:
            wire_bytes = min(rows * run.size, run.start + run.total - at) - rows * vxlan.HEADER_LEN
            for hop in fan.ports:
                self._written(hop, hop.write(self.out.view[:n]), rows, wire_bytes)
        else:
            for hop in fan.ports:
                self._verbatim(run.view, flows, hop, at, length)
        self.stats.copies += (fan.copies - 1) * rows
        self.stats.mcast_frames += rows
        self.stats.mcast_copies += fan.copies * rows
        return rows

    def _flood(
        self, receiver: Receiver, table: Table, way: groups.Way, peer: Peer, flows: FlowCache, at: int, length: int
    ) -> int | None:
        """To every local port of the network, never to a VTEP: ingress replication has no transit."""
        view, start, ports = receiver.run.view, at + vxlan.HEADER_LEN, way.audience.ports
        if way.said is not None and table.groups is not None:
            table.groups.hear(peer, way.said)
        if not ports:
            self.stats.absorbed += not way.nowhere
            return way.nowhere or None
        mark = receiver.tos & ip.ECN_MASK
        if mark in _CHANGES_INNER and not ip.apply_ecn(view, start, length, mark):
            return Drop.ECN_NOT_ECT
        self.stats.copies += len(ports) - 1
        for hop in ports:
            assert isinstance(hop, Port)
            self._verbatim(view, flows, hop, at, length)
        return None

    def _keep(self, address: str, flows: FlowCache, key: FlowKey, flow: Flow) -> None:
        """Remember a decision about what this sender sends. Only VTEPs of a network here come this far."""
        if address not in self.flows:
            if len(self.flows) >= _MAX_SENDERS:
                self.flows.clear()
            self.flows[address] = flows
        flows.keep(key, flow)

    def _drop(self, verdict: int) -> None:
        self.counts.by_reason[verdict] += 1
