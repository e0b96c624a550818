"""``vxswitch verify``: is what this node forwards by what the store says, and what the other nodes have?

Exit code 1 when any network differs.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

from vxswitch.cli.common import add_command, client_of, network_of
from vxswitch.cli.output import Column, show, table
from vxswitch.client import TIMEOUT, path_of

_PATIENCE = 60.0  # seconds for all networks: each that differs is looked at for 3 s at most

_COLUMNS: tuple[Column, ...] = (
    ("NETWORK", "network"),
    ("REV", "rev"),
    ("DIGEST", "digest"),
    ("STORE REV", "store_rev"),
    ("STORE DIGEST", "store_digest"),
    ("ROWS", "rows"),
    ("PEERS", lambda network: _peers_text(network.get("peers") or {})),
    ("SAME", "same"),
)
_ROWS: tuple[Column, ...] = (("MAC", "mac"), ("WHAT", "what"), ("TABLE", "table"), ("COPY", "copy"))


def register(commands: Any) -> None:
    """Add ``verify``."""
    parser = add_command(commands, "verify", "compare table, store and peers", verify)
    parser.add_argument("network", metavar="NETWORK", nargs="?", help="default: all of this node")
    parser.add_argument("--repair", action="store_true", help="read anew from the store, put right what differs")


def verify(args: argparse.Namespace) -> int:
    """``verify``."""
    network, client = network_of(args), client_of(args)
    if args.repair:
        body = {} if network is None else {"network": network}
        found = client.request("POST", path_of("verify"), body=body, timeout=TIMEOUT + _PATIENCE)
    else:
        found = client.request("GET", path_of("verify"), query={"network": network}, timeout=TIMEOUT + _PATIENCE)
    show(args, found, _text)
    return 0 if all(each["same"] for each in found) else 1


def _text(found: list[dict[str, Any]]) -> str:
    if not found:
        return "no network forwards here"
    return "\n".join([table(found, _COLUMNS), *(line for each in found for line in _details(each))])


def _details(network: Mapping[str, Any]) -> Iterator[str]:
    """Why a network is not the same, and what a repair has changed."""
    name = network["network"]
    yield from (f"{name}: {reason}" for reason in network.get("reasons") or ())
    if network.get("drift"):
        yield table(network["drift"], _ROWS)
    if "changes" in network:
        yield f"{name}: repaired: {network['changes']} rows changed, {network['claimed_again']} MACs claimed again"
    if network.get("changed"):
        yield table(network["changed"], _ROWS)


def _peers_text(peers: Mapping[str, Mapping[str, Any]]) -> str:
    return f"{sum(peer['same'] for peer in peers.values())} of {len(peers)}"
