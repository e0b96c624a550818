"""``vxswitch fdb``: who has which MAC, as this node forwards by it (like ``bridge fdb``).

``vxswitch fdb [NETWORK]`` is short for ``fdb show``; ``with_verb`` puts the verb in before the line is parsed, so a
network that is called as a verb needs ``fdb show add``. With ``--why MAC`` it tells where that row came from.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from vxswitch.cli.common import add_command, add_group, client_of, network_of, unless_absent
from vxswitch.cli.output import Column, seconds, show, silent, table
from vxswitch.client import path_of

VERBS = ("show", "add", "del", "flush", "thaw")

_COLUMNS: tuple[Column, ...] = (
    ("NETWORK", "network"),
    ("VNI", "vni"),
    ("MAC", "mac"),
    ("HOP", "hop"),
    ("PORT", "port"),
    ("VTEP", "vtep"),
    ("NODE", "node"),
    ("SOURCE", "source"),
    ("FLAGS", "flags"),
    ("AGE", lambda row: seconds(row.get("age"))),
)


def with_verb(argv: Sequence[str]) -> list[str]:
    """The command line with ``show`` after an ``fdb`` that has no verb."""
    words = list(argv)
    command = _next_word(words, 0)
    if command is None or words[command] != "fdb" or {"-h", "--help"} & set(words):
        return words
    verb = _next_word(words, command + 1)
    if verb is None or words[verb] not in VERBS:
        words.insert(command + 1, "show")
    return words


def register(commands: Any) -> None:
    """Add ``fdb`` and its verbs."""
    verbs = add_group(commands, "fdb", "the forwarding table: [show] [NETWORK], add, del, flush, thaw")
    show_parser = add_command(verbs, "show", "show the rows of one network, or of all", show_rows)
    add_parser = add_command(verbs, "add", "add a static row", add)
    del_parser = add_command(verbs, "del", "remove a row", delete)
    flush_parser = add_command(verbs, "flush", "forget the learned rows", flush)
    thaw_parser = add_command(verbs, "thaw", "let a frozen MAC move again", thaw)
    for parser in (show_parser, flush_parser):
        parser.add_argument("network", metavar="NETWORK", nargs="?", help="default: all")
    for parser in (add_parser, del_parser, thaw_parser):
        parser.add_argument("network", metavar="NETWORK")
        parser.add_argument("mac", metavar="MAC")
    show_parser.add_argument("--why", metavar="MAC", help="where this row came from, and its history")
    hop = add_parser.add_mutually_exclusive_group(required=True)
    hop.add_argument("--port", metavar="ID", help="the MAC is behind this local port (see `vxswitch ports`)")
    hop.add_argument("--vtep", metavar="ADDR[:PORT]", help="the MAC is behind this VTEP")
    add_parser.add_argument("--sticky", action="store_true", help="the row never moves")
    del_parser.add_argument("--if-exists", action="store_true", help="succeed when there is no such row")


def show_rows(args: argparse.Namespace) -> int:
    """``fdb show``."""
    if args.why is not None:
        from vxswitch.cli.why import why

        return why(args)
    rows = client_of(args).get(path_of("fdb"), network=network_of(args))
    return show(args, rows, lambda found: table(found, _COLUMNS))


def add(args: argparse.Namespace) -> int:
    """``fdb add``."""
    from vxswitch.model import Vtep

    hop = {"port": args.port} if args.port is not None else {"vtep": str(Vtep.parse(args.vtep))}
    return show(args, client_of(args).post(path_of("fdb"), {**_row(args), **hop, "sticky": args.sticky}), silent)


def delete(args: argparse.Namespace) -> int:
    """``fdb del``."""
    row = _row(args)
    return show(args, unless_absent(lambda: client_of(args).delete(path_of("fdb"), **row), args.if_exists), silent)


def flush(args: argparse.Namespace) -> int:
    """``fdb flush``."""
    network = network_of(args)
    body = {} if network is None else {"network": network}
    return show(args, client_of(args).post(path_of("fdb", "flush"), body), silent)


def thaw(args: argparse.Namespace) -> int:
    """``fdb thaw``."""
    return show(args, client_of(args).post(path_of("fdb", "thaw"), _row(args)), silent)


def _next_word(words: list[str], start: int) -> int | None:
    """The index of the next word that is neither an option nor ``--socket``'s value."""
    for index in range(start, len(words)):
        if not words[index].startswith("-") and (index == 0 or words[index - 1] != "--socket"):
            return index
    return None


def _row(args: argparse.Namespace) -> dict[str, Any]:
    from vxswitch.model import check_network_name, format_mac, parse_mac

    return {"network": check_network_name(args.network), "mac": format_mac(parse_mac(args.mac))}
