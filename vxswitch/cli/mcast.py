"""``vxswitch mcast``: who listens to which multicast group, here and on other nodes.

The rows of 0.0.0.0 and :: are those who get every group of that IP version: behind routers, VTEPs that do not tell
their groups, or all ports, as long as nobody can know what they listen to.
"""

from __future__ import annotations

import argparse
from typing import Any

from vxswitch.cli.common import add_command, client_of
from vxswitch.cli.output import Column, seconds, show, table
from vxswitch.client import path_of

_COLUMNS: tuple[Column, ...] = (
    ("NETWORK", "network"),
    ("VNI", "vni"),
    ("GROUP", "group"),
    ("PORTS", "ports"),
    ("VTEPS", "vteps"),
    ("SOURCE", "source"),
    ("AGE", lambda row: seconds(row.get("age"))),
)


def register(commands: Any) -> None:
    """Add ``mcast``."""
    parser = add_command(commands, "mcast", "who listens to which multicast group", show_groups)
    parser.add_argument("network", metavar="NETWORK", nargs="?", help="default: all")


def show_groups(args: argparse.Namespace) -> int:
    """``mcast``."""
    from vxswitch.model import check_network_name

    network = None if args.network is None else check_network_name(args.network)
    rows = client_of(args).get(path_of("mcast"), network=network)
    return show(args, rows, lambda found: table(found, _COLUMNS))
