"""Where frames go, and the rows that say so: hops, which are compared by identity, and one MAC of one network each."""

from __future__ import annotations

from typing import Literal

from vxswitch.counters import Counts
from vxswitch.model import Vtep

Source = Literal["static", "claimed", "learned"]


class Hop:
    """Where a frame goes next: a local port or a remote VTEP. Compared by identity."""

    __slots__ = ("max_macs",)
    local: bool = False

    def __init__(self, max_macs: int) -> None:
        self.max_macs = max_macs  # learned rows that may stand behind this hop


class Peer(Hop):
    """A remote VTEP. ``live`` false = suspended: no flooding to it, its unicast rows stay."""

    __slots__ = ("live", "node", "plain_until", "static", "vtep")

    def __init__(self, vtep: Vtep, node: str | None = None, *, static: bool = False) -> None:
        super().__init__(1 << 30)
        self.vtep = vtep
        self.node = node  # None: configured, known only by address
        self.static = static  # configured: what it sends is learned in every mode
        self.live = True
        self.plain_until = 0.0  # monotonic; until then no UDP_SEGMENT towards it

    def __repr__(self) -> str:
        return f"Peer({self.vtep}, node={self.node}, live={self.live})"


class LocalPort(Hop):
    """A local port as control and views see it; the data plane's ports add how frames get in and out.

    rx = read from the TAP (the container sent it), tx = written to it; counted in wire frames and their bytes.
    """

    __slots__ = ("counts", "id", "mac", "rx_bytes", "rx_frames", "state", "tx_bytes", "tx_frames")
    local = True

    def __init__(self, port_id: str, mac: bytes | None, max_macs: int) -> None:
        super().__init__(max_macs)
        self.id = port_id
        self.mac = mac  # the MAC given to it, None if it has none of its own
        self.counts = Counts()
        self.rx_frames = self.rx_bytes = self.tx_frames = self.tx_bytes = 0
        self.state: Literal["up", "down", "gone"] = "up"


class Row:
    """One MAC of one network. ``seen``: monotonic seconds of the last frame that this MAC sent."""

    __slots__ = ("checked", "flags", "given", "hop", "mac", "node", "rev", "seen", "since", "source", "stale")

    def __init__(self, mac: bytes, hop: Hop, source: Source, now: float) -> None:
        self.mac = mac
        self.hop: Hop | None = hop
        self.source: Source = source
        self.given = False  # the address of a live local port: it does not age and nobody may send it to us
        self.seen = now
        self.checked = now  # when fair eviction last looked at it
        self.since = now
        self.node: str | None = None
        self.rev: int | None = None
        self.flags: tuple[str, ...] = ()
        self.stale = False

    @property
    def basis(self) -> Source:
        """Who says so, for people: what the store has confirmed is claimed; given to a port and not yet, static."""
        if self.rev is not None:
            return "claimed"
        return "static" if self.given else self.source
