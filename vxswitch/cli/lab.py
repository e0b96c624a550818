"""`vxswitch lab`: hosts, a store and overlay networks in namespaces on this machine, to play with.

`up` builds what the demo shows and leaves it standing; `exec` enters one of its hosts or containers; `down`
removes it. `demo` runs the demo and leaves nothing. The lab itself is imported only when a verb runs.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any


def register(subparsers: Any) -> None:
    """Add `lab` and its verbs to the command line; each sets `func`, called with the parsed arguments."""
    text = "hosts in namespaces on this machine"
    lab = subparsers.add_parser("lab", help=text, description=text)
    verbs = lab.add_subparsers(dest="verb", required=True, metavar="VERB")

    up = _verb(verbs, "up", "build hosts, store and networks, and leave them standing")
    up.add_argument("--hosts", type=int, default=3, metavar="N", help="number of hosts (default 3)")
    up.add_argument("--networks", default="red,blue", metavar="A,B", help="overlay networks (default red,blue)")
    up.add_argument("--name", help="id of the lab (default: made up)")

    down = _verb(verbs, "down", "remove a lab")
    down.add_argument("id", nargs="?", help="its id; may be left out when there is one")

    inside = _verb(verbs, "exec", "run a command in a host or a container")
    inside.add_argument("--lab", metavar="ID", help="its id; may be left out when there is one")
    inside.add_argument("host", metavar="HOST", help="h1, h2, ... or a container such as red1")
    inside.add_argument("argv", nargs=argparse.REMAINDER, metavar="-- CMD", help="default: a shell")

    _verb(verbs, "ls", "list the labs on this machine")
    _verb(verbs, "demo", "show the main job on real traffic, with figures")


def main(args: argparse.Namespace) -> int:
    """Run the verb that `args` name; returns the exit code. The log that an error brings along is shown first."""
    from vxswitch.lab import LabError, verbs

    actions = {"up": verbs.up, "down": verbs.down, "exec": verbs.enter, "ls": verbs.ls, "demo": verbs.demo}
    try:
        return actions[args.verb](args)
    except LabError as error:
        headline, _, log = str(error).partition("\n")
        print(log, end="\n" if log else "", file=sys.stderr)
        raise LabError(headline) from None


def _verb(verbs: Any, name: str, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(name, help=text, description=text)
    parser.set_defaults(func=main)
    return parser
