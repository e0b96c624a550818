"""TAP to UDP: what happens to the frames of one burst, in the order in which it happens.

``burst`` reads frames into one buffer until the port is empty or its share is used up. A frame whose flow has a
decision that still holds goes straight to its hop; any other is judged by the stages, taught to the table, and decided.

    to one hop     ``leaving`` says how: as datagrams that wait for equal ones, cut into rows, or as it was read
    to all others  (``_flood``) one copy to each other local port and to each VTEP of the network
    to a group     (``_group``) one copy to each port and VTEP behind which somebody listens: a cached decision, too
    ARP and ND     may be answered instead (``neighbours``); for an unknown destination it may wait (``asking``)

The buffer belongs to the Encap and is used again from the start as soon as what waited has been sent.
"""

from __future__ import annotations

from vxswitch.counters import Drop, Stats
from vxswitch.dataplane import groups, neighbours, stages
from vxswitch.dataplane.asking import Asking, Held
from vxswitch.dataplane.fan import KEPT_COPIES, Fan, fan_of
from vxswitch.dataplane.flow import Flow, FlowKey, flow_key
from vxswitch.dataplane.leaving import Leaving
from vxswitch.dataplane.port import Port
from vxswitch.dataplane.slot import VNET_LEN, Slot
from vxswitch.dataplane.underlay import Path, Underlay
from vxswitch.fdb import Hop, Peer, Row, Table
from vxswitch.wire import ethernet, ip, virtio
from vxswitch.wire.address import STAND_IN
from vxswitch.wire.flow import entropy
from vxswitch.wire.neighbour import Said, answer, ask_all, listen

BURST_FRAMES = 64  # frames a port may send before the loop looks at another port
BURST_BYTES = 256 << 10  # and bytes: four super-frames
SMALL = 4096  # bytes, vnet header included: above it, looking at a frame is a small part of moving it
READ_MAX = VNET_LEN + (1 << 16) + 64  # a TAP read: 64 KiB of packet, Ethernet header and tags (linux/if_tun.h, skb)
_TAG_FIRST_BYTES = frozenset((ethernet.ETH_P_8021Q >> 8, ethernet.ETH_P_8021AD >> 8))
_BUFFER = 192 << 10  # 64 frames of 2 KiB and one super-frame; jumbo frames empty it sooner
Decided = tuple[Hop, Path | None, int]  # hop, path, outer ToS


class Encap:
    """The way out of local ports. One per switch."""

    def __init__(self, underlay: Underlay, stats: Stats, *, copy_dscp: bool = False) -> None:
        self.underlay = underlay
        self.stats = stats
        self.slot = Slot(_BUFFER)
        self.leaving = Leaving(underlay, self.slot, stats)
        self.tos_mask = 0xFF if copy_dscp else ip.ECN_MASK
        self.asking = Asking(stats, self._resume)

    def burst(self, port: Port, now: float) -> bool:
        """Take what the port sends, up to its share. False: its device is gone. ``now``: monotonic seconds."""
        slot = self.slot
        view, at, left = slot.view, 0, BURST_BYTES
        n = 0
        alone = port.alone
        another = port.flows.another
        quick = not port.limited and self.leaving.door is None
        for taken in range(BURST_FRAMES):
            if at + READ_MAX > _BUFFER:
                self.leaving.flush(now)
                at = 0
            n = port.read(view[at : at + READ_MAX])
            if n <= 0:
                port.alone = taken <= 1
                break
            like = another(view, at, n) if n <= SMALL and quick else None
            if like is not None:
                at = self.leaving.another(port, like, at, now)
            else:
                at = self._frame(port, at, n, now)
            if alone:  # it has nobody to share a send with, most likely: a failed read must not hold it up
                self.leaving.flush(now)
                port.alone = alone = False
            left -= n
            if left <= 0:
                break
        self.leaving.flush(now)
        return n >= 0

    def _frame(self, port: Port, at: int, n: int, now: float) -> int:
        """One frame, from read to hop. Returns where the next one may be read to."""
        slot = self.slot
        verdict = slot.take(at, n)
        port.rx_frames += slot.count
        port.rx_bytes += slot.wire_bytes
        if verdict:
            return self.leaving.drop(port, verdict, at)
        if port.limited and not port.admit(slot.count, slot.wire_bytes, now):
            return self.leaving.drop(port, Drop.RATE, at)
        flow = port.flows.find(slot.view, slot.start, n - VNET_LEN)
        if flow is not None:
            if slot.longest > flow.longest:
                return self.leaving.drop(port, Drop.OVERSIZE, at)
            flow.src.seen = now
            hop, path, tos = flow.hop, flow.path, flow.tos
            if n <= SMALL and not slot.gso_type and hop is flow.dst_hop:
                port.flows.remember(slot, flow)
        else:
            decided = self._decide(port, now)
            if isinstance(decided, int):
                return self.leaving.drop(port, decided, at)
            if decided is None:
                return at
            hop, path, tos = decided
        if path is not None:
            return self.leaving.to_vtep(port, flow, path, tos, at, now)
        if isinstance(hop, Port):
            self.leaving.to_port(hop)
            return at
        assert isinstance(hop, Fan)
        return self._to_listeners(port, hop, tos, at, now)

    def _decide(self, port: Port, now: float) -> Decided | int | None:
        """Judge and learn: (hop, path, outer ToS), or the reason it dies, or None: flooded, nothing left to do."""
        slot, table = self.slot, port.table
        key = flow_key(slot.view, slot.start, slot.end - slot.start, 0)
        tags = 0
        if slot.view[slot.start + ethernet.ETHERTYPE] in _TAG_FIRST_BYTES:
            tags = self._vlan_out(table)
            if tags < 0:
                return Drop.VLAN_POLICY
        start = slot.start
        dst = bytes(slot.view[start : start + ethernet.SRC])
        src = bytes(slot.view[start + ethernet.SRC : start + ethernet.ETHERTYPE])
        verdict = (
            stages.size(table, slot.longest, tags)
            or stages.local_source(port, src)
            or stages.local_address(port, slot.view, start, slot.end - start, tags)
            or stages.group_destination(dst)
        )
        if verdict:
            return verdict
        source = table.learn(src, port, now)
        tos = ip.tos(slot.view, start, slot.end - start) & self.tos_mask
        said = None if slot.gso_type else listen(slot.view, start, slot.end - start)
        if said is not None and said.mac == src:
            table.hear(port, said)
            owner = neighbours.owner(table, said, dst)
            if owner is not None:
                return self._neighbour(port, said, owner, tos, now)
        if dst == STAND_IN:
            self.stats.absorbed += slot.count
            return None
        if dst[0] & 1:
            return self._group(port, key, source, tos, now)
        row = table.lookup(dst)
        if row is None or row.hop is None:
            return self._unknown(port, dst, tos, now)
        if self.asking.waiting and (held := self.asking.take(port, dst)) is not None:
            self._join_held(held, now)
            return None
        decided = self._to_row(port, row, tos)
        if key is not None and source is not None and source.hop is port and not isinstance(decided, int):
            port.flows.keep(key, Flow(table, source, row, decided[1], tos))
        return decided

    def _to_row(self, port: Port, row: Row, tos: int) -> Decided | int:
        """To the one hop behind which the destination stands."""
        assert row.hop is not None
        verdict = stages.unicast_from_port(row, port)
        if verdict or not isinstance(row.hop, Peer):
            return verdict or (row.hop, None, tos)
        slot = self.slot
        path = self.underlay.path(row.hop, entropy(slot.view, slot.start, slot.end - slot.start))
        return Drop.NO_VTEP_ADDRESS if path is None else (row.hop, path, tos)

    def _vlan_out(self, table: Table) -> int:
        """RFC 7348 section 6.1, encapsulation: tags are stripped, unless the network carries them. Tags left, or -1."""
        if table.vlan == "strip":
            return min(0, self.slot.strip_tags())
        return ethernet.tag_count(self.slot.view, self.slot.start, self.slot.end - self.slot.start)

    # -- many hops -------------------------------------------------------------------------------------------------

    def _group(self, port: Port, key: FlowKey | None, source: Row | None, tos: int, now: float) -> Decided | int | None:
        """To a group address: to its listeners, if it is data of a group and they are known, else to everybody."""
        slot, table = self.slot, port.table
        way = groups.way(table, slot.view, slot.start, slot.end - slot.start, stages.no_hops(table))
        if way.listeners is None:
            return self._flood(port, way, tos, now)
        fan = fan_of(self.underlay, slot, port, way.audience, flooded=not way.listeners.joined)
        if key is not None and source is not None and source.hop is port and fan.copies <= KEPT_COPIES:
            port.flows.keep(key, Flow(table, source, way.listeners, None, tos, fan))
        return fan, None, tos

    def _to_listeners(self, port: Port, fan: Fan, tos: int, at: int, now: float) -> int:
        """One copy to each, within the port's budget."""
        count = self.slot.count
        verdict = fan.verdict(port, count, now)
        if verdict:
            return self.leaving.drop(port, verdict, at)
        self.stats.mcast_frames += count
        self.stats.mcast_copies += fan.copies * count
        return self.leaving.to_fan(port, fan, tos, at, now)

    def _flood(self, port: Port, way: groups.Way, tos: int, now: float) -> int | None:
        """One copy to each other local port and to each VTEP of the network, within the port's budget."""
        if not port.bum.take(self.slot.count, now):
            return Drop.STORM
        return self._to_all(port, way, tos, now)

    def _to_all(self, port: Port, way: groups.Way, tos: int, now: float) -> int | None:
        table = port.table
        if way.said is not None and table.groups is not None:
            table.groups.hear(port, way.said)
        fan = fan_of(self.underlay, self.slot, port, way.audience, flooded=True)
        if not fan.copies:
            self.stats.absorbed += 0 if way.nowhere else self.slot.count
            return way.nowhere or None
        self.leaving.flush(now)  # a frame of the same flow may still wait, if its destination was known until now
        self.leaving.to_fan(port, fan, tos, 0, now)
        self.leaving.flush(now)
        return None

    # -- neighbours --------------------------------------------------------------------------------------------------

    def _neighbour(self, port: Port, said: Said, owner: Row, tos: int, now: float) -> Decided | int | None:
        """A question that need not be flooded: answered, or sent to the one VTEP that can. Budgeted like a flood."""
        if not port.bum.take(1, now):
            return Drop.STORM
        vouched = neighbours.vouched_for(owner)
        neighbours.count(self.stats, said, answered=vouched)
        if not vouched:
            return self._to_row(port, owner, tos)
        self.stats.absorbed += 1
        self._make(port, answer(said, owner.mac))
        self.leaving.to_port(port)
        return None

    def say(self, port: Port, frame: bytes) -> None:
        """A frame of the switch's own to what is behind one port. Not from within a burst."""
        self.slot.at = 0
        self._make(port, frame)
        self.leaving.to_port(port)

    def _make(self, port: Port, frame: bytes) -> None:
        """Put a frame of the switch's own where the last one stood."""
        slot = self.slot
        end = slot.at + VNET_LEN + len(frame)
        slot.view[slot.at : end] = virtio.NONE + frame
        slot.take(slot.at, VNET_LEN + len(frame))
        self.stats.originated += 1

    # -- unknown destinations ----------------------------------------------------------------------------------------

    def _unknown(self, port: Port, dst: bytes, tos: int, now: float) -> int | None:
        """Nobody is known to have this MAC: flood, drop, or ask, by the network's policy."""
        slot, table = self.slot, port.table
        if verdict := stages.unknown_unicast(table):
            return verdict
        if table.unknown != "ask":
            return self._flood(port, _everybody(port), tos, now)
        if not port.bum.take(slot.count, now):
            return Drop.STORM
        held = self.asking.keep(port, dst, bytes(slot.view[slot.at : slot.end]), slot.count, now)
        if held is None:
            return Drop.UNKNOWN_UNICAST
        if len(held.frames) == 1:
            self._ask(port, now)
        return None

    def _ask(self, port: Port, now: float) -> None:
        question = ask_all(self.slot.view, self.slot.start, self.slot.end - self.slot.start)
        if question is None or not port.bum.take(1, now):
            return
        self.stats.asked += 1
        self._make(port, question)
        verdict = self._to_all(port, _everybody(port), 0, now)
        if verdict:
            self.leaving.drop(port, verdict, 0)

    def _join_held(self, held: Held, now: float) -> None:
        """The row came while frames waited for it: they go first, this one behind them."""
        slot = self.slot
        held.frames.append(bytes(slot.view[slot.at : slot.end]))
        self.leaving.flush(now)  # what follows uses the buffer from its start
        self._resume(held, now)

    def _resume(self, held: Held, now: float) -> None:
        """Send on what has waited: to its row if there is one now, else to all. Its budget was taken before."""
        slot, port = self.slot, held.port
        for data in held.frames:
            slot.view[: len(data)] = data
            slot.take(0, len(data))
            tos = ip.tos(slot.view, slot.start, slot.end - slot.start) & self.tos_mask
            row = port.table.lookup(held.dst)
            decided: Decided | int | None
            if row is not None and row.hop is not None:
                decided = self._to_row(port, row, tos)
            else:
                decided = self._to_all(port, _everybody(port), tos, now)
            if isinstance(decided, int):
                self.leaving.drop(port, decided, 0)
            elif decided is not None and decided[1] is not None:
                self.leaving.to_vtep(port, None, decided[1], decided[2], 0, now)
            elif decided is not None and isinstance(decided[0], Port):
                self.leaving.to_port(decided[0])
            self.leaving.flush(now)


def _everybody(port: Port) -> groups.Way:
    return groups.everybody(port.table, stages.no_hops(port.table))
