"""``vxswitch attach`` and ``detach``: give a container's namespace a port of a network, and take it back."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from vxswitch.cli.common import add_command, client_of, socket_of, unless_absent
from vxswitch.cli.output import fields, show, silent
from vxswitch.client import path_of
from vxswitch.errors import NotFoundError, UsageError

_KEYS = ("port", "network", "netns", "ifname", "mac", "ips", "mtu")


def register(commands: Any) -> None:
    """Add ``attach`` and ``detach``."""
    attach_parser = add_command(commands, "attach", "give a network namespace a port of a network", attach)
    detach_parser = add_command(commands, "detach", "remove a namespace's port from a network", detach)
    for parser in (attach_parser, detach_parser):
        parser.add_argument("network", metavar="NETWORK")
        parser.add_argument("--netns", required=True, metavar="NAME|PATH|PID", help="the container's network namespace")
        parser.add_argument(
            "--ifname", default="eth0", metavar="NAME", help="interface in the namespace (default eth0)"
        )
    add = attach_parser.add_argument
    add(
        "--ip",
        action="append",
        metavar="auto|none|CIDR",
        help="address, may be given again (default: auto if the network can allocate, else none)",
    )
    add("--mac", metavar="MAC", help="default: derived, the same for the same port")
    add("--gateway", metavar="ADDR", help="default route of the namespace")
    add("--rate", metavar="BITS", help="bits per second that the port may send, with k, M or G")
    add("--pps", metavar="N", help="frames per second that the port may send")
    detach_parser.add_argument("--if-exists", action="store_true", help="succeed when there is no such port")


def attach(args: argparse.Namespace) -> int:
    """``attach``: the same again is a success."""
    wanted = _wanted(args)
    from vxswitch.attach import maker

    attach_socket = str(Path(socket_of(args)).with_name("attach.sock"))
    port = maker.attach(attach_socket, args.network, netns=args.netns, ifname=args.ifname, **wanted)
    return show(args, {key: port.get(key) for key in _KEYS}, lambda shown: fields(shown.items()))


def detach(args: argparse.Namespace) -> int:
    """``detach``: also when the namespace itself is gone already."""
    from vxswitch.model import check_network_name

    body = {"network": check_network_name(args.network), "ifname": args.ifname, **_place(args.netns)}
    answer = unless_absent(lambda: client_of(args).post(path_of("detach"), body), args.if_exists)
    return show(args, answer, silent)


def _wanted(args: argparse.Namespace) -> dict[str, Any]:
    """The port's settings, checked."""
    from vxswitch.model import check_network_name, format_mac, parse_mac

    check_network_name(args.network)
    return {
        "ips": _addresses(args.ip or []),
        "mac": None if args.mac is None else format_mac(parse_mac(args.mac)),
        "gateway": None if args.gateway is None else _address(args.gateway),
        **_shaping(args.rate, args.pps),
    }


def _shaping(rate: str | None, pps: str | None) -> dict[str, int | None]:
    from vxswitch.config.rules import RATE, parse_number, parse_rate

    try:
        bits = None if rate is None else parse_rate(rate)
    except ValueError:
        raise UsageError(f"--rate {rate!r}: want {RATE.allowed}") from None
    try:
        return {"rate": bits, "pps": None if pps is None else parse_number(pps, 1, 10**9)}
    except ValueError:
        raise UsageError(f"--pps {pps!r}: want frames per second, at least 1") from None


def _addresses(given: list[str]) -> list[str]:
    from ipaddress import ip_interface

    if "none" in given and len(given) > 1:
        raise UsageError("--ip none: stands alone, without other addresses")
    for text in given:
        try:
            if text not in ("auto", "none") and (ip_interface(text).is_multicast or "/" not in text):
                raise ValueError
        except ValueError:
            raise UsageError(
                f"--ip {text!r}: want auto, none, or an address with its prefix as in 10.1.0.7/24"
            ) from None
    return given


def _address(text: str) -> str:
    from ipaddress import ip_address

    try:
        return str(ip_address(text))
    except ValueError:
        raise UsageError(f"--gateway {text!r}: want an IP address") from None


def _place(text: str) -> dict[str, Any]:
    """The namespace as the switch recorded it; where it would be when it does not exist any more."""
    from vxswitch.attach.netns import RUN_NETNS, resolve

    try:
        found = resolve(text)
    except NotFoundError:
        if "/" in text:
            return {"netns": str(Path(text).absolute())}
        return {"netns": f"/proc/{text}/ns/net" if text.isdigit() else f"{RUN_NETNS}/{text}"}
    return {"netns": found.path, "inode": found.inode}
