"""Ports as they are asked for, and as they are remembered in ``ports.json`` from one life of the switch to the next.

A port's id is readable and survives restarts: ``NETWORK/NAMESPACE/IFNAME``, or ``NETWORK/vx-NETWORK`` for the host's
own. Everything else that has to be the same again (MAC, addresses) is in its record. An id is also the owner under
which the store keeps the port's addresses.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from typing import Any

import msgspec

from vxswitch.control.doors import Place
from vxswitch.errors import UsageError
from vxswitch.model import check_network_name, parse_mac

MAX_IPS = 16  # addresses of one port

_NAMED = re.compile(r"(?:/var)?/run/netns/([^/]+)\Z|/proc/(\d+)/ns/net\Z")
_IFNAME_MAX = 15  # linux/if.h: IFNAMSIZ less the closing zero byte


class AttachRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The message on attach.sock. ``tap``: the name of the TAP whose descriptor comes along; ``pinned``: it was opened
    inside the namespace, which it therefore keeps alive. ``rate`` in bits per second, ``pps`` in frames.
    """

    network: str
    netns: str
    inode: int
    ifname: str
    pid: int | None = None
    tap: str | None = None
    pinned: bool = False
    ips: tuple[str, ...] = ()
    mac: str | None = None
    gateway: str | None = None
    rate: int | None = None
    pps: int | None = None

    def __post_init__(self) -> None:
        check_network_name(self.network)
        if not self.netns.startswith("/") or "\0" in self.netns:
            raise UsageError(f"netns {self.netns!r}: want the path of a network namespace")
        if not 1 <= len(self.ifname.encode()) <= _IFNAME_MAX or "/" in self.ifname:
            raise UsageError(f"ifname {self.ifname!r}: want a name of 1 to {_IFNAME_MAX} bytes")
        if self.mac is not None and parse_mac(self.mac)[0] & 1:
            raise UsageError(f"MAC {self.mac}: a group address cannot be a port's own")
        _check_addresses(self.ips, self.gateway)
        for name, value in (("rate", self.rate), ("pps", self.pps)):
            if value is not None and value < 1:
                raise UsageError(f"{name} {value}: want at least 1")

    @property
    def place(self) -> Place:
        """The namespace."""
        return Place(self.netns, self.inode, self.pid)


class PortRecord(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A port of ``ports.json``. ``netns`` None: the host's own TAP."""

    id: str
    network: str
    ifname: str
    mac: str
    netns: str | None = None
    inode: int = 0
    pid: int | None = None
    ips: tuple[str, ...] = ()
    gateway: str | None = None
    rate: int | None = None
    pps: int | None = None

    def __post_init__(self) -> None:
        check_network_name(self.network)
        parse_mac(self.mac)

    @property
    def place(self) -> Place | None:
        """The namespace; None: our own."""
        return None if self.netns is None else Place(self.netns, self.inode, self.pid)

    @property
    def mac_bytes(self) -> bytes:
        """The MAC as six bytes."""
        return parse_mac(self.mac)


def parse_request(message: dict[str, Any]) -> AttachRequest:
    """The message as a request; UsageError names what is wrong with it."""
    try:
        return msgspec.convert(message, AttachRequest)
    except msgspec.ValidationError as error:
        raise UsageError(f"attach: {error}") from None


def parse_records(document: Any) -> list[PortRecord]:
    """``ports.json``; UsageError if it is not what ``to_document`` wrote."""
    try:
        return msgspec.convert(document, list[PortRecord])
    except msgspec.ValidationError as error:
        raise UsageError(str(error)) from None


def to_document(records: list[PortRecord]) -> Any:
    """The records as JSON values."""
    return msgspec.to_builtins(records)


def port_id(network: str, netns: str, ifname: str) -> str:
    """The id of a container's port."""
    named = _NAMED.match(netns)
    if named is None:
        stem = netns.rsplit("/", 1)[-1]
        return f"{network}/{stem}-{hashlib.blake2s(netns.encode()).hexdigest()[:4]}/{ifname}"
    return f"{network}/{named[1] or named[2]}/{ifname}"


def host_port_id(network: str, ifname: str) -> str:
    """The id of the host's own port in a network."""
    return f"{network}/{ifname}"


def derive_mac(*identity: object) -> bytes:
    """A unicast, locally administered MAC (first byte 02), always the same for the same identity."""
    text = "\0".join(map(str, identity))
    return b"\x02" + hashlib.blake2s(text.encode(), digest_size=5).digest()


def _check_addresses(ips: tuple[str, ...], gateway: str | None) -> None:
    if len(ips) > MAX_IPS:
        raise UsageError(f"{len(ips)} addresses: want at most {MAX_IPS}")
    if "none" in ips and len(ips) > 1:
        raise UsageError("ip none: stands alone, without other addresses")
    for text in (*(ip for ip in ips if ip not in ("auto", "none")), *([gateway] if gateway else ())):
        try:
            ipaddress.ip_interface(text)
        except ValueError:
            raise UsageError(f"ip {text!r}: want auto, none, or an address in CIDR form") from None
