"""The configuration as values: one frozen Struct per section of the TOML file, every default in its place.

A key's type says what is allowed (msgspec reads it), or carries a ``Rule`` where the text means something richer. Keys
whose default depends on another key have none here; ``loading`` derives them. Times are seconds, sizes bytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

from vxswitch.config.rules import (
    BUFFER,
    FILE,
    LISTEN,
    MTU,
    NAME,
    PATH,
    SOCKET,
    STORE_LISTEN,
    SUBNETS,
    VNI,
    Listen,
)
from vxswitch.model import VXLAN_PORT, Antispoof, Learning, NetworkRecord, Unknown, Vtep

Port = Annotated[int, Meta(ge=1, le=65535)]
Seconds = Annotated[float, Meta(ge=0.01, le=86400)]
Vlan = Literal["strip", "carry"]
Snooping = Literal["auto", "on", "off"]
Querier = Literal["auto", "off"]


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One ``[section]``; its fields are its keys."""


class Node(Section, frozen=True, kw_only=True):
    """Who this switch is, and where it lives on the host."""

    name: Annotated[str, NAME]  # default: the short host name
    state_dir: Annotated[Path, PATH]  # default: /var/lib/vxswitch/NAME
    cluster: Annotated[str, NAME] = "vxswitch"
    socket: Annotated[Path, SOCKET] = Path("/run/vxswitch/vxswitch.sock")
    socket_group: str | None = None
    workers: Annotated[int, Meta(ge=1, le=64)] = 1  # processes that share the frames

    @property
    def attach_socket(self) -> Path:
        """Where file descriptors are handed over: beside the control socket."""
        return self.socket.with_name("attach.sock")


class Underlay(Section, frozen=True, kw_only=True):
    """The sockets that carry VXLAN. No ``vteps``: the source address of the default route, found at start."""

    vteps: tuple[Vtep, ...] = ()
    port: Port = VXLAN_PORT
    peers: tuple[Vtep, ...] = ()
    strict_reserved: bool = False
    udp_checksum: Literal["on", "zero"] = "on"
    udp6_zero_rx: bool = False
    accept_fragments: bool = True
    send_sockets: Annotated[int, Meta(ge=1, le=1024)] = 64  # out of 49152-65535: RFC 7348 section 5
    kernel_cut: Literal["off", "auto", "on"] = "off"
    copy_dscp: bool = False
    ttl: Annotated[int, Meta(ge=1, le=255)] = 64
    receive_buffer: Annotated[int, BUFFER] = 8 * 2**20
    send_buffer: Annotated[int, BUFFER] = 4 * 2**20
    busy_poll: Annotated[int, Meta(ge=0, le=10_000)] = 0  # microseconds to go on asking after traffic; 0: sleep at once


class StoreKeys(Section, frozen=True, kw_only=True):
    """``[store]`` as the file may have it. ``url`` is without its password once it has been read."""

    url: str  # default: static: when any peer is configured, else embedded:
    password_file: Annotated[Path | None, FILE] = None
    listen: Annotated[Listen | None, STORE_LISTEN] = None
    sentinel_user: Annotated[str | None, NAME] = None
    sentinel_password_file: Annotated[Path | None, FILE] = None
    ca_file: Annotated[Path | None, FILE] = None
    cert_file: Annotated[Path | None, FILE] = None
    key_file: Annotated[Path | None, FILE] = None


class Store(StoreKeys, frozen=True, kw_only=True):
    """``[store]`` with the passwords that were found for it, which never show."""

    password: str | None = None
    sentinel_password: str | None = None

    @property
    def scheme(self) -> str:
        """What stands before the first colon of the URL."""
        return self.url.partition(":")[0]

    @property
    def shown_url(self) -> str:
        """The URL for human eyes: ``***`` where the password belongs."""
        if self.password is None or "://" not in self.url:
            return self.url
        scheme, _, rest = self.url.partition("://")
        user, at, host = rest.rpartition("@")
        return f"{scheme}://{user if at else ''}:***@{host}"

    def __repr__(self) -> str:
        return f"Store(url={self.shown_url!r})"


class Timers(Section, frozen=True, kw_only=True):
    """Liveness, and how often the tables are written to disk at most. Tests divide them."""

    lease: Seconds = 3.0
    beat: Seconds = 1.0
    grace: Seconds = 60.0
    probe: Seconds = 0.3
    save: Seconds = 5.0


class Fdb(Section, frozen=True, kw_only=True):
    """The forwarding table of one network: ``age`` of learned rows, and how many rows it may have."""

    age: Seconds = 300.0
    max_macs: Annotated[int, Meta(ge=1, le=2**20)] = 16384


class Limits(Section, frozen=True, kw_only=True):
    """Per port: frames to flood (a second, and at once), copies to multicast listeners a second, MACs behind it."""

    bum_pps: Annotated[int, Meta(ge=1, le=10**9)] = 1000
    bum_burst: Annotated[int, Meta(ge=1, le=10**9)] = 2000
    mcast_copies: Annotated[int, Meta(ge=1, le=10**9)] = 250_000  # more than a port moves by unicast
    port_macs: Annotated[int, Meta(ge=1, le=2**20)] = 64


class Mcast(Section, frozen=True, kw_only=True):
    """Multicast to its listeners only (RFC 4541). Times as RFC 3376 section 8 and RFC 3810 section 9 name them.

    ``snooping`` auto: on where MACs are claimed in a store, so that other nodes can be told. ``querier`` auto: the
    switch asks when no router does. ``fast_leave``: for a port that only one station may use, leaving is over at once.
    """

    snooping: Snooping = "auto"
    querier: Querier = "auto"
    query_interval: Seconds = 125.0
    response: Annotated[float, Meta(ge=0.1, le=12.7)] = 10.0
    robustness: Annotated[int, Meta(ge=1, le=7)] = 2
    last_member: Annotated[float, Meta(ge=0.1, le=12.7)] = 1.0
    fast_leave: bool = True
    port_groups: Annotated[int, Meta(ge=1, le=1000)] = 256
    network_groups: Annotated[int, Meta(ge=1, le=1000)] = 1000  # a node may tell 1024, with what stands for routers

    @property
    def membership(self) -> float:
        """Seconds that a membership, or a router, lasts without being heard of."""
        return self.robustness * self.query_interval + self.response


class Crypto(Section, frozen=True, kw_only=True):
    """Encrypted networks: named here so that nobody believes them on while they are not supported."""

    key_file: Annotated[Path | None, PATH] = None


class Networks(Section, frozen=True, kw_only=True):
    """The scalar keys of ``[networks]``: what holds for every network that does not say otherwise."""

    host_port: bool = True
    antispoof: Antispoof = "mac"
    learning: Learning  # default: control with a Redis store, flood with static:
    unknown: Unknown = "flood"
    vlan: Vlan = "strip"
    suppress: bool = True  # answer ARP and neighbour discovery from what is claimed (RFC 9161)
    mtu: Annotated[int | None, MTU] = None


class Network(Section, frozen=True, kw_only=True):
    """One network to join, ``[networks.NAME]`` or ``--network NAME[=VNI]``. ``vni`` None: the store's record says."""

    name: str
    vni: Annotated[int | None, VNI] = None
    subnets: Annotated[tuple[str, ...], SUBNETS] = ()
    mtu: Annotated[int | None, MTU]
    learning: Learning
    unknown: Unknown
    antispoof: Antispoof
    vlan: Vlan
    snooping: Snooping | None = None  # None: as [mcast] says
    querier: Querier | None = None
    suppress: bool = True
    peers: tuple[Vtep, ...] = ()

    def record(self) -> NetworkRecord:
        """As the store keeps it; ``vni`` 0 asks the store to allocate one."""
        return NetworkRecord(
            name=self.name,
            vni=self.vni or 0,
            subnets=self.subnets,
            mtu=self.mtu,
            learning=self.learning,
            unknown=self.unknown,
            antispoof=self.antispoof,
        )


class Log(Section, frozen=True, kw_only=True):
    """What is logged to stderr; ``auto`` is human on a terminal, JSON otherwise."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "human", "json"] = "auto"


class Metrics(Section, frozen=True, kw_only=True):
    """Where metrics are served over TCP, beside the control socket that always has them."""

    listen: Annotated[Listen | None, LISTEN] = None
