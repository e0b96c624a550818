"""The contract of a store: who has which MAC. Everything else in the switch knows only this file.

A store holds soft state that its owner re-asserts. Each call either does what it says or raises
StoreUnavailableError (try again later: the caller keeps a journal), ConflictError or UsageError (asking again will
not help). No call takes longer than its timeout; none is ever made from the way of a frame.

``start`` says who we are and begins connecting in the background; it never waits for the store. ``events`` yields,
for as long as the switch runs and through every reconnect, one ``Snapshot`` per joined VNI whenever continuity
cannot be proved, then ``Claimed``/``Withdrawn``/``MemberJoined``/``MemberLeft``/``GroupsChanged`` in rev order
without gaps, and a ``LeaseState`` after each heartbeat, about the nodes that are members or own rows of joined VNIs.
The consumer diffs a snapshot against what it has. After a store lost its data a snapshot still has the rows whose
owners have not had the time to claim again, with revs beyond its own; those that do not come back in time are
withdrawn.

Membership, groups and claims are kept by the store object: what was joined and claimed is asserted again after
every reconnect (``reassert`` asks the switch for the truth about its ports, because only the ports know).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from vxswitch.model import Claim, Event, LogEntry, NetworkRecord, NodeRecord

StoreState = Literal["up", "degraded", "down", "static"]
Evidence = Literal["attach", "garp", "na", "rarp", "frame", "reassert"]


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """What ``vxswitch status`` shows of the store. ``url`` has no password in it; times in seconds, rtt in ms.

    ``offset``: the store's clock less ours as the last heartbeat found it, seconds; None: not known.
    """

    url: str
    state: StoreState
    reason: str | None
    since: float
    rtt_ms: float | None
    offset: float | None = None


@dataclass(frozen=True, slots=True)
class LocalMac:
    """What a node claims: a MAC behind one of its ports, with the evidence for it.

    "reassert" is no new evidence: the MAC only still stands there. Such a claim takes nothing from another live node.
    ``ips`` are plain addresses; at most 32 of them travel with the row. ``flags``: "sticky", "gateway".
    """

    vni: int
    mac: bytes
    evidence: Evidence
    ips: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ClaimResult:
    """The answer to one claim: the row as it stands now, and why it was refused (None = it is ours)."""

    row: Claim | None
    refused: str | None = None  # "no_lease", "fenced", "hold_down", "moved", "sticky", "frozen", "full"


@dataclass(frozen=True, slots=True)
class VniDigest:
    """A VNI's table in short: two copies with the same rev and digest (16 hex digits) are the same."""

    rev: int
    digest: str
    rows: int


@dataclass(slots=True)
class StoreCounts:
    """Since the store object was made; the keys of the counters are the reasons.

    ``resyncs``: snapshots taken; ``refused``: claims; ``errors``: error replies and lost connections by code;
    ``poisoned``: values of others that make no sense and were ignored.
    """

    resyncs: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    poisoned: int = 0
    connects: int = 0
    beats: int = 0


def deaf(name: str) -> bool:
    """Nobody is heard: there are no probes, and leases alone tell who lives."""
    return False


class Store(Protocol):
    """See the head of this file."""

    @property
    def counts(self) -> StoreCounts:
        """What happened since the start, for metrics."""
        ...

    @property
    def node(self) -> NodeRecord:
        """This node as it is registered: whose lease ran out comes back with a later epoch than it started with."""
        ...

    def status(self) -> StoreStatus:
        """How the store is, from memory."""
        ...

    async def start(
        self,
        node: NodeRecord,
        reassert: Callable[[int], Iterable[LocalMac]],
        heard: Callable[[str], bool] = deaf,
    ) -> None:
        """Begin. ``reassert(vni)`` returns every MAC that this node has in that VNI, now; it may be taken in slices.

        Its MACs are claimed again after each reconnect, without new evidence: such a claim never takes a MAC from
        another live node. Rows of this node that it does not name are released.

        ``heard(name)`` says whether that node answers in the data path. Each heartbeat tells the store of nodes that
        have no lease and are heard: what they have is not deleted while anybody hears them.
        """
        ...

    async def close(self, *, leave: bool) -> None:
        """Stop. ``leave``: take the lease back (peers suspend us at once); rows and membership stay."""
        ...

    def retime(self, lease: float, beat: float, grace: float) -> None:
        """Other timers (seconds) from the next heartbeat on."""
        ...

    def events(self) -> AsyncIterator[Event]:
        """The events of all joined VNIs, see the head of this file. One consumer."""
        ...

    async def networks(self) -> list[NetworkRecord]:
        """All networks of the cluster."""
        ...

    async def create_network(self, record: NetworkRecord, *, again: bool = False) -> NetworkRecord:
        """Create, or return the existing equal one; ``vni`` 0 = allocate (from 4096). ConflictError if it differs.

        After a loss of data new networks wait (StoreUnavailableError) until every node had the time to come back with
        those that it has: these are created ``again``, at once, and so keep their VNIs.
        """
        ...

    async def get_network(self, name: str) -> NetworkRecord | None:
        """The record, None if there is none."""
        ...

    async def remove_network(self, name: str) -> None:
        """Remove the record and the VNI's keys; NotFoundError, ConflictError while another node is a member."""
        ...

    async def join(self, vni: int) -> None:
        """Become a VTEP of this VNI: remembered and asserted again after each reconnect. A Snapshot follows."""
        ...

    async def leave(self, vni: int) -> None:
        """No longer be a VTEP of this VNI; releases this node's rows in it."""
        ...

    async def claim(self, macs: list[LocalMac]) -> list[ClaimResult]:
        """Claim MACs (any mix of VNIs) in one pipeline, in order. At most 64 a call."""
        ...

    async def release(self, macs: list[tuple[int, bytes]]) -> None:
        """Give (vni, mac) back: compare-and-delete on (owner, epoch), so another owner's row is never touched.

        To be called also for a MAC that moved away: it tells that the move was orderly.
        """
        ...

    async def set_groups(self, vni: int, groups: frozenset[str]) -> None:
        """The multicast groups that this node's ports listen to in a joined VNI, all of them, at most 1024.

        Remembered at once, told to the store as soon as it can be, and again after each reconnect. Until the first
        call in a VNI what an earlier start of this node said stands. UsageError if one of them is no group.
        """
        ...

    async def history(self, vni: int, mac: bytes | None = None, limit: int = 64) -> list[LogEntry]:
        """The latest changes of a VNI (or of one MAC in it), as far back as the log reaches; the newest comes last."""
        ...

    async def digest(self, vni: int) -> VniDigest:
        """What the store has of a VNI now; the digest is computed here, from all its rows."""
        ...

    def mirror_digest(self, vni: int) -> VniDigest | None:
        """What this node has read of it, from memory; None while there is nothing to compare."""
        ...

    async def resync(self, vni: int) -> None:
        """Read a joined VNI anew, though nothing seems to be wrong with it: a Snapshot follows, reason ``asked``."""
        ...

    def applied(self, vni: int, rev: int) -> None:
        """The tables of this node have come to this rev: told to the store by the next heartbeat."""
        ...

    async def acks(self, vni: int) -> dict[str, int]:
        """How far each member with a live lease has come by its own word: name -> rev, 0 if it has not said yet."""
        ...

    async def thaw(self, vni: int, mac: bytes) -> None:
        """Let a MAC that was frozen as a duplicate move again; NotFoundError if it is not frozen."""
        ...

    async def allocate_ip(self, vni: int, subnet: str, owner: str) -> str:
        """The lowest free host address of the subnet as CIDR, in one script call; the same owner, the same again."""
        ...

    async def reserve_ip(self, vni: int, subnet: str, address: str, owner: str) -> None:
        """Take an address asked for by name; ConflictError names the other owner while that one is live."""
        ...

    async def release_ip(self, vni: int, owner: str) -> None:
        """Give back what this owner has in the VNI (into 60 s of quarantine)."""
        ...
