"""`python -m benchmarks.control`: measure, tell, write JSON.

`--write RESULT.json` puts the tables of a run into docs/operations.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.control import phases, table
from benchmarks.control.server import allow_descriptors, processors
from benchmarks.control.shape import Shape
from benchmarks.facts import facts
from vxswitch.lab.verbs import ending_by_signals

SCHEMA = 1
_RESULTS = Path(__file__).parent.parent / "results"


def main() -> None:
    """Run, or write down a run."""
    args = _arguments()
    if args.write:
        report = json.loads(args.write.read_text())
        if report["schema"] != SCHEMA:
            sys.exit(f"{args.write}: schema {report['schema']}, this program reads {SCHEMA}")
        print(f"written: {table.write(report)}")
        return
    ending_by_signals()
    allow_descriptors()
    shape = Shape(args.nodes, args.networks, args.each, args.macs)
    rules = phases.rules(args.beat)
    report = {"schema": SCHEMA, "facts": facts()}
    report["cluster"] = phases.cluster(shape, rules, args.processes, args.seconds, _say)
    report["networks"] = phases.networks(min(args.macs, 4000), rules, args.seconds, _say)
    out = args.out or _RESULTS / f"control-{datetime.now(UTC):%Y%m%d-%H%M}.json"
    out.write_text(json.dumps(report, indent=1) + "\n")
    for line in table.lines(report):
        _say(line)
    _say(f"\nwritten: {out}")


def _arguments() -> Any:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.control", description="What a cluster costs.")
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--networks", type=int, default=1000)
    parser.add_argument("--each", type=int, default=10, help="networks that a node is in")
    parser.add_argument("--macs", type=int, default=100_000)
    parser.add_argument("--beat", type=float, default=5.0, help="seconds; a thousand nodes share this machine")
    parser.add_argument("--seconds", type=float, default=20.0, help="of steady state")
    parser.add_argument("--processes", type=int, default=processors(), help="that share the nodes")
    parser.add_argument("--out", type=Path, help="where the JSON goes")
    parser.add_argument("--write", type=Path, metavar="RESULT.json", help="put a run into docs/operations.md")
    return parser.parse_args()


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
