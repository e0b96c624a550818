"""Values that cross rooms: addresses, VTEPs, networks, the rows and events of the store.

All are frozen: a room that wants another value makes another one. MACs are 6 raw bytes everywhere inside, text only
at the doors (``format_mac``, ``parse_mac``). A snapshot and a delta from the store arrive as the same events.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from vxswitch.errors import UsageError

VXLAN_PORT = 4789  # RFC 7348 section 5, IANA
VNI_MAX = 2**24 - 1  # RFC 7348 section 5: 24 bits; 0 is not used

Learning = Literal["control", "hybrid", "flood"]
Unknown = Literal["flood", "drop", "ask"]
Antispoof = Literal["off", "mac", "full"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}\Z")
_MAC = re.compile(r"[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}\Z")


def format_mac(mac: bytes) -> str:
    """Six bytes as lower-case hex with colons."""
    return mac.hex(":")


def parse_mac(text: str) -> bytes:
    """``aa:bb:cc:dd:ee:ff`` (or with dashes) as six bytes; UsageError otherwise."""
    if not isinstance(text, str) or not _MAC.match(text):
        raise UsageError(f"MAC {text!r}: want six hex pairs as in 02:00:00:00:00:01")
    return bytes.fromhex(text.replace("-", "").replace(":", ""))


def check_network_name(name: str) -> str:
    """The name itself, or UsageError."""
    if not isinstance(name, str) or not _NAME.match(name):
        raise UsageError(
            f"network name {name!r}: want a letter or digit, then up to 62 of letters, digits, '_', '.', '-'"
        )
    return name


def check_vni(vni: int) -> int:
    """1..16777215, or UsageError (RFC 7348 section 5: 24 bits)."""
    if not isinstance(vni, int) or isinstance(vni, bool) or not 1 <= vni <= VNI_MAX:
        raise UsageError(f"VNI {vni!r}: want a number from 1 to {VNI_MAX}")
    return vni


@dataclass(frozen=True, slots=True)
class Vtep:
    """A VXLAN tunnel end point: an IP address in canonical text and the UDP port it receives on."""

    address: str
    port: int = VXLAN_PORT
    family: int = field(init=False, compare=False, repr=False)
    sockaddr: tuple[str, int] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "family", socket.AF_INET6 if ":" in self.address else socket.AF_INET)
        object.__setattr__(self, "sockaddr", (self.address, self.port))

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    @classmethod
    def parse(cls, text: str, default_port: int = VXLAN_PORT) -> Vtep:
        """``ADDR``, ``ADDR:PORT``, ``[ADDR6]:PORT`` or a bare IPv6 address; a usable unicast address or UsageError."""
        address, port = text, str(default_port)
        if text.startswith("[") and "]" in text:
            address, _, rest = text[1:].partition("]")
            if rest and not rest.startswith(":"):
                raise UsageError(f"VTEP {text!r}: want ADDR, ADDR:PORT or [ADDR6]:PORT")
            port = rest[1:] or port
        elif text.count(":") == 1:
            address, _, port = text.partition(":")
        try:
            ip = ipaddress.ip_address(address)
        except ValueError:
            raise UsageError(f"VTEP {text!r}: {address!r} is not an IP address") from None
        if not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535):
            raise UsageError(f"VTEP {text!r}: port {port!r} is not a number from 1 to 65535")
        if ip.is_multicast or ip.is_unspecified or getattr(ip, "scope_id", None) or str(ip) == "255.255.255.255":
            raise UsageError(f"VTEP {text!r}: want a unicast address of a host")
        if ip.version == 6 and ip.is_link_local:  # it needs a zone, and zones are a host's own (RFC 4007 section 6)
            raise UsageError(f"VTEP {text!r}: a link-local address does not say which link: want a global or local one")
        return cls(str(ip), int(port))


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """What a node says of itself in the store. ``uid`` is the random id kept in its state directory."""

    name: str
    uid: str
    epoch: int
    vteps: tuple[Vtep, ...]
    version: str = ""


@dataclass(frozen=True, slots=True)
class NetworkRecord:
    """One overlay network as the cluster knows it."""

    name: str
    vni: int
    subnets: tuple[str, ...] = ()
    mtu: int | None = None  # None = auto: the underlay's MTU less the overhead
    learning: Learning = "control"
    unknown: Unknown = "flood"
    antispoof: Antispoof = "mac"


@dataclass(frozen=True, slots=True)
class Claim:
    """A row of a VNI's table: this node has this MAC. Self-contained, valid without any other row."""

    vni: int
    mac: bytes
    node: str
    uid: str
    epoch: int
    vteps: tuple[Vtep, ...]
    ips: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()  # "sticky", "gateway", "frozen"
    since: float = 0.0  # the store's clock, seconds since 1970
    rev: int = 0


@dataclass(frozen=True, slots=True)
class PortSpec:
    """What the data plane must know to open a local port. Rates are per second; None = no limit."""

    id: str
    vni: int
    mac: bytes | None
    antispoof: bool  # only ``mac`` may send
    max_macs: int
    bum_pps: int
    bum_burst: int
    rate_bits: int | None = None
    pps: int | None = None
    offloads: int = 0  # TUN_F_* that the TAP accepted (linux/if_tun.h)
    addresses: tuple[bytes, ...] | None = None  # only these may be sent from (4 or 16 bytes each); None = any
    mcast_copies: int | None = None  # copies of its frames to listeners of multicast groups


@dataclass(frozen=True, slots=True)
class Claimed:
    """Event: the row stands in the store (a new owner, or the same one again)."""

    claim: Claim


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """Event: the row is gone from the store."""

    vni: int
    mac: bytes
    rev: int


@dataclass(frozen=True, slots=True)
class MemberJoined:
    """Event: a node is a VTEP of this VNI (also sent again when its record changed)."""

    vni: int
    node: NodeRecord
    rev: int


@dataclass(frozen=True, slots=True)
class MemberLeft:
    """Event: a node is no longer a VTEP of this VNI."""

    vni: int
    node: str
    rev: int


@dataclass(frozen=True, slots=True)
class GroupsChanged:
    """Event: the multicast groups that a node's ports listen to in this VNI, all of them (empty = none).

    Canonical text; ``0.0.0.0`` and ``::`` stand for a multicast router of that family, which wants all.
    """

    vni: int
    node: str
    groups: frozenset[str]
    rev: int


@dataclass(frozen=True, slots=True)
class LeaseState:
    """Event: the nodes with a live lease and the seconds left, by name, as the store judges them now.

    ``trusted`` is false while this node's own lease could not be renewed, and for one lease period after:
    then nobody is judged by it. ``left``: nodes that took their lease back themselves and have none since.
    """

    seconds_left: dict[str, float]
    trusted: bool
    left: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Event: all that the store has of one VNI, at one rev. To be diffed, never replayed over an emptied table."""

    vni: int
    rev: int
    rows: tuple[Claim, ...]
    members: tuple[NodeRecord, ...]
    reason: str = "start"
    groups: Mapping[str, frozenset[str]] = field(default_factory=dict)  # by node, as in GroupsChanged


Event = Claimed | Withdrawn | MemberJoined | MemberLeft | GroupsChanged | LeaseState | Snapshot


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One line of a VNI's change log.

    ``kind`` is what the log has: claim, withdraw, join, leave, groups, lapse, reset. ``time`` is the store's clock,
    seconds since 1970 (0.0 = not recorded); ``node`` whose row or membership it is; ``detail`` says for a human why.
    """

    rev: int
    kind: str
    time: float
    mac: bytes | None
    node: str | None
    detail: str
