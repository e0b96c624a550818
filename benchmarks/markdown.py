"""A run in Markdown: the headline for the README, and every table for docs/performance.md.

Each of the two files has a pair of marks; what stands between them is replaced, so no figure is ever typed by hand.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from benchmarks.figures import FIGURES
from benchmarks.samples import OWN, Results, cell, heading
from benchmarks.targets import Target, judged

ROOT: Final = Path(__file__).parent.parent
DELIVERED: Final = "_delivered"
HEADLINE: Final = (
    ("TCP, plain veth", "plain", "tcp_1"),
    ("TCP, wire-like", "wire-like", "tcp_1"),
    ("64 B UDP delivered of offered", "plain", "udp_64_310000_delivered"),
    ("ping p50", "plain", "ping_p50"),
    ("CPU per GB", "plain", "cpu_per_gb"),
)


def write(report: dict[str, Any], result: Path) -> Iterator[Path]:
    """Put the run into README.md and docs/performance.md; yields what was written. ValueError: a file has no mark."""
    plots = sorted(result.parent.glob(f"{result.stem}-*.svg"))
    for path, lines in (
        (ROOT / "README.md", headline(report)),
        (ROOT / "docs" / "performance.md", tables(report)),
    ):
        block = [*lines, "", *_links(path, result, plots if path.parent != ROOT else plots[:0])]
        path.write_text(replaced(path.read_text(), block, path.name))
        yield path


def replaced(text: str, block: Iterable[str], name: str, mark: str = "figures") -> str:
    """`text` with `block` between its marks `<!-- MARK -->`; a closing one that is not there yet is added."""
    opening, closing = f"<!-- {mark} -->", f"<!-- /{mark} -->"
    before, begin, after = text.partition(opening)
    if not begin:
        raise ValueError(f"{name} has no line {opening}")
    if closing in after:
        after = after.partition(closing)[2]
    body = "\n".join(block).strip()
    return f"{before}{opening}\n\n{body}\n\n{closing}{after}"


def headline(report: dict[str, Any]) -> Iterator[str]:
    """The few figures that tell most, one line for each data plane, and where they were taken."""
    results = Results.read(report)
    shown = [one for one in HEADLINE if any(results.median(one[1], peer, one[2]) for peer in results.titles)]
    yield from table_head(["", *(f"{title}, {FIGURES[figure].unit}" for title, _, figure in shown)])
    for peer, title in results.titles.items():
        if peer in results.skipped:
            continue
        cells = []
        for _, underlay, figure in shown:
            middle = results.median(underlay, peer, figure)
            text = (
                "-" if middle is None else FIGURES[figure].number(middle) + _of_offered(results, underlay, peer, figure)
            )
            cells.append(f"**{text}**" if peer == OWN else text)
        yield row_of([f"**{title}**" if peer == OWN else title, *cells])
    yield f"\n{_where(report)}"


def _of_offered(results: Results, underlay: str, peer: str, figure: str) -> str:
    """What a delivered load is to be held against: the generator may have been slower than it was asked to be."""
    if not figure.endswith(DELIVERED):
        return ""
    offered = results.median(underlay, peer, figure.removesuffix(DELIVERED) + "_offered")
    return "" if offered is None else f" of {FIGURES[figure].number(offered)}"


def tables(report: dict[str, Any]) -> Iterator[str]:
    """Everything: targets, medians and ratios of each underlay, and what was measured in memory."""
    results = Results.read(report)
    yield _where(report)
    yield from _targets(results)
    for underlay in results.samples:
        yield f"\n### {underlay.capitalize()} underlay\n\nMedian and spread over the rounds.\n"
        yield from _medians(results, underlay)
        yield "\nvxswitch to each other, ratio of medians; * where less is better.\n"
        yield from _ratios(results, underlay)
    yield from (f"\nNot measured: {results.title(peer)}, {reason}." for peer, reason in results.skipped.items())
    yield from (f"\nFailed: {failure}." for failure in results.failures)
    if "pure" in report:
        yield from _pure(report["pure"])


def _where(report: dict[str, Any]) -> str:
    about = report["facts"]
    return f"{where(about)}; {report['rounds']} rounds, load before {about['load_before']:.1f}."


def where(about: dict[str, Any]) -> str:
    """When and on what a run was made, from its facts."""
    changed = f" with {about['changed_files']} changed files" if about["changed_files"] else ""
    return (
        f"{about['when'][:10]}, commit {about['commit']}{changed}; {about['cpus']} processors ({about['cpu']}), "
        f"Linux {about['kernel']}, {about['system']}, Python {about['python']}"
    )


def _targets(results: Results) -> Iterator[str]:
    found = list(judged(results))
    if not found:
        return
    yield "\n### Targets\n"
    yield from table_head(["ratio of medians", "underlay", "target", "this run", ""])
    for target, ratio in found:
        sides = f"{results.title(target.own)} / {results.title(target.peer)}"
        sign = "≥" if target.at_least else "≤"
        yield row_of(
            [
                f"{FIGURES[target.figure].title}: {sides}",
                target.underlay,
                f"{sign} {target.limit:g}",
                f"{ratio:.2f}{_loads(results, target)}",
                "reached" if target.reached(ratio) else "**missed**",
            ]
        )


def _loads(results: Results, target: Target) -> str:
    """Of a delivered load, what both were offered: with unlike loads the ratio says less than it seems to."""
    both = [_of_offered(results, target.underlay, peer, target.figure) for peer in (target.own, target.peer)]
    return f" ({' and'.join(both).strip()} {FIGURES[target.figure].unit} offered)" if all(both) else ""


def _medians(results: Results, underlay: str) -> Iterator[str]:
    peers = results.samples[underlay]
    yield from table_head(["", *map(results.title, peers)])
    for key in results.figures(underlay):
        yield row_of([heading(FIGURES[key]), *(cell(peers[peer].get(key, []), FIGURES[key]) for peer in peers)])


def _ratios(results: Results, underlay: str) -> Iterator[str]:
    others = [peer for peer in results.samples[underlay] if peer != OWN]
    yield from table_head(["", *map(results.title, others)])
    for key in results.figures(underlay):
        if FIGURES[key].more_is_better is not None:
            ratios = [results.ratio(underlay, peer, key) for peer in others]
            mark = "" if FIGURES[key].more_is_better else " *"
            yield row_of([FIGURES[key].title + mark, *("-" if r is None else f"{r:.2f}" for r in ratios)])


def _pure(pure: dict[str, Any]) -> Iterator[str]:
    yield "\n### In memory\n\nBest round, then median.\n"
    yield from table_head(["microseconds per call", "best", "median"])
    for name, values in pure["micro"].items():
        yield row_of([" ".join(name.split()), f"{min(values):.2f}", f"{statistics.median(values):.2f}"])
    yield ""
    yield from table_head(["wire frames", "best, 1000/s", "median, 1000/s", "best, us each"])
    for name, values in pure["frames"].items():
        best, middle = max(values), statistics.median(values)
        yield row_of([name, f"{best / 1e3:,.0f}", f"{middle / 1e3:,.0f}", f"{1e6 / best:.3f}"])
    yield ""
    yield from table_head(["CPU per", "MACs or VTEPs", "best, us", "median, us"])
    for name, sizes in pure["scale"].items():
        for size, values in sizes.items():
            yield row_of([name, f"{int(size):,}", f"{min(values) * 1e6:.3f}", f"{statistics.median(values) * 1e6:.3f}"])


def _links(path: Path, result: Path, plots: list[Path]) -> Iterator[str]:
    """The page with all tables, each sample, and the plots."""
    if path.parent == ROOT:
        yield "How it is measured, every figure and its spread: [docs/performance.md](docs/performance.md)."
        return
    try:
        below = result.resolve().relative_to(ROOT)
    except ValueError:  # a result outside the repository: nobody else could follow a link to it
        return
    yield f"Every sample: [{below.name}](../{below})."
    for plot in plots:
        yield f"\n![{plot.stem}](../{below.parent}/{plot.name})"


def table_head(titles: list[str]) -> Iterator[str]:
    """The first two lines of a table."""
    yield row_of(titles)
    yield "|" + "---|" * len(titles)


def row_of(cells: list[str]) -> str:
    """One line of a table."""
    return f"| {' | '.join(cells)} |"
