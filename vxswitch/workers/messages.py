"""What the main process and a worker say to each other: one msgpack array per message, descriptors beside it.

States, not steps: a network or a row is told as it is now, so that it does no harm to tell it twice, or to leave out
what has changed again meanwhile. Ports go by a number that is never used again, since a port's id is.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from vxswitch.dataplane.sockets import UnderlayOptions
from vxswitch.fdb import Source, VlanPolicy
from vxswitch.model import Antispoof, Learning, PortSpec, Unknown, Vtep
from vxswitch.wire import multicast
from vxswitch.wire.neighbour import Evidence
from vxswitch.wire.probe import Identity, Probe

Address: TypeAlias = tuple[str, int]  # of a VTEP
Sparse: TypeAlias = dict[int, int]  # counts by Drop, without zeros


class _Message(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """One message."""


class _Part(msgspec.Struct, frozen=True, array_like=True):
    """A part of one."""


# -- main -> worker ----------------------------------------------------------------------------------------------------


class Begin(_Message, frozen=True):
    """The first: how to be. ``seen_every``: seconds between two ``Seen``."""

    options: UnderlayOptions
    seen_every: float
    identity: Identity
    log_level: str
    log_format: Literal["auto", "human", "json"]


class SetVteps(_Message, frozen=True):
    """Be these VTEPs; with each comes a receiving socket."""

    vteps: list[Address]


class OpenDoor(_Message, frozen=True):
    """The way by which the kernel may cut; with it comes the door's descriptor."""

    mac: bytes


class UseDoor(_Message, frozen=True):
    """Let the kernel cut from now on, or no more."""

    use: bool


class PeerState(_Part, frozen=True):
    """A VTEP of a network."""

    vtep: Address
    node: str | None
    live: bool
    static: bool


class NetworkState(_Message, frozen=True):
    """A network's policy and peers, new or changed."""

    vni: int
    name: str
    mtu: int
    learning: Learning
    unknown: Unknown
    antispoof: Antispoof
    vlan: VlanPolicy
    suppress: bool
    suspended: int
    senders: list[PeerState]


class NetworkGone(_Message, frozen=True):
    """The network is no more."""

    vni: int


class AddPort(_Message, frozen=True):
    """Forward for a port; with it comes the TAP's descriptor. ``reads``: what it sends is this worker's to read."""

    number: int
    spec: PortSpec
    reads: bool


class UpdatePort(_Message, frozen=True):
    """Other limits and policy."""

    number: int
    spec: PortSpec


class RemovePort(_Message, frozen=True):
    """Let go of the port."""

    number: int


class RowState(_Part, frozen=True):
    """The row of a MAC; without port and VTEP: it has none (any more). ``ips``: the addresses it is claimed with."""

    mac: bytes
    port: int | None = None
    vtep: Address | None = None
    source: Source = "learned"
    given: bool = False
    node: str | None = None
    flags: tuple[str, ...] = ()
    stale: bool = False
    ips: tuple[bytes, ...] = ()


class Rows(_Message, frozen=True):
    """Rows of one network that have changed."""

    vni: int
    rows: list[RowState]


class GroupState(_Part, frozen=True):
    """Who listens to a multicast group: all of them, so nobody means that nobody has told."""

    group: bytes
    ports: list[int]
    nodes: list[str]


class FamilyState(_Part, frozen=True):
    """Who gets every group of an IP version."""

    family: int
    ports: list[int]
    nodes: list[str]
    routers: list[int]
    open: bool


class Groups(_Message, frozen=True):
    """Listeners that have changed. ``known`` False: forget all that was told, and flood."""

    vni: int
    known: bool
    tellers: list[str]
    families: list[FamilyState]
    groups: list[GroupState]


# -- worker -> main ----------------------------------------------------------------------------------------------------


class Up(_Message, frozen=True):
    """The answer to ``Begin``: ready for frames."""


class Learned(_Message, frozen=True):
    """A frame from ``mac`` came in by a port or from a VTEP, and the row does not say so."""

    vni: int
    mac: bytes
    port: int | None
    vtep: Address | None


class Heard(_Message, frozen=True):
    """A station behind a port says something about itself, as ``wire.neighbour.Said``."""

    vni: int
    port: int
    kind: int
    mac: bytes
    ip: bytes | None
    target: bytes
    evidence: Evidence


class Seen(_Message, frozen=True):
    """MACs that have sent something since the last time, and when they did last (monotonic seconds)."""

    vni: int
    rows: list[tuple[bytes, float]]


class Overheard(_Message, frozen=True):
    """A station behind a port or a VTEP has said something about multicast groups."""

    vni: int
    port: int | None
    vtep: Address | None
    message: multicast.Message


class PortGone(_Message, frozen=True):
    """The TAP has vanished."""

    number: int


class PortCounts(_Part, frozen=True):
    """What was counted at one port."""

    number: int
    rx_frames: int
    rx_bytes: int
    tx_frames: int
    tx_bytes: int
    drops: Sparse


class Answered(_Message, frozen=True):
    """A probe was answered by ``address``, at ``now`` (monotonic seconds)."""

    address: str
    answer: Probe
    now: float


class Unreachable(_Message, frozen=True):
    """An ICMP error came back for what was sent to this address."""

    address: str


class Counted(_Message, frozen=True):
    """What was counted since the last time: on the underlay, at ports that are gone, at ports."""

    received: int
    sent: int
    errors: int
    stats: Sparse  # by the slot's place
    drops: Sparse
    retired_rx: int
    retired_tx: int
    retired_drops: Sparse
    ports: list[PortCounts]


ToWorker: TypeAlias = (
    Begin
    | SetVteps
    | OpenDoor
    | UseDoor
    | NetworkState
    | NetworkGone
    | AddPort
    | UpdatePort
    | RemovePort
    | Rows
    | Groups
)
ToMain: TypeAlias = Up | Learned | Heard | Seen | Overheard | PortGone | Answered | Unreachable | Counted
Question: TypeAlias = Learned | Heard | Overheard  # what a worker's replica cannot explain by itself

encode = msgspec.msgpack.Encoder().encode
decode_to_worker = msgspec.msgpack.Decoder(ToWorker).decode
decode_to_main = msgspec.msgpack.Decoder(ToMain).decode


def address(vtep: Vtep) -> Address:
    """A VTEP in a message; ``Vtep(*address)`` is the way back."""
    return vtep.address, vtep.port
