"""``vxswitch fdb --why MAC [NETWORK]``: where a row came from, and what a frame to it would do now."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from typing import Any

from vxswitch.cli.common import client_of, network_of
from vxswitch.cli.output import Column, cell, fields, printable, seconds, show, table
from vxswitch.client import path_of

_HISTORY: tuple[Column, ...] = (
    ("REV", "rev"),
    ("TIME", lambda entry: _when(entry.get("time"))),
    ("KIND", "kind"),
    ("NODE", "node"),
    ("DETAIL", "detail"),
)
_TRACE: tuple[Column, ...] = (("STAGE", "stage"), ("VERDICT", "verdict"), ("DETAIL", "detail"))


def why(args: argparse.Namespace) -> int:
    """``fdb --why``."""
    from vxswitch.model import format_mac, parse_mac

    mac = format_mac(parse_mac(args.why))
    found = client_of(args).get(path_of("fdb", "why"), mac=mac, network=network_of(args))
    return show(args, found, lambda networks: "\n\n".join(map(_text, networks)))


def _text(answer: Mapping[str, Any]) -> str:
    parts = [f"{printable(answer['mac'])} in network {printable(answer['network'])} (VNI {answer['vni']})"]
    parts.append(
        fields(
            [
                ("table", _row_text(answer.get("row"))),
                ("store", _claim_text(answer.get("claim"), bool(answer.get("waiting")))),
                ("port", _port_text(answer.get("port"))),
                ("owner", _owner_text(answer.get("owner"))),
            ]
        )
    )
    if answer.get("history"):
        parts.append(f"\nhistory, as far back as the log reaches\n{table(answer['history'], _HISTORY)}")
    elif answer.get("history_reason"):
        parts.append(f"\nno history: {printable(answer['history_reason'])}")
    if answer.get("trace"):
        parts.append(f"\na frame to it now\n{table(answer['trace'], _TRACE)}")
    return "\n".join(parts)


def _row_text(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "no row: unknown unicast"
    where = f"port {row['port']}" if row["hop"] == "local" else f"VTEP {row['vtep']} of node {cell(row['node'])}"
    flags = f", {','.join(row['flags'])}" if row["flags"] else ""
    silent = f", last frame {seconds(row['silent'])} ago" if row.get("silent") is not None else ""
    return f"{row['source']}, {where}, rev {cell(row['rev'])}{flags}, for {seconds(row['held'])}{silent}"


def _claim_text(claim: Mapping[str, Any] | None, waiting: bool) -> str:
    told = " (a claim or release of ours is under way)" if waiting else ""
    if claim is None:
        return f"nobody has claimed it{told}"
    text = f"node {claim['node']} (epoch {claim['epoch']}) since {_when(claim['since'])}, rev {claim['rev']}"
    flags = f", {','.join(claim['flags'])}" if claim["flags"] else ""
    return f"{text}, VTEPs {cell(claim['vteps'])}, addresses {cell(claim['ips'])}{flags}{told}"


def _port_text(port: Mapping[str, Any] | None) -> str | None:
    if port is None:
        return None
    return f"{port['id']}, {cell(port['netns'])} {port['ifname']}, {port['state']}, {port['rx_frames']} frames from it"


def _owner_text(owner: Mapping[str, Any] | None) -> str | None:
    if owner is None:
        return None
    if owner["state"] == "self":
        return "this node"
    left = f", lease {seconds(owner['lease'])}" if owner.get("lease") is not None else ""
    return f"{owner['node']} is {owner['state']}{left}, VTEP {cell(owner['vtep'])}"


def _when(since: float | None) -> str | None:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(since)) if since else None
