"""``vxswitch status``, ``ports``, ``peers``, ``drops``, ``stats``: what is, at a glance."""

from __future__ import annotations

import argparse
from typing import Any

from vxswitch.cli.common import add_command, client_of
from vxswitch.cli.output import Column, cell, fields, flat, seconds, show, table
from vxswitch.client import path_of

_NETWORKS: tuple[Column, ...] = (
    ("NETWORK", "name"),
    ("VNI", "vni"),
    ("MTU", "mtu"),
    ("LEARNING", "learning"),
    ("STATE", "state"),
)
_PORTS: tuple[Column, ...] = (
    ("ID", "id"),
    ("NETWORK", "network"),
    ("NETNS", "netns"),
    ("IFNAME", "ifname"),
    ("MAC", "mac"),
    ("IPS", "ips"),
    ("MTU", "mtu"),
    ("STATE", "state"),
    ("RX", "rx_frames"),
    ("TX", "tx_frames"),
    ("DROPS", lambda port: sum((port.get("drops") or {}).values())),
)
_PEERS: tuple[Column, ...] = (
    ("NODE", "node"),
    ("VTEP", "vtep"),
    ("STATE", "state"),
    ("LEASE", lambda peer: seconds(peer.get("lease"))),
    ("RTT us", "rtt_us"),
    ("LOSS", "loss"),
    ("MTU", "mtu"),
    ("ENCRYPTED", "encrypted"),
    ("NETWORKS", "networks"),
)


_DEGRADED = {
    "no_vtep_address": "a VTEP address of ours is not on this host, nothing leaves by it",
    "underlay_down": "a device of the underlay is down or has no carrier",
    "underlay_mtu": "a network's MTU is larger than the underlay carries",
    "no_peer_answers": "peers answered probes, and none does any more: is it our own underlay?",
}


def register(commands: Any) -> None:
    """Add the five."""
    add_command(commands, "status", "this node, its store and its networks", status)
    add_command(commands, "ports", "the local ports", ports)
    add_command(commands, "peers", "the other VTEPs", peers)
    drops_parser = add_command(commands, "drops", "frames dropped, by reason", drops)
    drops_parser.add_argument("--explain", action="store_true", help="every reason, with what it means")
    add_command(commands, "stats", "all counters that are not drops", stats)


def status(args: argparse.Namespace) -> int:
    """``status``."""
    return show(args, client_of(args).get(path_of("status")), _status_text)


def ports(args: argparse.Namespace) -> int:
    """``ports``."""
    return show(args, client_of(args).get(path_of("ports")), lambda rows: table(rows, _PORTS))


def peers(args: argparse.Namespace) -> int:
    """``peers``."""
    return show(args, client_of(args).get(path_of("peers")), lambda rows: table(rows, _PEERS))


def drops(args: argparse.Namespace) -> int:
    """``drops``: for people only the reasons that counted anything, unless they are to be explained."""
    counts: dict[str, int] = client_of(args).get(path_of("drops"))
    if not args.explain:
        return show(args, counts, lambda _: _drops_text(counts))
    from vxswitch.counters import EXPLAIN

    sentences = {reason.label: sentence for reason, sentence in EXPLAIN.items()}
    explained = {reason: {"count": n, "explain": sentences.get(reason)} for reason, n in counts.items()}
    rows = [{"reason": reason, **entry} for reason, entry in explained.items()]
    columns: tuple[Column, ...] = (("REASON", "reason"), ("FRAMES", "count"), ("MEANING", "explain"))
    return show(args, explained, lambda _: table(rows, columns))


def stats(args: argparse.Namespace) -> int:
    """``stats``."""
    return show(args, client_of(args).get(path_of("stats")), lambda answer: fields(flat(answer)))


def _status_text(answer: dict[str, Any]) -> str:
    store = answer.get("store") or {}
    frames = answer.get("frames") or {}
    head = fields(
        [
            ("node", f"{answer.get('node')} (epoch {answer.get('epoch')})"),
            ("version", answer.get("version")),
            ("uptime", seconds(answer.get("uptime"))),
            ("vteps", answer.get("vteps")),
            ("underlay", ", ".join(map(_device_text, answer.get("underlay") or []))),
            ("store", _store_text(store)),
            ("ports", answer.get("ports")),
            ("macs", answer.get("macs")),
            ("frames", f"{cell(frames.get('in'))} in, {cell(frames.get('out'))} out"),
            ("drops", answer.get("drops")),
            *(("degraded", f"{word}: {_DEGRADED.get(word, '')}") for word in answer.get("degraded") or []),
        ]
    )
    return f"{head}\n\n{table(answer.get('networks') or [], _NETWORKS)}"


def _device_text(device: dict[str, Any]) -> str:
    return f"{device['ifname']} MTU {device['mtu']}{'' if device['up'] else ' down'}"


def _store_text(store: dict[str, Any]) -> str:
    text = f"{cell(store.get('url'))} {cell(store.get('state'))}"
    if store.get("reason"):
        text += f": {store['reason']}"
    if store.get("rtt_ms") is not None:
        text += f" ({cell(store['rtt_ms'])} ms)"
    return text


def _drops_text(counts: dict[str, int]) -> str:
    rows = [{"reason": reason, "count": n} for reason, n in counts.items() if n]
    return table(rows, (("REASON", "reason"), ("FRAMES", "count"))) if rows else "no frame was dropped"
