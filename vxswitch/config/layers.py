"""What was given, before it is judged: the file, the environment, the command line and ``--set``, each over the last.

Every source becomes a ``Layers``: section -> key -> ``Given``, and network name -> key -> ``Given`` for the tables
``[networks.NAME]``. ``over`` lays one on another, key by key, so a network named twice in different places is one
network, while a list (``--vtep``, ``--peer``) replaces the list below it. Only the names of sections are checked here.
"""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vxswitch.config import sections
from vxswitch.config.convert import Given, keys_of, unknown_key
from vxswitch.config.rules import did_you_mean, mask
from vxswitch.errors import UsageError
from vxswitch.model import check_network_name

SECTIONS: dict[str, type[sections.Section]] = {
    "node": sections.Node,
    "underlay": sections.Underlay,
    "store": sections.StoreKeys,
    "timers": sections.Timers,
    "fdb": sections.Fdb,
    "limits": sections.Limits,
    "mcast": sections.Mcast,
    "crypto": sections.Crypto,
    "networks": sections.Networks,
    "log": sections.Log,
    "metrics": sections.Metrics,
}
FILE_MAX = 2**20  # bytes: nobody writes more by hand


@dataclass(frozen=True, slots=True)
class CommandLine:
    """``vxswitch run`` as it was typed, each option's text untouched. The store's URL may hold a password."""

    config: str | None = None
    node: str | None = None
    vtep: tuple[str, ...] = ()
    store: str | None = field(default=None, repr=False)
    cluster: str | None = None
    network: tuple[str, ...] = ()
    peer: tuple[str, ...] = ()
    learning: str | None = None
    key_file: str | None = None
    socket: str | None = None
    state_dir: str | None = None
    metrics: str | None = None
    workers: str | None = None
    purge: bool = False
    set: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Layers:
    """Everything given by one source, or by several laid over each other."""

    sections: dict[str, dict[str, Given]] = field(default_factory=dict)
    networks: dict[str, dict[str, Given]] = field(default_factory=dict)

    def put(self, section: str, key: str, given: Given) -> None:
        """Give one key of a section."""
        self.sections.setdefault(section, {})[key] = given

    def over(self, below: Layers) -> Layers:
        """These laid over ``below``."""
        merged = Layers()
        for layer in (below, self):
            for name, table in layer.sections.items():
                merged.sections.setdefault(name, {}).update(table)
            for name, table in layer.networks.items():
                merged.networks.setdefault(name, {}).update(table)
        return merged


def gather(options: CommandLine, env: Mapping[str, str]) -> Layers:
    """All sources in their order: file < environment < command line < ``--set``."""
    layers = from_file(Path(options.config)) if options.config is not None else Layers()
    for layer in (from_environment(env), from_command_line(options), from_set(options.set)):
        layers = layer.over(layers)
    return layers


def read_guarded(path: Path, what: str) -> tuple[bytes, bool]:
    """The content of a file, and whether nobody but its owner may read it. UsageError when it cannot be read."""
    try:
        with open(path, "rb") as file:
            private = not stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077
            content = file.read(FILE_MAX + 1)
    except OSError as error:
        raise UsageError(f"cannot read {what} {str(path)!r}: {error.strerror}") from None
    if len(content) > FILE_MAX:
        raise UsageError(f"cannot read {what} {str(path)!r}: it is longer than {FILE_MAX} bytes")
    return content, private


def from_file(path: Path) -> Layers:
    """The TOML file's content; UsageError names the line that is not TOML, or the section that does not exist."""
    content, private = read_guarded(path, "configuration file")
    try:
        tables = tomllib.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise UsageError(f"configuration file {str(path)!r} is not TOML: {error}") from None
    layers, origin = Layers(), f"in {path}"

    def given(value: Any) -> Given:
        return Given(value, origin, exposed=not private)

    for section, table in tables.items():
        _check_section(section, origin)
        if not isinstance(table, dict):
            raise UsageError(f"{section} ({origin}): want a table [{section}], not a value")
        for key, value in table.items():
            if section == "networks" and isinstance(value, dict):
                layers.networks[_table_name(key, origin)] = {k: given(v) for k, v in value.items()}
            else:
                layers.put(section, key, given(value))
    return layers


def from_environment(env: Mapping[str, str]) -> Layers:
    """``VXSWITCH_SOCKET``. (``VXSWITCH_STORE`` is a secret as much as a URL: see ``store``.)"""
    layers = Layers()
    if socket := env.get("VXSWITCH_SOCKET"):
        layers.put("node", "socket", Given(socket, "VXSWITCH_SOCKET", text=True))
    return layers


def from_command_line(options: CommandLine) -> Layers:
    """The options that stand for keys of the file."""
    layers = Layers()
    keys: tuple[tuple[str, str, str, Any], ...] = (
        ("--node", "node", "name", options.node),
        ("--state-dir", "node", "state_dir", options.state_dir),
        ("--cluster", "node", "cluster", options.cluster),
        ("--workers", "node", "workers", options.workers),
        ("--socket", "node", "socket", options.socket),
        ("--vtep", "underlay", "vteps", list(options.vtep) or None),
        ("--peer", "underlay", "peers", list(options.peer) or None),
        ("--store", "store", "url", options.store),
        ("--key-file", "crypto", "key_file", options.key_file),
        ("--learning", "networks", "learning", options.learning),
        ("--metrics", "metrics", "listen", options.metrics),
    )
    for option, section, key, value in keys:
        if value is not None:
            layers.put(section, key, Given(value, option, text=True))
    for text in options.network:
        name, equals, vni = text.partition("=")
        if _table_name(name, "--network") in layers.networks:
            raise UsageError(f"network {name!r} is named twice (--network)")
        if equals and not vni:
            raise UsageError(f"--network {text!r}: want NAME or NAME=VNI")
        layers.networks[name] = {"vni": Given(vni, "--network", text=True)} if equals else {}
    return layers


def from_set(settings: Iterable[str]) -> Layers:
    """``--set SECTION.KEY=VALUE``, and ``--set networks.NAME.KEY=VALUE`` for one network."""
    layers = Layers()
    for text in settings:
        path, equals, value = text.partition("=")
        section, dot, key = path.partition(".")
        if not equals or not dot or not section or not key:
            raise UsageError(f"--set {mask(text)!r}: want SECTION.KEY=VALUE as in timers.lease=1.5")
        _check_section(section, "--set")
        name, dot, inner = key.rpartition(".")
        if section == "networks" and dot:
            layers.networks.setdefault(_table_name(name, "--set"), {})[inner] = Given(value, "--set", text=True)
        else:
            layers.put(section, key, Given(value, "--set", text=True))
    return layers


def _check_section(name: str, origin: str) -> None:
    if name not in SECTIONS:
        known = ", ".join(SECTIONS)
        raise UsageError(f"unknown section {name!r} ({origin}){did_you_mean(name, SECTIONS)}; want one of {known}")


def _table_name(name: str, origin: str) -> str:
    """The name of a network that has a table of its own; it cannot be that of a scalar key beside it."""
    if name in keys_of(sections.Networks):
        raise UsageError(f"network name {name!r} ({origin}): it is a key of [networks], choose another name")
    try:
        return check_network_name(name)
    except UsageError as error:
        raise UsageError(f"{error} ({origin})") from None


def unknown_network_key(key: str, given: Given) -> UsageError:
    """The complaint about an unknown scalar key of ``[networks]``: it may be a network written as a value."""
    hint = f"; scalar keys in [networks] hold for all networks, one network is a table [networks.{key}] with a vni"
    return unknown_key(f"networks.{key}", key, keys_of(sections.Networks), given.origin, hint)
