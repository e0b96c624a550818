"""Asks every other VTEP again and again whether it lives, by the way that frames take (``wire.probe``).

    every interval    one probe to each VTEP of our networks, spread over the interval, each by the next source port
    three unanswered  it is dead: the third gets a quarter of the interval, or two round trips, before that is said
    every 10th        another one beside it, padded to the MTU (``pathmtu``), which says nothing about life
    an ICMP error     about a VTEP: it is asked at once, if the last probe had time to be answered; judged as ever
    never answered    *unprobed*: asked ever more rarely, a configured one (it may be no vxswitch) each 30 s at last

At most ``RATE`` probes a second leave: beyond 300 peers, at the default interval of 0.3 s, the interval stretches (1000
peers: 1 s), and with it the time until a dead peer is found. Nothing is judged by the clock alone: what was not sent
because this process stood still was not missed. A configured VTEP that has been dead for ``grace`` is unprobed again:
another kind of VTEP may be there now.

Who lives is said in ``heard``; what follows from that is ``peers``' business, which ``on_change`` tells.
"""

from __future__ import annotations

import heapq
import logging
import random
from collections.abc import Callable, Mapping
from itertools import count

from vxswitch.control.doors import Clock, DataPlane
from vxswitch.control.heard import MISSES, Heard, ip_udp_headers
from vxswitch.control.pathmtu import PathMtu
from vxswitch.counters import Drop
from vxswitch.fdb import Fdb, Peer
from vxswitch.wire import probe

log = logging.getLogger(__name__)

RATE = 1000.0  # probes a second
_BURST = 32.0  # probes that may leave at once
_LEAST_PAUSE = 0.005  # seconds between two looks at who is due
PADDED = 10  # one probe in so many has a padded one beside it
PADDED_IN_DOUBT = 2  # while the path's MTU is searched for
_HURRY = 0.25  # of the interval
_FRESH = 10 / 3  # intervals: 1 s at the default of 0.3 s
_PATIENCE = 10  # probes without any answer after which the pauses begin to double
_PAUSE_NODE = 10.0  # intervals at most between probes of a node that never answered
_PAUSE_STATIC = 30.0  # seconds, of a configured VTEP
NO_ANSWERS = "no_peer_answers"
_PAYLOAD_MAX = 65507  # over IPv4 (udp(7))


class Target:
    """One VTEP and when it is to be asked. ``due``: entries of the heap with another time are void."""

    __slots__ = ("asked", "due", "heard", "padded", "peer", "sent", "sequence", "told")

    def __init__(self, peer: Peer, heard: Heard, sequence: int) -> None:
        self.peer = peer
        self.heard = heard
        self.sequence = sequence
        self.due = 0.0
        self.sent = 0.0
        self.asked = 0
        self.padded: tuple[int, int, float] | None = None  # nonce, size, when
        self.told: int | None = None  # the path's limit that was logged


class Prober:
    """See the head of this file. ``mtu``: bytes of IP packet that our device takes, by address family; ``rng`` makes
    nonces, so it must not be foreseeable; ``interval`` and ``grace`` are in seconds."""

    def __init__(
        self,
        fdb: Fdb,
        plane: DataPlane,
        *,
        interval: float,
        grace: float,
        mtu: Mapping[int, int],
        clock: Clock,
        rng: random.Random,
        on_change: Callable[[], None],
    ) -> None:
        self.heard: dict[Peer, Heard] = {}
        self.wanted = interval
        self.grace = grace
        self._fdb = fdb
        self._plane = plane
        self._mtu = mtu
        self._clock = clock
        self._rng = rng
        self._on_change = on_change
        self._targets: dict[Peer, Target] = {}
        self._at: dict[str, Target] = {}  # on receipt a VTEP is known by its address alone
        self._heap: list[tuple[float, int, Target]] = []
        self._serial = count()
        self._compared = -1.0
        self._ticked = clock()
        self._credit = _BURST
        self._silent = False
        plane.follow_probes(self.hear, self.suspect)

    @property
    def interval(self) -> float:
        """Seconds between two probes of one VTEP."""
        return max(self.wanted, len(self._targets) / RATE)

    @property
    def degraded(self) -> list[str]:
        """Why the switch is not all that it should be: of several peers that answered, none does any more."""
        judged = [heard.alive for heard in self.heard.values() if heard.alive is not None]
        return [NO_ANSWERS] if len(judged) > 1 and not any(judged) else []

    # -- when ------------------------------------------------------------------------------------------------------

    def pause(self) -> float:
        """Seconds until ``tick`` has something to do."""
        due = self._heap[0][0] if self._heap else float("inf")
        return min(max(_LEAST_PAUSE, due - self._clock()), _HURRY * self.interval)

    def tick(self) -> None:
        """Ask those who are due."""
        now = self._clock()
        if now - self._compared >= self.interval or self._compared < 0:
            self._compared = now
            self._compare(now)
        self._credit = min(_BURST, self._credit + (now - self._ticked) * RATE)
        self._ticked = now
        changed = False
        while self._heap and self._heap[0][0] <= now and self._credit >= 1:
            due, _, target = heapq.heappop(self._heap)
            if target.due == due and self._targets.get(target.peer) is target:
                changed |= self._turn(target, now)
        if changed:
            self._changed()

    def _compare(self, now: float) -> None:
        """Whom there is to ask."""
        there = set(self._fdb.peers.values())
        if there == self._targets.keys():
            return
        for peer in [peer for peer in self._targets if peer not in there]:
            del self._targets[peer], self.heard[peer]
        for peer in there - self._targets.keys():
            heard = self.heard[peer] = Heard(self._full(peer))
            target = self._targets[peer] = Target(peer, heard, self._rng.getrandbits(16))
            self._schedule(target, now + self._rng.random() * self.interval)
        self._at = {peer.vtep.address: target for peer, target in self._targets.items()}

    def resize(self, mtu: Mapping[int, int]) -> None:
        """Our own devices take other sizes now: what gets through is found out anew."""
        self._mtu = mtu
        for target in self._targets.values():
            full = self._full(target.peer)
            if full != target.heard.path.full:
                target.heard.path = PathMtu(full)
                target.padded = target.told = None

    def _full(self, peer: Peer) -> int:
        """The longest UDP payload that our own device takes."""
        family = peer.vtep.family
        return max(probe.LEN, min(self._mtu.get(family, 0) - ip_udp_headers(family), _PAYLOAD_MAX))

    def _schedule(self, target: Target, due: float) -> None:
        target.due = due
        heapq.heappush(self._heap, (due, next(self._serial), target))

    def _turn(self, target: Target, now: float) -> bool:
        """One VTEP's turn: declare it dead, or ask it; true if what is known of it has changed."""
        heard = target.heard
        if heard.alive and heard.unanswered >= MISSES:
            heard.alive = False
            self._schedule(target, max(now, target.sent + self.interval))
            return True
        forgotten = heard.alive is False and target.peer.node is None and now - heard.last >= self.grace
        if forgotten:
            heard.forget()
        self._ask(target, now)
        wait = self._hurry(heard) if heard.alive and heard.unanswered >= MISSES else self._wait(target)
        due = target.due + wait
        self._schedule(target, due if due > now else now + wait * self._rng.random())
        return forgotten

    def _wait(self, target: Target) -> float:
        heard, interval = target.heard, self.interval
        if heard.alive is not None:
            return interval
        longest = _PAUSE_STATIC if target.peer.node is None else _PAUSE_NODE * interval
        return min(max(longest, interval), interval * 2.0 ** min(16, max(0, heard.unanswered - _PATIENCE)))

    def _hurry(self, heard: Heard) -> float:
        """The shortest time in which an answer may be expected."""
        return min(self.interval, max(_HURRY * self.interval, 2 * (heard.srtt or 0.0)))

    def suspect(self, address: str) -> None:
        """An ICMP error came back for what was sent there. It may be forged: it is a reason to ask soon, no more."""
        target = self._at.get(address)
        if target is not None and target.heard.alive:
            due = max(self._clock(), target.sent + self._hurry(target.heard))
            if due < target.due:
                self._schedule(target, due)

    # -- asking ----------------------------------------------------------------------------------------------------

    def _ask(self, target: Target, now: float) -> None:
        heard = target.heard
        target.sent = now
        target.asked += 1
        heard.patience = _FRESH * self.interval
        nonce, verdict = self._send(target, probe.LEN)
        if verdict == Drop.NO_VTEP_ADDRESS:
            return  # it is us: nobody was asked
        heard.asked(nonce, now)
        often = PADDED_IN_DOUBT if heard.path.in_doubt else PADDED
        if heard.alive and heard.unanswered == 1 and target.asked % often == 0:
            self._ask_padded(target, now)

    def _ask_padded(self, target: Target, now: float) -> None:
        heard = target.heard
        if target.padded is not None and heard.last > target.padded[2]:
            heard.path.missed(target.padded[1])
            self._tell_limit(target)
        size = heard.path.next()
        nonce, verdict = self._send(target, size)
        target.padded = (nonce, size, now)
        if verdict == Drop.UNDERLAY_MTU:
            heard.path.missed(size, surely=True)
            target.padded = None

    def _send(self, target: Target, size: int) -> tuple[int, int]:
        """Send a request by the next source port: (nonce, verdict)."""
        self._credit -= 1
        target.sequence = (target.sequence + 1) & 0xFFFFFFFF
        nonce = self._rng.getrandbits(64)
        datagram = probe.request(size, nonce, target.sequence)
        return nonce, self._plane.send_probe(target.peer, target.sequence, datagram)

    # -- hearing ---------------------------------------------------------------------------------------------------

    def hear(self, address: str, answer: probe.Probe, now: float) -> None:
        """An answer came from ``address``, at ``now``. Without our nonce, or from elsewhere, it says nothing."""
        target = self._at.get(address)
        if target is not None and self._fits(target, answer, now):
            self._plane.stats.probes_heard += 1
        else:
            self._plane.stats.probes_refused += 1

    def _fits(self, target: Target, answer: probe.Probe, now: float) -> bool:
        heard, padded = target.heard, target.padded
        before, was = heard.alive, heard.sender
        if padded is not None and padded[0] == answer.nonce:
            if answer.size != padded[1]:
                return False
            target.padded = None
            heard.path.answered(answer.size)
            self._tell_limit(target)
            heard.lives(answer.sender, now)
        elif answer.size != probe.LEN or not heard.answered(answer.nonce, answer.sender, now):
            return False
        if before is not True or was != answer.sender:
            self._schedule(target, max(now, target.sent + self.interval))
            self._changed()
        return True

    def _tell_limit(self, target: Target) -> None:
        """Once for each limit: so much less than our own device takes gets through."""
        path, headers = target.heard.path, ip_udp_headers(target.peer.vtep.family)
        limit = path.limit
        if limit is None or limit == target.told:
            return
        if limit < path.full:
            log.warning(
                "VTEP %s (node %s): datagrams of at most %d bytes get there, %d leave here: mind the MTU on the way",
                *(target.peer.vtep, target.peer.node, limit + headers, path.full + headers),
            )
        elif target.told is not None:
            log.info("VTEP %s (node %s): %d bytes get there again", target.peer.vtep, target.peer.node, limit + headers)
        target.told = limit

    def _changed(self) -> None:
        silent = bool(self.degraded)
        if silent and not self._silent:
            log.error("no peer answers probes any more: is it the underlay of this node?")
        self._silent = silent
        self._on_change()
