"""How one value that the user wrote is read: names, sizes, rates, listening addresses, paths, subnets.

A ``Rule`` stands in the annotation of a key (see ``sections``): ``allowed`` says to a human what is accepted, ``parse``
turns the TOML value, or the text of the command line, into the value that the switch uses. ``parse`` raises ValueError
("want ALLOWED" is then the whole complaint) or UsageError, which says itself what is wrong. Everything here is pure,
but for ``file_path``, which asks whether a file is there.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vxswitch.errors import UsageError
from vxswitch.model import VNI_MAX, check_vni

MTU_MIN = 68  # RFC 791 section 3.2: what every host must be able to carry
MTU_MAX = 65521  # drivers/net/tun.c: MAX_MTU 65535 less the Ethernet header, 14
REDIS_PORT = 6379  # IANA
UNIX_PATH_MAX = 107  # linux/un.h: UNIX_PATH_MAX 108, with its closing NUL

# What the interface names and this version does not do: refused wherever it is asked for, never ignored.
NOT_BUILT = {"isolation": ("ports",)}

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}\Z")
_SCALED = re.compile(r"([0-9]+(?:\.[0-9]+)?)([A-Za-z]*)\Z")
_USERINFO = re.compile(r"://.*@", re.DOTALL)
_PASSWORD_QUERY = re.compile(r"([?&][^=&]*pass[^=&]*=)[^&]*", re.IGNORECASE)
_DECIMAL = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9}
_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


@dataclass(frozen=True, slots=True)
class Rule:
    """How a key's value is read; ``many``: the key holds a list of such values (as text: separated by commas)."""

    allowed: str
    parse: Callable[[Any], Any]
    many: bool = False


@dataclass(frozen=True, slots=True)
class Listen:
    """An address and TCP port to listen on."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


def mask(text: str) -> str:
    """The text with whatever may be a user's password in a URL replaced by ``***``."""
    return _PASSWORD_QUERY.sub(r"\1***", _USERINFO.sub("://***@", text))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``; did you mean X?`` when a known word is near, else nothing."""
    import difflib  # only ever needed on the way to an error

    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def check_built(option: str, value: str) -> str:
    """The value itself; UsageError when it is part of the interface but not of this version."""
    if value in NOT_BUILT.get(option, ()):
        raise UsageError(f"{option} {value!r}: not supported in this version")
    return value


def parse_name(value: Any) -> str:
    """A node's or cluster's name: it becomes part of keys in the store and of a path."""
    if not isinstance(value, str) or not _NAME.match(value):
        raise ValueError
    return value


def _scaled(value: Any, units: dict[str, int]) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    found = _SCALED.match(value) if isinstance(value, str) else None
    if found is None or found[2] not in units:
        raise ValueError
    return round(float(found[1]) * units[found[2]])


def parse_rate(value: Any) -> int:
    """``100M`` as bits per second: decimal k, M, G; ValueError unless it is at least 1."""
    rate = _scaled(value, _DECIMAL)
    if rate < 1:
        raise ValueError
    return rate


def parse_buffer(value: Any) -> int:
    """``4Mi`` as bytes (decimal k, M, G; binary Ki, Mi, Gi); ValueError outside 4 KiB to 1 GiB."""
    size = _scaled(value, _DECIMAL | _BINARY)
    if not 2**12 <= size <= 2**30:
        raise ValueError
    return size


def parse_number(text: str, low: int, high: int) -> int:
    """Decimal text as a number in that range; ValueError otherwise."""
    if not (text.isascii() and text.isdigit() and len(text) <= 20 and low <= int(text) <= high):
        raise ValueError
    return int(text)


def parse_mtu(value: Any) -> int | None:
    """``auto`` as None, else the inner MTU in bytes."""
    if value == "auto":
        return None
    if isinstance(value, str):
        return parse_number(value, MTU_MIN, MTU_MAX)
    if not isinstance(value, int) or isinstance(value, bool) or not MTU_MIN <= value <= MTU_MAX:
        raise ValueError
    return value


def parse_vni(value: Any) -> int:
    """A VNI given as a number or as decimal text; UsageError names what is wrong with it."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = parse_number(value, 0, 10**20)
    return check_vni(value)


def parse_subnet(value: Any) -> str:
    """An IPv4 or IPv6 subnet in CIDR form as canonical text; UsageError when containers could not live in it."""
    try:
        if not isinstance(value, str) or "/" not in value:
            raise ValueError
        subnet = ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise UsageError(f"subnet {value!r}: want a network in CIDR form as in 10.1.0.0/24 or fd00:1::/64") from None
    if ipaddress.ip_interface(value).ip != subnet.network_address:
        raise UsageError(f"subnet {value!r} has host bits set; did you mean {subnet}?")
    if subnet.is_multicast or subnet.is_loopback or subnet.prefixlen == 0 or subnet.num_addresses < 4:
        raise UsageError(f"subnet {value!r}: want at least four unicast addresses that are not loopback")
    return str(subnet)


def check_subnets(subnets: Iterable[str]) -> tuple[str, ...]:
    """The subnets of one network; UsageError when two of them overlap."""
    seen: list[str] = []
    for text in subnets:
        subnet = ipaddress.ip_network(text)
        for other in seen:
            if subnet.version == ipaddress.ip_network(other).version and subnet.overlaps(ipaddress.ip_network(other)):
                raise UsageError(f"subnets {other} and {text} of one network overlap")
        seen.append(text)
    return tuple(seen)


def parse_listen(value: Any, default_port: int | None = None) -> Listen:
    """``ADDR:PORT`` or ``[ADDR6]:PORT``; without a port only where there is a default. ValueError otherwise."""
    if not isinstance(value, str):
        raise ValueError
    address, port = value, ""
    if value.startswith("["):
        address, closed, rest = value[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")):
            raise ValueError
        port = rest[1:]
    elif value.count(":") == 1:
        address, _, port = value.partition(":")
    ip = ipaddress.ip_address(address)
    if not port and not value.endswith(":") and default_port is not None:
        return Listen(str(ip), default_port)
    return Listen(str(ip), parse_number(port, 1, 65535))


def parse_store_listen(value: Any) -> Listen:
    """As ``parse_listen``, on Redis's port when none is given."""
    return parse_listen(value, REDIS_PORT)


def parse_path(value: Any) -> Path:
    """A path, made absolute."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError
    return Path(value).absolute()


def file_path(value: Any) -> Path:
    """A path at which a file is."""
    path = parse_path(value)
    if not path.is_file():
        raise UsageError(f"{str(path)!r} is not a file")
    return path


def socket_path(value: Any) -> Path:
    """A path that a unix socket, and ``attach.sock`` beside it, can have."""
    path = parse_path(value)
    if max(len(os.fsencode(path)), len(os.fsencode(path.with_name("attach.sock")))) > UNIX_PATH_MAX:
        raise UsageError(f"{str(path)!r}: a unix socket's path has at most {UNIX_PATH_MAX} bytes")
    return path


NAME = Rule("a letter or digit, then up to 62 of letters, digits, '_', '.', '-'", parse_name)
RATE = Rule("bits per second, with k, M or G", parse_rate)
BUFFER = Rule("bytes from 4Ki to 1Gi, with k, M, G or Ki, Mi, Gi", parse_buffer)
MTU = Rule(f'"auto" or a whole number from {MTU_MIN} to {MTU_MAX}', parse_mtu)
VNI = Rule(f"a number from 1 to {VNI_MAX}", parse_vni)
SUBNETS = Rule("a list of subnets as in 10.1.0.0/24", parse_subnet, many=True)
LISTEN = Rule("ADDR:PORT or [ADDR6]:PORT", parse_listen)
STORE_LISTEN = Rule("ADDR, ADDR:PORT or [ADDR6]:PORT", parse_store_listen)
PATH = Rule("a path", parse_path)
FILE = Rule("the path of a file", file_path)
SOCKET = Rule("a path", socket_path)
