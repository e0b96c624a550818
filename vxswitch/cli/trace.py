"""``vxswitch trace``: a frame sent through the real pipeline, dry, stage by stage."""

from __future__ import annotations

import argparse
from typing import Any

from vxswitch.cli.common import add_command, client_of
from vxswitch.cli.output import Column, show, table
from vxswitch.client import path_of
from vxswitch.errors import UsageError

_COLUMNS: tuple[Column, ...] = (("STAGE", "stage"), ("VERDICT", "verdict"), ("DETAIL", "detail"))


def register(commands: Any) -> None:
    """Add ``trace``."""
    parser = add_command(commands, "trace", "which way a frame would go, stage by stage", trace)
    parser.add_argument("network", metavar="NETWORK")
    parser.add_argument("--src", required=True, metavar="MAC|IP")
    parser.add_argument("--dst", required=True, metavar="MAC|IP")
    parser.add_argument("--port", metavar="ID", help="local port it comes from (default: the one that has the source)")
    inner = parser.add_mutually_exclusive_group()
    inner.add_argument("--tcp", metavar="PORT", help="a TCP segment to that port")
    inner.add_argument("--udp", metavar="PORT", help="a UDP datagram to that port")


def trace(args: argparse.Namespace) -> int:
    """``trace``."""
    from vxswitch.model import check_network_name

    body: dict[str, Any] = {
        "network": check_network_name(args.network),
        "src": _end("--src", args.src),
        "dst": _end("--dst", args.dst),
    }
    if args.port is not None:
        body["port"] = args.port
    for proto in ("tcp", "udp"):
        if (port := getattr(args, proto)) is not None:
            body |= {"proto": proto, "dport": _port(f"--{proto}", port)}
    return show(args, client_of(args).post(path_of("trace"), body), lambda stages: table(stages, _COLUMNS))


def _end(option: str, text: str) -> str:
    """A MAC or an IP address in canonical text."""
    from ipaddress import ip_address

    from vxswitch.model import format_mac, parse_mac

    try:
        return str(ip_address(text))
    except ValueError:
        pass
    try:
        return format_mac(parse_mac(text))
    except UsageError:
        raise UsageError(f"{option} {text!r}: want a MAC or an IP address") from None


def _port(option: str, text: str) -> int:
    from vxswitch.config.rules import parse_number

    try:
        return parse_number(text, 1, 65535)
    except ValueError:
        raise UsageError(f"{option} {text!r}: want a port from 1 to 65535") from None
