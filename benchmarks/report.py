"""The tables of a run: `python -m benchmarks.report RESULT.json`.

RESULT.json              as its terminal showed them
--markdown RESULT.json   in Markdown
--write RESULT.json      into README.md and docs/performance.md, between `<!-- figures -->` and `<!-- /figures -->`
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks import markdown
from benchmarks.samples import SCHEMA, Results, table


def main() -> None:
    """Show or write the tables of a run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description="The tables of a run.")
    parser.add_argument("result", type=Path, metavar="RESULT.json")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--markdown", action="store_true", help="print Markdown instead")
    how.add_argument("--write", action="store_true", help="put them into README.md and docs/performance.md")
    args = parser.parse_args()
    report: dict[str, Any] = json.loads(args.result.read_text())
    if report["schema"] != SCHEMA:
        sys.exit(f"{args.result}: schema {report['schema']}, this program reads {SCHEMA}")
    if args.write:
        for path in markdown.write(report, args.result):
            print(f"written: {path}")
        return
    for line in markdown.tables(report) if args.markdown else table(Results.read(report)):
        print(line)


if __name__ == "__main__":
    main()
