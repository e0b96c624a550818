"""What every command shares: the parser, the global options, the client.

The options stand before or after the command; a command's own parser leaves them out when they are not given, so that
the ones before it count. A wrong command line is a UsageError like any other: one line, exit code 2.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable
from typing import Any, NoReturn

from vxswitch.client import DEFAULT_SOCKET, Client
from vxswitch.errors import NotFoundError, UsageError

Handler = Callable[[argparse.Namespace], int]

_CHOICE = re.compile(r"invalid choice: '(.*)' \(choose from (.*)\)\Z", re.DOTALL)


class Parser(argparse.ArgumentParser):
    """argparse, but errors are raised for ``main`` to print, and options are never guessed from their beginnings."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **options})

    def error(self, message: str) -> NoReturn:
        """UsageError with argparse's complaint."""
        raise UsageError(f"{message}{_nearest_choice(message)}: see `{self.prog} --help`")


def add_global_options(parser: argparse.ArgumentParser, *, default: Any = argparse.SUPPRESS) -> None:
    """``--socket`` and ``--json``."""
    text = f"control socket of the switch (env VXSWITCH_SOCKET, default {DEFAULT_SOCKET})"
    parser.add_argument("--socket", metavar="PATH", default=default, help=text)
    parser.add_argument("--json", action="store_true", default=default, help="print JSON")


def add_command(subparsers: Any, name: str, text: str, handler: Handler) -> argparse.ArgumentParser:
    """A command and what runs it."""
    parser: argparse.ArgumentParser = subparsers.add_parser(name, help=text, description=text)
    add_global_options(parser)
    parser.set_defaults(func=handler)
    return parser


def add_group(subparsers: Any, name: str, text: str) -> Any:
    """A command with verbs of its own; returns where they are added."""
    parser = subparsers.add_parser(name, help=text, description=text)
    add_global_options(parser)
    return parser.add_subparsers(dest="verb", metavar="VERB", required=True)


def socket_of(args: argparse.Namespace) -> str:
    """The control socket that the command means."""
    return args.socket or os.environ.get("VXSWITCH_SOCKET") or DEFAULT_SOCKET


def client_of(args: argparse.Namespace) -> Client:
    """The switch that the command means."""
    return Client(socket_of(args))


def network_of(args: argparse.Namespace) -> str | None:
    """The network that the command names, None: all. UsageError."""
    from vxswitch.model import check_network_name

    return None if args.network is None else check_network_name(args.network)


def unless_absent(call: Callable[[], Any], tolerated: bool) -> Any:
    """The call's result; None when what it names does not exist and that is ``tolerated`` (``--if-exists``)."""
    try:
        return call()
    except NotFoundError:
        if not tolerated:
            raise
        return None


def _nearest_choice(message: str) -> str:
    found = _CHOICE.search(message)
    if found is None:
        return ""
    from vxswitch.config.rules import did_you_mean

    return did_you_mean(found[1], re.findall(r"[\w.-]+", found[2]))
