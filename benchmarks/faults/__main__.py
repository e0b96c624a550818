"""`python -m benchmarks.faults`: every fault in turn, at default timers.

`--write RESULT.json` puts the table of a run into docs/operations.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.facts import facts
from benchmarks.faults import fleets, nodes, store, table
from benchmarks.faults.fault import Fault
from benchmarks.faults.trial import Counters, Outcome, attempt
from benchmarks.faults.world import Network, world
from vxswitch.lab import LabError
from vxswitch.lab.meter import INTERVAL
from vxswitch.lab.verbs import ending_by_signals

SCHEMA = 1
QUIET, HOLD = 3.0, 5.0  # seconds
WORLDS = (
    (world, (*store.FAULTS, *nodes.FAULTS)),
    (fleets.sentinel, fleets.SENTINEL),
    (fleets.cluster, fleets.CLUSTERED),
)
FAULTS = [fault for _, faults in WORLDS for fault in faults]
_RESULTS = Path(__file__).parent.parent / "results"


def main() -> int:
    """Run and tell, 0 if everything was as it must be; or write down a run."""
    args = _arguments()
    if args.write:
        report = json.loads(args.write.read_text())
        if report["schema"] != SCHEMA:
            sys.exit(f"{args.write}: schema {report['schema']}, this program reads {SCHEMA}")
        print(f"written: {table.write(report)}")
        return 0
    ending_by_signals()
    report = run(args.only or [fault.name for fault in FAULTS], args.hold)
    out = args.out or _RESULTS / f"faults-{datetime.now(UTC):%Y%m%d-%H%M}.json"
    out.write_text(json.dumps(report, indent=1) + "\n")
    for complaint in report["complaints"]:
        print(f"FAULT {complaint}")
    print(f"written: {out}")
    return 1 if report["complaints"] else 0


def run(names: list[str], hold: float) -> dict[str, Any]:
    """Try the faults of these names, in order."""
    report: dict[str, Any] = {
        "schema": SCHEMA,
        "facts": facts(),
        "frames": round(1 / INTERVAL),
        "hold": hold,
        "outcomes": [],
        "complaints": [],
    }
    for place, faults in WORLDS:
        chosen = [fault for fault in faults if fault.name in names]
        if chosen:
            with place() as made:
                _try_all(made, chosen, report)
    return report


def _try_all(made: Network, faults: Sequence[Fault], report: dict[str, Any]) -> None:
    """Add to a report what these faults do to a network."""
    counters = Counters(made)
    info = made.admins()[0].info("server")
    report["macs"] = len(made.macs)
    report["server"] = f"{info.get('server_name', 'redis')} {info.get('valkey_version', info['redis_version'])}"
    for fault in faults:
        try:
            outcome = attempt(made, fault, counters, quiet=QUIET, hold=report["hold"])
        except LabError as error:
            report["complaints"].append(str(error))
            break
        print(_line(outcome), flush=True)
        report["outcomes"].append(_plain(outcome))
        report["complaints"] += outcome.complaints()


def _plain(outcome: Outcome) -> dict[str, Any]:
    derived = ("sent", "lost", "duplicates", "p99", "p99_before", "longest")
    return asdict(outcome) | {name: getattr(outcome, name) for name in derived}


def _line(one: Outcome) -> str:
    return (
        f"{one.name:15} lost {one.lost} of {one.sent}, p99 {one.p99 * 1e3:.1f} ms (before {one.p99_before * 1e3:.1f}), "
        f"whole after {one.healing:.1f} s, {one.operations:.1f} operations a MAC; {one.shown}"
    )


def _arguments() -> Any:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description="What each fault does.")
    parser.add_argument("only", nargs="*", metavar="FAULT", help=", ".join(fault.name for fault in FAULTS))
    parser.add_argument("--hold", type=float, default=HOLD, metavar="S", help="how long each fault lasts")
    parser.add_argument("--out", type=Path, help="where the JSON goes")
    parser.add_argument("--write", type=Path, metavar="RESULT.json", help="put a run into docs/operations.md")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
