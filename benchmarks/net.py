"""Data planes side by side on one machine: `make bench-quick`, `make bench`.

For each kind of underlay every peer gets a lab of its own, and all of them stand at the same time. Each round
measures every peer once, and the order turns with the round: a drift of the machine meets everybody. Only one
test runs at a time. What is reported is the median over the rounds, its spread, and ratios within this run.
A full run ends with what is measured in memory: the tables' size, the way of a frame, cutting and joining.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

from benchmarks import measurements, peers, pure
from benchmarks.facts import facts
from benchmarks.figures import FIGURES
from benchmarks.measurements import Measurement
from benchmarks.peers import Pair, Peer
from benchmarks.samples import SCHEMA, Results, table
from vxswitch.lab import Lab, LabError
from vxswitch.lab.verbs import ending_by_signals

UNDERLAYS = {"plain": False, "wire-like": True}
RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Run, print, write; 0 unless something failed."""
    args = _arguments()
    ending_by_signals()
    begun, results, about = time.monotonic(), Results(), facts()
    if float(str(about["load_before"])) > 0.5:
        print(f"note: the machine was busy before the run (load {about['load_before']:.1f})", flush=True)
    chosen = _available(args.peers, peers.QUICK if args.quick else peers.ALL, results)
    tests = measurements.QUICK if args.quick else measurements.FULL
    for underlay in args.underlays:
        _measure(underlay, chosen, tests, args.rounds, results)
    for line in table(results):
        print(line)
    report = {"schema": SCHEMA, "rounds": args.rounds, "facts": about, **results.as_json()}
    if not args.quick:
        report["pure"] = pure.measure()
    seconds = time.monotonic() - begun
    path = _write(args, {**report, "seconds": seconds})
    print(f"\n{seconds:.0f} s, written to {path}")
    return 1 if results.failures else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.net", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer peers and figures, under 3 minutes")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="rounds over all peers (default 3)")
    parser.add_argument("--peers", type=_words, metavar="A,B", help="only these (default: all that are there)")
    parser.add_argument("--underlays", type=_words, default=list(UNDERLAYS), help="default: plain,wire-like")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: benchmarks/results/KIND-DATE.json")
    return parser.parse_args()


def _words(text: str) -> list[str]:
    return text.split(",")


def _available(names: list[str] | None, offered: tuple[type[Peer], ...], results: Results) -> list[type[Peer]]:
    """The peers that can be measured here; the reasons for the others go into the results."""
    chosen = [peer for peer in peers.ALL if peer.name in names] if names else list(offered)
    results.titles = {peer.name: peer.title for peer in chosen}
    for peer in chosen:
        if (reason := peer.missing()) is not None:
            results.skipped[peer.name] = reason
            print(f"skipping {peer.title}: {reason}", flush=True)
    return [peer for peer in chosen if peer.name not in results.skipped]


def _measure(
    underlay: str, chosen: list[type[Peer]], tests: tuple[Measurement, ...], rounds: int, results: Results
) -> None:
    with ExitStack() as stack:
        standing: list[tuple[Peer, Pair]] = []
        for kind in chosen:
            try:
                peer, pair, seconds = _stand(stack, kind, wire_like=UNDERLAYS[underlay])
            except LabError as error:
                results.failures.append(f"{underlay} {kind.name}: {error}")
                print(f"{underlay:<10} {kind.name:<12} cannot be set up: {error}", flush=True)
                continue
            standing.append((peer, pair))
            results.add(underlay, kind.name, {"start": seconds})
        for number in range(rounds):
            turn = number % max(1, len(standing))
            for peer, pair in standing[turn:] + standing[:turn]:
                where = f"{underlay:<10} round {number + 1}/{rounds}  {peer.name:<12}"
                _one_round(where, peer, pair, underlay, tests, results)


def _stand(stack: ExitStack, kind: type[Peer], *, wire_like: bool) -> tuple[Peer, Pair, float]:
    """Two hosts with this data plane, forwarding, and the seconds from its start to the first ping."""
    peer = kind(stack.enter_context(Lab(hosts=2, direct=True, wire_like=wire_like)))
    stack.callback(peer.stop)
    begun = time.monotonic()
    pair = peer.start()
    peer.wait(pair)
    seconds = time.monotonic() - begun
    if pair.beside is not None:
        peer.wait(pair.beside)
    return peer, pair, seconds


def _one_round(
    where: str, peer: Peer, pair: Pair, underlay: str, tests: tuple[Measurement, ...], results: Results
) -> None:
    for test in tests:
        try:
            values = test.run(peer, pair)
        except LabError as error:
            results.failures.append(f"{underlay} {peer.name} {test.title}: {error}")
            print(f"{where} {test.title}: {error}", flush=True)
            continue
        results.add(underlay, peer.name, values)
        shown = (FIGURES[name].show(value) for name, value in values.items())
        print(f"{where} {test.title:<15} {', '.join(shown)}", flush=True)


def _write(args: argparse.Namespace, report: dict[str, object]) -> Path:
    kind = "quick" if args.quick else "full"
    path: Path = args.out or RESULTS / f"{kind}-{datetime.now():%Y%m%d-%H%M}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1) + "\n")
    return path


if __name__ == "__main__":
    sys.exit(main())
