"""``vxswitch run``: the switch itself, in the foreground; ``--check`` only says what it would be."""

from __future__ import annotations

import argparse
import os
from typing import Any

from vxswitch.cli.common import add_command


def register(commands: Any) -> None:
    """Add ``run``."""
    parser = add_command(commands, "run", "run the switch in the foreground", run)
    add = parser.add_argument
    add("--config", metavar="FILE", help="TOML file; the command line goes before it, --set before both")
    add("--check", action="store_true", help="check the configuration, print what is in force, and end")
    add("--node", metavar="NAME", help="this node's name (default: the short host name)")
    add("--vtep", metavar="ADDR[:PORT]", action="append", default=[], help="own underlay address; may be given again")
    add(
        "--store", metavar="URL", help="redis:// rediss:// unix:// redis+sentinel:// redis+cluster:// static: embedded:"
    )
    add("--cluster", metavar="NAME", help="prefix of this cluster's keys in the store")
    add("--network", metavar="NAME[=VNI]", action="append", default=[], help="network to join; may be given again")
    add("--peer", metavar="ADDR[:PORT]", action="append", default=[], help="VTEP of every network; may be given again")
    add("--learning", metavar="control|hybrid|flood", help="who teaches MACs: the store, or the frames themselves")
    add("--key-file", metavar="FILE", help="not supported in this version")
    add("--state-dir", metavar="DIR", help="where the node keeps its id and ports (default: /var/lib/vxswitch/NODE)")
    add("--metrics", metavar="ADDR:PORT", help="serve Prometheus metrics there too")
    add("--workers", metavar="N", help="processes that share the frames of this switch (default: 1)")
    add("--purge", action="store_true", help="at the end, release what this node claimed and remove its TAPs")
    add(
        "--set",
        metavar="SECTION.KEY=VALUE",
        action="append",
        default=[],
        help="any key of the file; may be given again",
    )


def run(args: argparse.Namespace) -> int:
    """Load the configuration, then check or serve."""
    import dataclasses

    from vxswitch.config import CommandLine, load

    given: dict[str, Any] = {}
    for field in dataclasses.fields(CommandLine):
        value = getattr(args, field.name)
        given[field.name] = tuple(value) if isinstance(value, list) else value
    config = load(CommandLine(**given), os.environ)
    if args.check:
        from vxswitch.cli.output import show
        from vxswitch.config.toml import render

        return show(args, config.effective(), lambda effective: render(effective).rstrip())
    from vxswitch.switch import serve

    return serve(config)
