"""The whole configuration: gathered, read section by section, checked against itself, and read again on SIGHUP.

``load`` is the door: what it returns is complete and consistent as far as that can be known without privilege and
without the network; everything it refuses is one UsageError. What only the host can tell (the source address of the
default route, whether a VTEP's address is here, who has the port) is found later, by the switch.

``reload`` reads everything again and takes what may change while frames flow; the rest stays and is named.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from vxswitch.config.convert import Given, build, vteps
from vxswitch.config.layers import CommandLine, Layers, gather
from vxswitch.config.networks import as_table, build_joined, build_networks
from vxswitch.config.sections import (
    Crypto,
    Fdb,
    Limits,
    Log,
    Mcast,
    Metrics,
    Network,
    Networks,
    Node,
    Store,
    Timers,
    Underlay,
)
from vxswitch.config.store import build_store
from vxswitch.errors import UsageError
from vxswitch.model import Vtep

STATE_ROOT = Path("/var/lib/vxswitch")
LIVE_SECTIONS = ("timers", "limits", "mcast", "networks", "joined", "log")
LIVE_KEYS = ("underlay.peers",)


class Config(Struct, frozen=True, kw_only=True):
    """Everything that the user chose. ``joined``: the networks named in the file or on the command line."""

    node: Node
    underlay: Underlay
    store: Store
    timers: Timers
    fdb: Fdb
    limits: Limits
    mcast: Mcast
    crypto: Crypto
    networks: Networks
    joined: tuple[Network, ...]
    log: Log
    metrics: Metrics
    purge: bool
    options: CommandLine

    def effective(self) -> dict[str, dict[str, object]]:
        """What is in force, as the file would have it (plain values, secrets as ``***``)."""
        out: dict[str, dict[str, object]] = {}
        for section in SECTION_NAMES:
            out[section] = {key: _plain(value) for key, value in msgspec.structs.asdict(getattr(self, section)).items()}
        out["store"]["url"] = self.store.shown_url
        del out["store"]["password"], out["store"]["sentinel_password"]
        out["networks"]["mtu"] = self.networks.mtu or "auto"
        for network in self.joined:
            table = {key: _plain(value) for key, value in as_table(network).items()}
            out["networks"][network.name] = {**table, "mtu": network.mtu or "auto"}
        return out


SECTION_NAMES = (
    *("node", "underlay", "store", "timers", "fdb", "limits", "mcast"),
    *("crypto", "networks", "log", "metrics"),
)


def load(options: CommandLine, env: Mapping[str, str], *, running: Config | None = None) -> Config:
    """Read, merge and check everything; UsageError at the first thing that is wrong.

    ``running`` is the configuration in force when this is a re-reading: what was derived then (the node's name from the
    host's, the store from there being peers) is not derived anew.
    """
    layers = gather(options, env)
    underlay = _underlay(layers)
    default_url = "static:" if underlay.peers or _any_peers(layers) else "embedded:"
    if running is not None:
        default_url = running.store.url
    store = build_store(layers.sections.get("store", {}), env, default_url)
    networks = build_networks(layers, store.url)
    joined = build_joined(layers, networks, store.url, underlay.port)
    config = Config(
        node=_node(layers, running.node.name if running is not None else None),
        underlay=underlay,
        store=store,
        timers=build(Timers, "timers", layers.sections.get("timers", {})),
        fdb=build(Fdb, "fdb", layers.sections.get("fdb", {})),
        limits=build(Limits, "limits", layers.sections.get("limits", {})),
        mcast=build(Mcast, "mcast", layers.sections.get("mcast", {})),
        crypto=build(Crypto, "crypto", layers.sections.get("crypto", {})),
        networks=networks,
        joined=joined,
        log=build(Log, "log", layers.sections.get("log", {})),
        metrics=build(Metrics, "metrics", layers.sections.get("metrics", {})),
        purge=options.purge,
        options=options,
    )
    _check(config)
    return config


def reload(config: Config, env: Mapping[str, str]) -> tuple[Config, list[str]]:
    """Read everything again: what is in force from now on, and the keys that changed but cannot while running."""
    new = load(config.options, env, running=config)
    underlay = msgspec.structs.replace(config.underlay, peers=new.underlay.peers)
    live = {section: getattr(new, section) for section in LIVE_SECTIONS}
    taken = msgspec.structs.replace(config, underlay=underlay, **live)
    _check(taken)
    return taken, reloadable(config, new)


def reloadable(old: Config, new: Config) -> list[str]:
    """The keys that differ and may not change while the switch runs (none: all of it can be taken)."""
    changed = []
    for section in SECTION_NAMES:
        if section in LIVE_SECTIONS:
            continue
        before, after = msgspec.structs.asdict(getattr(old, section)), msgspec.structs.asdict(getattr(new, section))
        changed += [f"{section}.{key}" for key in before if before[key] != after[key]]
    return [key for key in changed if key not in LIVE_KEYS]


def _node(layers: Layers, running_name: str | None) -> Node:
    table = layers.sections.get("node", {})
    host = running_name or socket.gethostname().partition(".")[0]
    named = {"name": Given(host, "the short host name: give --node"), **table}
    state_dir = Given(str(STATE_ROOT / str(named["name"].value)), "default")
    return build(Node, "node", {"state_dir": state_dir, **named})


def _underlay(layers: Layers) -> Underlay:
    table = dict(layers.sections.get("underlay", {}))
    port = build(Underlay, "underlay", {key: table[key] for key in ("port",) if key in table}).port
    for key in ("vteps", "peers"):
        if key in table:
            table[key] = vteps(f"underlay.{key}", table[key], port)
    return build(Underlay, "underlay", table)


def _any_peers(layers: Layers) -> bool:
    return any("peers" in table and table["peers"].value for table in layers.networks.values())


def _check(config: Config) -> None:
    """What holds between keys."""
    if config.options.key_file is not None or config.crypto.key_file is not None:
        raise UsageError("crypto.key_file (--key-file): encrypted networks are not supported in this version")
    timers = config.timers
    if timers.beat * 2 > timers.lease:
        raise UsageError(f"timers.beat = {timers.beat:g}: want at most half of timers.lease = {timers.lease:g}")
    if timers.grace < timers.lease:
        raise UsageError(f"timers.grace = {timers.grace:g}: want at least timers.lease = {timers.lease:g}")
    mcast = config.mcast
    if mcast.response > mcast.query_interval:  # RFC 3376 section 8.3
        raise UsageError(
            f"mcast.response = {mcast.response:g}: want at most mcast.query_interval = {mcast.query_interval:g}"
        )
    _check_distinct("underlay.vteps", config.underlay.vteps)
    _check_peers(config)


def _check_peers(config: Config) -> None:
    """A VTEP is known by its address alone: one address, one peer, and never our own."""
    _check_distinct("underlay.peers", config.underlay.peers)
    for network in config.joined:
        key = f"networks.{network.name}.peers"
        _check_distinct(key, dict.fromkeys((*config.underlay.peers, *network.peers)))
    own = {vtep.address for vtep in config.underlay.vteps}
    named = [("underlay.peers", config.underlay.peers)]
    named += [(f"networks.{network.name}.peers", network.peers) for network in config.joined]
    for key, peers in named:
        for peer in peers:
            if peer.address in own:
                raise UsageError(f"{key}: {peer} is this node's own VTEP")


def _check_distinct(key: str, given: Iterable[Vtep]) -> None:
    seen: dict[str, Vtep] = {}
    for vtep in given:
        if vtep.address in seen:
            raise UsageError(f"{key}: {seen[vtep.address]} and {vtep} have one address, by which a VTEP is known")
        seen[vtep.address] = vtep


def _plain(value: object) -> object:
    """A value as TOML and JSON have it."""
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, bool | int | float | str | None) else str(value)
