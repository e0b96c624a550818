"""What is counted, and the one name and one sentence that each lost frame dies under.

``Drop`` values are small integers, so that the data plane counts with ``counts[reason] += 1`` on a plain list.
A verdict is a ``Drop`` value as an int; 0 (``ALIVE``) means that the frame goes on.
Counts are of wire frames: a super-frame of 43 segments that dies counts 43. Two exceptions, where nobody tells how
many there were: ``underlay_overflow`` counts what the kernel threw away in its own buffers (SK_MEMINFO_DROPS), in which
up to 64 datagrams may have been joined to one; and a super-frame that a kernel peer sent whole, in one datagram over a
virtual underlay, is one frame.
The conservation law over a whole switch, a property test:

    offered + copies + originated == delivered + absorbed + held + sum(drops)
"""

from __future__ import annotations

from enum import IntEnum

ALIVE = 0


class Drop(IntEnum):
    """Named reasons; ``EXPLAIN`` has the sentence for each. Order is only display order."""

    RUNT_FRAME = 1
    SHORT_DATAGRAM = 2
    BAD_VNET_HDR = 3
    UNSUPPORTED_GSO = 4
    OVERSIZE = 5
    NO_I_FLAG = 6
    RESERVED_BITS = 7
    UNKNOWN_VNI = 8
    UNKNOWN_VTEP = 9
    WRONG_OWNER = 10
    BAD_SOURCE = 11
    OWN_MAC = 12
    SPOOFED_SOURCE = 13
    VLAN_POLICY = 14
    RESERVED_GROUP = 15
    ECN_NOT_ECT = 16
    SPLIT_HORIZON = 17
    HAIRPIN = 18
    UNKNOWN_UNICAST = 19
    NO_FLOOD_PEERS = 20
    STORM = 21
    RATE = 22
    SUSPENDED = 23
    NO_VTEP_ADDRESS = 24
    UNDERLAY_BUSY = 25
    UNDERLAY_MTU = 26
    UNDERLAY_ERROR = 27
    UNDERLAY_OVERFLOW = 28
    BAD_OUTER_CHECKSUM = 29
    RX_FRAGMENT = 30
    STRAY_DATAGRAM = 31
    PORT_BUSY = 32
    PORT_DOWN = 33
    PORT_GONE = 34
    REPLAY = 35
    AUTH = 36
    UNKNOWN_SPI = 37
    PLAINTEXT = 38
    NO_SESSION = 39
    NO_LISTENERS = 40
    COPY_LIMIT = 41

    @property
    def label(self) -> str:
        """The name as it stands in ``drops --json`` and in metrics."""
        return self.name.lower()


EXPLAIN: dict[Drop, str] = {
    Drop.RUNT_FRAME: "a local port sent fewer than 14 bytes: no Ethernet header",
    Drop.SHORT_DATAGRAM: "the UDP payload is under 22 bytes: no room for VXLAN and Ethernet headers",
    Drop.BAD_VNET_HDR: "the kernel's virtio_net_hdr on a TAP read contradicts its frame",
    Drop.UNSUPPORTED_GSO: "a super-frame of a kind that was never negotiated, or that cannot be cut",
    Drop.OVERSIZE: "the frame is longer than the network's MTU plus its Ethernet header",
    Drop.NO_I_FLAG: "the VXLAN header says that its VNI is not valid (RFC 7348 section 5)",
    Drop.RESERVED_BITS: "reserved VXLAN bits were set and underlay.strict_reserved is on",
    Drop.UNKNOWN_VNI: "the datagram is for a network that this node has not joined",
    Drop.UNKNOWN_VTEP: "the sender is not a VTEP of that network",
    Drop.WRONG_OWNER: "the inner source MAC belongs to another live node",
    Drop.BAD_SOURCE: "the inner source MAC is zero or a group address",
    Drop.OWN_MAC: "a frame from the underlay claims the MAC of a port that lives here",
    Drop.SPOOFED_SOURCE: "a port sent from a MAC, or with full antispoof an address, not given to it",
    Drop.VLAN_POLICY: "a tagged frame where tags are not carried, or a tag cut short",
    Drop.RESERVED_GROUP: "a link-local control frame, 01-80-C2-00-00-0x, never leaves its link",
    Drop.ECN_NOT_ECT: "congestion was marked on a packet that cannot carry the mark (RFC 6040)",
    Drop.SPLIT_HORIZON: "a frame from the underlay whose destination is behind another VTEP",
    Drop.HAIRPIN: "the destination is behind the port that the frame came from",
    Drop.UNKNOWN_UNICAST: "nobody is known to have this MAC and the network's policy is to drop",
    Drop.NO_FLOOD_PEERS: "a frame to flood in a network that has no other port and no VTEP",
    Drop.STORM: "the port's budget for frames to everybody is spent: broadcast, unknown unicast, unknown groups",
    Drop.RATE: "the port's own rate limit (--rate, --pps)",
    Drop.SUSPENDED: "a frame to flood in a network whose other VTEPs are all suspended",
    Drop.NO_VTEP_ADDRESS: "this node has no VTEP address of the peer's family now",
    Drop.UNDERLAY_BUSY: "the underlay socket or its queue is full (EAGAIN, ENOBUFS)",
    Drop.UNDERLAY_MTU: "the datagram is longer than the underlay device's MTU (EMSGSIZE)",
    Drop.UNDERLAY_ERROR: "the kernel refused the datagram for another reason",
    Drop.UNDERLAY_OVERFLOW: "the receive buffer was full: we were too slow (a run that the kernel joined is one)",
    Drop.BAD_OUTER_CHECKSUM: "the kernel found a wrong outer UDP checksum",
    Drop.RX_FRAGMENT: "the datagram arrived in IP fragments and underlay.accept_fragments is off",
    Drop.STRAY_DATAGRAM: "something was sent to one of our source ports, where nothing is expected",
    Drop.PORT_BUSY: "the TAP took no more frames (EAGAIN, ENOBUFS)",
    Drop.PORT_DOWN: "the interface is down inside its namespace (EIO)",
    Drop.PORT_GONE: "the TAP or its namespace has vanished",
    Drop.REPLAY: "an encrypted datagram was seen before or is too old",
    Drop.AUTH: "an encrypted datagram does not authenticate",
    Drop.UNKNOWN_SPI: "an encrypted datagram for a session that does not exist",
    Drop.PLAINTEXT: "clear text for an encrypted network",
    Drop.NO_SESSION: "no session key with the peer of an encrypted network",
    Drop.NO_LISTENERS: "a multicast frame of a group that nobody else has joined",
    Drop.COPY_LIMIT: "the port's budget for copies to the listeners of multicast groups is spent",
}

N_REASONS = max(Drop) + 1


class Counts:
    """Drop counts by reason, a plain list indexed by ``Drop``. One per port, one for the underlay."""

    __slots__ = ("by_reason",)

    def __init__(self) -> None:
        self.by_reason = [0] * N_REASONS

    def total(self) -> int:
        """Frames dropped, all reasons together."""
        return sum(self.by_reason)

    def add(self, other: Counts) -> None:
        """Add another's counts to these (a port that goes leaves its counts with the switch)."""
        for reason, n in enumerate(other.by_reason):
            self.by_reason[reason] += n

    def as_dict(self, *, zeros: bool = True) -> dict[str, int]:
        """``{reason: count}``, every reason present unless ``zeros`` is false."""
        return {d.label: self.by_reason[d] for d in Drop if zeros or self.by_reason[d]}


class Stats:
    """Plain integer slots of one switch that are not drops."""

    __slots__ = (
        "absorbed",
        "arp_answered",
        "arp_directed",
        "asked",
        "copies",
        "fdb_evicted",
        "fdb_refused",
        "groups_malformed",
        "groups_refused",
        "held",
        "learned_soft",
        "mcast_copies",
        "mcast_frames",
        "nd_answered",
        "nd_directed",
        "originated",
        "probes_answered",
        "probes_heard",
        "probes_refused",
        "probes_sent",
    )

    def __init__(self) -> None:
        self.copies = 0  # flooding and multicast: hops beyond the first
        self.mcast_frames = 0  # frames to the listeners of a multicast group, from here and from elsewhere
        self.mcast_copies = 0  # and to how many ports and VTEPs they went, all hops counted
        self.absorbed = 0  # frames that were meant for the switch itself, that it has answered, or for nobody else
        self.originated = 0  # frames that the switch itself has made: queries, answers and questions
        self.held = 0  # frames that wait now for their destination to be found (``unknown = "ask"``)
        self.asked = 0  # questions about unknown destinations
        self.arp_answered = self.nd_answered = 0  # questions for a neighbour, answered here
        self.arp_directed = self.nd_directed = 0  # sent to the neighbour's VTEP alone, because that is suspended
        self.learned_soft = 0  # MACs that the underlay taught to a hybrid network, because nobody had claimed them
        self.fdb_refused = 0  # MACs not learned because a table or a port's share was full
        self.fdb_evicted = 0  # learned rows that made room for another port's
        self.probes_sent = 0  # probes are no frames: they stand in no other count
        self.probes_heard = 0  # answers to them
        self.probes_answered = 0  # probes of others
        self.probes_refused = 0  # probes of strangers or too many of them, and answers that nobody asked for
        self.groups_refused = 0  # multicast groups not kept because a port's or network's share was full
        self.groups_malformed = 0  # IGMP and MLD messages that make no sense

    def as_dict(self) -> dict[str, int]:
        """All of them by name."""
        return {name: getattr(self, name) for name in self.__slots__}
