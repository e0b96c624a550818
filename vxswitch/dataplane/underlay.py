"""The underlay's door: runs of datagrams out by pools of send sockets, runs in by one socket per local VTEP.

Out: ``path(peer, entropy)`` names a VTEP by one source port. Frames of one burst gather on their Path as long as they
make a run (equal sizes, the last may be shorter, one outer ToS) and leave with ``send_run`` in one ``sendmsg`` with
UDP_SEGMENT; a cut super-frame is such a run already (``send_rows``). What the kernel refuses is given a meaning by
``meanings``: over the MTU -> frame by frame; no segmentation on that route -> plain sends to that VTEP for 60 s; an
error that may be another peer's -> drain the error queue and send again.

In: ``Receiver.recv_run`` fills the one ``Run`` of the receiver: equal-sized datagrams of one outer flow (UDP_GRO).

The socket on the VTEP's port only receives and has no error queue. Pool sockets only send; they stand in one epoll,
whose descriptor the loop watches: uvloop stops a reader for good at its first POLLERR, and an epoll never reports one.
"""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Callable, Iterator

from vxswitch.counters import ALIVE, Counts, Drop
from vxswitch.dataplane import meanings
from vxswitch.dataplane.sockets import (
    RECEIVE_HEADROOM,
    SourcePorts,
    UnderlayOptions,
    max_segments,
    meminfo_drops,
    receive_socket,
    udp_losses,
)
from vxswitch.dataplane.unfinished import Unfinished
from vxswitch.fdb import Peer
from vxswitch.model import Vtep
from vxswitch.offload.arena import DATAGRAM_ARENA, Arena, Run
from vxswitch.wire import cmsg

MAX_DATAGRAM = 65507  # a UDP payload over IPv4: 65535 - 20 - 8 (udp(7))
PLAIN_SECONDS = 60.0
_MAX_PATHS = 16384
_MSG_CTRUNC = int(socket.MSG_CTRUNC)  # an IntFlag costs 0.65 us a receive
_MAX_ERRORS = 1024  # drained at once; an error queue is bounded by the receive buffer, which holds fewer
_ATTEMPTS = 4  # another peer's errors may still be coming in between a drain and the send after it


OpenReceiver = Callable[[Vtep, UnderlayOptions], socket.socket]


class Path:
    """One VTEP by one source port, and the run that gathers for it. ``frames`` are views borrowed from the burst."""

    __slots__ = ("family", "frames", "index", "peer", "room", "size", "sock", "sockaddr", "tos", "total", "unfinished")

    def __init__(self, peer: Peer, sock: socket.socket, index: int) -> None:
        self.peer = peer
        self.sock = sock
        self.index = index
        self.family = peer.vtep.family
        self.sockaddr = peer.vtep.sockaddr
        self.frames: list[memoryview] = []
        self.unfinished = Unfinished()
        self.size = 0  # of the first datagram, bytes
        self.total = 0
        self.room = 0  # datagrams that may still join; 0 also after a shorter one
        self.tos = 0


class Receiver:
    """One local VTEP's receiving socket and the run that it fills."""

    def __init__(self, vtep: Vtep, options: UnderlayOptions, counts: Counts, sock: socket.socket) -> None:
        self.vtep = vtep
        self.sock = sock
        self.sisters: list[socket.socket] = []
        self.arena = Arena(RECEIVE_HEADROOM + DATAGRAM_ARENA)
        self.run = Run(self.arena)
        self.address = ""
        self.tos = 0
        self.counts = counts
        self.frames = 0
        self.ctrunc = 0
        self.accept_fragments = options.accept_fragments
        self._room = [self.arena.view[RECEIVE_HEADROOM:]]
        self._drops = 0

    def recv_run(self) -> bool:
        """Receive the next run into ``run``; its sender is ``address``, its outer ToS ``tos``. False: nothing there.

        A run that is refused as a whole is counted here and has no rows.
        """
        run = self.run
        try:
            total, ancillary, flags, source = self.sock.recvmsg_into(self._room, cmsg.ANCILLARY_LEN)
        except OSError:
            return False  # EAGAIN; there is no error queue on this socket, so nothing else is pending
        size, self.tos, fragment = cmsg.parse(ancillary) if ancillary else (0, 0, 0)
        if flags & _MSG_CTRUNC:
            self.ctrunc += 1
        run.fill(self.arena, RECEIVE_HEADROOM, size or total or 1, total)
        run.count = run.count or 1  # an empty datagram is one, too
        self.frames += run.count
        self.address = source[0]
        if fragment and not self.accept_fragments:
            self.counts.by_reason[Drop.RX_FRAGMENT] += run.count
            run.count = 0
        return True

    def lost(self) -> int:
        """Datagrams that the kernel dropped at this socket since it was asked last: no room, or a wrong checksum.

        And at its ``sisters``, which other processes read.
        """
        drops = sum(map(meminfo_drops, (self.sock, *self.sisters)))
        lost = (drops - self._drops) & 0xFFFFFFFF
        self._drops = drops
        return lost

    def close(self) -> None:
        """Close the socket."""
        self.sock.close()


class Underlay:
    """All sockets of this node's VTEPs. ``counts`` are the drops on the underlay's side of the switch.

    ``open_receiver`` gives the receiving socket of a VTEP, which is the Underlay's from then on; OSError from bind.
    None: a socket of its own. ``leads`` False: another process counts what the kernel loses.
    """

    def __init__(
        self, options: UnderlayOptions, open_receiver: OpenReceiver | None = None, *, leads: bool = True
    ) -> None:
        self.options = options
        self._open_receiver = open_receiver
        self._leads = leads
        self.counts = Counts()
        self.receivers: dict[Vtep, Receiver] = {}
        self.sent = 0  # datagrams
        self.errors = 0  # entries taken from error queues (ICMP and local)
        self.on_unreachable: Callable[[str], None] | None = None  # an ICMP error about what was sent to this address
        self.epoll = select.epoll()
        self._pools: dict[int, SourcePorts] = {}  # by address family; the first VTEP of each family sends
        self._paths: dict[tuple[Peer, int], Path] = {}
        self._segment: dict[tuple[int, int, int], list[cmsg.ControlMessage]] = {}
        self._losses = udp_losses()  # of the namespace, when it was looked at last
        self._no_room = 0  # in the namespace, while we had receivers
        self._lost = 0  # datagrams that our receivers dropped, for whatever reason
        self.max_segments = max_segments(os.uname().release)

    # -- sockets -------------------------------------------------------------------------------------------------

    def set_vteps(self, vteps: list[Vtep]) -> tuple[list[Receiver], list[Receiver]]:
        """Be these VTEPs: returns (opened, closed) receivers. OSError from bind; then nothing has changed."""
        self.poll()  # what a receiver that goes has lost is counted, too
        self._losses = self._losses if self.receivers else udp_losses()
        fresh: list[Receiver] = []
        pools: dict[int, SourcePorts] = {}
        open_receiver = self._open_receiver or receive_socket
        try:
            for vtep in vteps:
                if vtep not in self.receivers:
                    sock = open_receiver(vtep, self.options)
                    fresh.append(Receiver(vtep, self.options, self.counts, sock))
                if vtep.family not in pools:
                    old = self._pools.get(vtep.family)
                    same = old is not None and old.address == vtep.address
                    pools[vtep.family] = old if same and old else SourcePorts(vtep, self.options, self.epoll)
        except OSError:
            self._close(fresh, pools)
            raise
        gone = [r for v, r in self.receivers.items() if v not in vteps]
        old_pools = [p for f, p in self._pools.items() if pools.get(f) is not p]
        self.receivers = {v: r for v, r in self.receivers.items() if v in vteps} | {r.vtep: r for r in fresh}
        self._pools = pools
        self._paths.clear()
        for pool in old_pools:
            pool.close()
        return fresh, gone

    def _close(self, receivers: list[Receiver], pools: dict[int, SourcePorts]) -> None:
        for receiver in receivers:
            receiver.close()
        for family, pool in pools.items():
            if self._pools.get(family) is not pool:
                pool.close()

    def close(self) -> None:
        """Close every socket."""
        for receiver in self.receivers.values():
            receiver.close()
        for pool in self._pools.values():
            pool.close()
        self.receivers, self._pools = {}, {}
        self._paths.clear()
        self.epoll.close()

    def without_flow_labels(self) -> None:
        """What we send over IPv6 bears flow label 0, as what goes through the door does: a flow has one label."""
        if (pool := self._pools.get(socket.AF_INET6)) is not None:
            for sock in pool.socks:
                sock.setsockopt(socket.IPPROTO_IPV6, cmsg.IPV6_AUTOFLOWLABEL, 0)

    def poll(self) -> None:
        """Cold housekeeping: what only the kernel counts.

        A wrong checksum is counted for the whole namespace, and at the socket, too, if it was found there (payloads
        over 68 bytes: net/ipv4/udp.c, CHECKSUM_BREAK). A full buffer is counted at both. The counters are read one
        after the other, so sums since the start are compared, not what was added since the last time.
        """
        if not self._leads or not self.receivers:
            return
        self._lost += sum(receiver.lost() for receiver in self.receivers.values())
        before, self._losses = self._losses, udp_losses()
        self._no_room += self._losses.room - before.room
        self.counts.by_reason[Drop.BAD_OUTER_CHECKSUM] += self._losses.checksum - before.checksum
        self.counts.by_reason[Drop.UNDERLAY_OVERFLOW] = min(self._lost, self._no_room)

    # -- the way out ---------------------------------------------------------------------------------------------

    def path(self, peer: Peer, entropy: int) -> Path | None:
        """The way to a VTEP for flows of this entropy; None: we have no VTEP address of its family."""
        pool = self._pools.get(peer.vtep.family)
        if pool is None:
            return None
        index = entropy % len(pool.socks)
        path = self._paths.get((peer, index))
        if path is None:
            if len(self._paths) >= _MAX_PATHS:
                self._paths.clear()
            path = self._paths[(peer, index)] = Path(peer, pool.socks[index], index)
        return path

    def send_run(self, path: Path, now: float) -> None:
        """Send what has gathered on the path, and count what dies. The views are given back."""
        frames = path.frames
        if len(frames) == 1:
            self._send(path, frames, 0, 1)
        elif frames:
            self._send_many(path, frames, path.size, len(frames), now)
        frames.clear()
        path.room = 0

    def send_rows(self, path: Path, run: Run, tos: int, now: float) -> None:
        """Send a run that stands in one piece of memory, split only where one send cannot take it all."""
        path.tos = tos
        per_send = max(1, min(self.max_segments, MAX_DATAGRAM // run.size)) * run.size
        start, end = run.start, run.start + run.total
        while start < end:
            stop = min(start + per_send, end)
            rows = -(-(stop - start) // run.size)
            if rows == 1:
                self._send(path, [run.view[start:stop]], 0, 1)
            else:
                self._send_many(path, [run.view[start:stop]], run.size, rows, now)
            start = stop

    def _send_many(self, path: Path, views: list[memoryview], size: int, count: int, now: float) -> None:
        if self.options.segment and path.peer.plain_until <= now:
            error = self._send(path, views, size, count)
            if error == 0:
                return
            if error in meanings.NO_SEGMENTATION:
                path.peer.plain_until = now + PLAIN_SECONDS
            elif error == errno.EINVAL and count > 64 and self.max_segments > 64:
                self.max_segments = 64  # a kernel that calls itself newer than its UDP is
        for datagram in _datagrams(views, size):
            self._send(path, [datagram], 0, 1)

    def _send(self, path: Path, views: list[memoryview], size: int, count: int) -> int:
        """One send. 0: it is over (gone, or counted); else the errno that says to send frame by frame."""
        tos, segment = path.tos, size
        ancillary = self._ancillary(path.family, segment, tos) if segment or tos else ()
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                path.sock.sendmsg(views, ancillary, 0, path.sockaddr)
            except OSError as error:
                code = error.errno or 0
                if attempt < _ATTEMPTS and code in meanings.PENDING and self._drain(path.sock):
                    continue
                if segment and (code in meanings.SEGMENT_TOO_LARGE or code in meanings.NO_SEGMENTATION):
                    return code
                self.counts.by_reason[meanings.of_send(error)] += count
                return ALIVE
            self.sent += count
            return ALIVE
        return ALIVE

    def send_probe(self, peer: Peer, way: int, datagram: bytes) -> int:
        """Send one datagram that is no frame, by the source port that flows of entropy ``way`` have; a verdict."""
        pool = self._pools.get(peer.vtep.family)
        if pool is None:
            return Drop.NO_VTEP_ADDRESS
        sock = pool.socks[way % len(pool.socks)]
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                sock.sendmsg([datagram], (), 0, peer.vtep.sockaddr)
            except OSError as error:
                if attempt < _ATTEMPTS and error.errno in meanings.PENDING and self._drain(sock):
                    continue
                return meanings.of_send(error)
            return ALIVE
        return ALIVE

    def _ancillary(self, family: int, size: int, tos: int) -> list[cmsg.ControlMessage]:
        key = (family, size, tos)
        ancillary = self._segment.get(key)
        if ancillary is None:
            if len(self._segment) >= 4096:
                self._segment.clear()
            ancillary = cmsg.segment_cmsg(size) if size else []
            if tos:
                ancillary = ancillary + cmsg.tos_cmsg(family, tos)
            self._segment[key] = ancillary
        return ancillary

    # -- what comes back where only sending is done ------------------------------------------------------------------

    def on_errors(self) -> None:
        """The epoll of the pool sockets is readable: drain error queues and stray datagrams, a bounded number."""
        by_fd = {sock.fileno(): sock for pool in self._pools.values() for sock in pool.socks}
        for fd, _ in self.epoll.poll(0, 64):
            sock = by_fd.get(fd)
            if sock is not None:
                self._drain(sock)
                self._drain_strays(sock)

    def _drain(self, sock: socket.socket) -> int:
        """Empty a socket's error queue: how many entries came from elsewhere (1 also for a bare SO_ERROR).

        What our own stack says (EMSGSIZE of this very send) is no reason to try again.
        """
        foreign = 0
        for _ in range(_MAX_ERRORS):
            try:
                _, ancillary, _, target = sock.recvmsg(0, 512, socket.MSG_ERRQUEUE)
            except OSError:
                break
            self.errors += 1
            told = cmsg.parse_extended_error(ancillary)
            if told is not None and told.origin == cmsg.SO_EE_ORIGIN_LOCAL:
                continue
            foreign += 1
            if self.on_unreachable is not None and target:
                self.on_unreachable(target[0])
        return foreign or (1 if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) else 0)

    def _drain_strays(self, sock: socket.socket) -> None:
        for _ in range(64):
            try:
                sock.recv(1)
            except OSError:
                return
            self.counts.by_reason[Drop.STRAY_DATAGRAM] += 1


def _datagrams(views: list[memoryview], size: int) -> Iterator[memoryview]:
    """The datagrams of a run one by one, whether it is one piece of rows or a list of frames."""
    for view in views:
        for start in range(0, len(view), size):
            yield view[start : start + size]
