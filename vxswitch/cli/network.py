"""``vxswitch network``: the overlay networks, as the cluster knows them and as this node has joined them."""

from __future__ import annotations

import argparse
from typing import Any

from vxswitch.cli.common import add_command, add_group, client_of, unless_absent
from vxswitch.cli.output import Column, fields, flat, show, silent, table
from vxswitch.client import path_of
from vxswitch.errors import UsageError

_COLUMNS: tuple[Column, ...] = (
    ("NAME", "name"),
    ("VNI", "vni"),
    ("MTU", "mtu"),
    ("LEARNING", "learning"),
    ("STATE", "state"),
    ("SUBNETS", "subnets"),
)
_WAIT_MARGIN = 5.0  # seconds for the answer itself, beyond what was waited for


def register(commands: Any) -> None:
    """Add ``network`` and its verbs."""
    verbs = add_group(commands, "network", "create, list, show, remove or wait for overlay networks")
    _register_create(verbs)
    add_command(verbs, "ls", "list the networks", ls)
    for name, text, handler in (
        ("show", "show one network", show_one),
        ("rm", "remove a network", rm),
        ("wait", "wait until a network forwards", wait),
    ):
        verb = add_command(verbs, name, text, handler)
        verb.add_argument("name", metavar="NAME")
        if name == "rm":
            verb.add_argument("--if-exists", action="store_true", help="succeed when there is none")
        if name == "wait":
            verb.add_argument("--timeout", metavar="SECONDS", type=float, default=30.0, help="default 30")


def _register_create(verbs: Any) -> None:
    create_parser = add_command(verbs, "create", "create a network and join it", create)
    add = create_parser.add_argument
    add("name", metavar="NAME")
    add("--vni", metavar="N", help="1 to 16777215 (default: allocated by the store)")
    add("--subnet", metavar="CIDR", action="append", default=[], help="addresses for containers; may be given again")
    add("--mtu", metavar="auto|N", help="inner MTU (default: the underlay's less the overhead)")
    add("--learning", choices=("control", "hybrid", "flood"), help="who teaches MACs")
    add("--unknown", choices=("drop", "flood", "ask"), help="what becomes of unicast to a MAC that nobody has")
    add("--antispoof", choices=("off", "mac", "full"), help="which sources an attached port may use (default mac)")
    add("--may-exist", action="store_true", help="succeed when the same network exists")
    add("--encrypted", action="store_true", help="not supported in this version")
    add("--internal", action="store_true", help="not supported in this version")
    add("--isolation", choices=("none", "ports"), default="none", help="ports: not supported in this version")


def create(args: argparse.Namespace) -> int:
    """``network create``."""
    answer = client_of(args).post(path_of("networks"), _wanted(args))
    return show(args, answer, lambda network: f"{network['name']}: VNI {network['vni']}")


def ls(args: argparse.Namespace) -> int:
    """``network ls``."""
    return show(args, client_of(args).get(path_of("networks")), lambda networks: table(networks, _COLUMNS))


def show_one(args: argparse.Namespace) -> int:
    """``network show``."""
    return show(args, client_of(args).get(_path(args.name)), lambda network: fields(flat(network)))


def rm(args: argparse.Namespace) -> int:
    """``network rm``."""
    path = _path(args.name)
    return show(args, unless_absent(lambda: client_of(args).delete(path), args.if_exists), silent)


def wait(args: argparse.Namespace) -> int:
    """``network wait``: exit code 1 when it does not forward in time."""
    if not 0 <= args.timeout <= 86400:
        raise UsageError(f"--timeout {args.timeout:g}: want seconds from 0 to 86400")
    path = f"{_path(args.name)}/wait"
    answer = client_of(args).request("GET", path, query={"timeout": args.timeout}, timeout=args.timeout + _WAIT_MARGIN)
    return show(args, answer, silent)


def _path(name: str) -> str:
    from vxswitch.model import check_network_name

    return path_of("networks", check_network_name(name))


def _wanted(args: argparse.Namespace) -> dict[str, Any]:
    """The body of the request. What was not given is left out: the switch's own defaults hold."""
    from vxswitch.config.rules import MTU, check_built, check_subnets, parse_mtu, parse_subnet, parse_vni
    from vxswitch.model import check_network_name

    for option in ("encrypted", "internal"):
        if getattr(args, option):
            raise UsageError(f"--{option}: not supported in this version")
    check_built("isolation", args.isolation)
    body: dict[str, Any] = {
        "name": check_network_name(args.name),
        "subnets": list(check_subnets(parse_subnet(subnet) for subnet in args.subnet)),
        "may_exist": args.may_exist,
    }
    if args.vni is not None:
        body["vni"] = parse_vni(args.vni)
    if args.mtu is not None:
        try:
            body["mtu"] = parse_mtu(args.mtu) or "auto"
        except ValueError:
            raise UsageError(f"--mtu {args.mtu!r}: want {MTU.allowed}") from None
    for option in ("learning", "unknown", "antispoof"):
        if (value := getattr(args, option)) is not None:
            body[option] = value
    return body
