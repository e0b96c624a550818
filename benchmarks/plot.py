"""Plots of a run: `python -m benchmarks.plot RESULT.json` writes RESULT-tcp.svg and others beside it.

Bars are medians over the rounds, whiskers reach from the least to the greatest sample. Needs the extra `[plot]`
(matplotlib), which nothing else here uses. The files are the same bytes for the same result.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from benchmarks.figures import FIGURES, UDP_STEPS
from benchmarks.samples import OURS, Results

BARS: Final = {
    "tcp": ("TCP bulk: more is better", ("tcp_1", "tcp_8", "tcp_both")),
    "ping": ("Round trip: less is better", ("ping_p50", "ping_p99", "ping_beside_p50", "ping_beside_p99")),
    "cpu": ("CPU time of the whole machine: less is better", ("cpu_per_gb", "cpu_per_mframe")),
}
_OURS, _OTHERS = ("#0b6e4f", "#3fa37c", "#8fd0b3"), ("#3d405b", "#6d7193", "#9fa3bd", "#c9cbdb", "#e07a5f", "#f2cc8f")


class Bars:
    """One figure of one underlay, ready to be drawn: labels, medians and whiskers in the printed unit."""

    def __init__(self, results: Results, underlay: str, figure: str) -> None:
        about = FIGURES[figure]
        self.title = f"{about.title}, {about.unit}, {underlay}"
        found = {peer: values[figure] for peer, values in results.samples[underlay].items() if values.get(figure)}
        self.labels = [results.title(peer) for peer in found]
        self.own = [_own(peer) for peer in found]
        self.numbers = [about.number(statistics.median(values)) for values in found.values()]
        self.medians = [statistics.median(values) * about.scale for values in found.values()]
        scaled = [[value * about.scale for value in values] for values in found.values()]
        self.below = [middle - min(values) for middle, values in zip(self.medians, scaled, strict=True)]
        self.above = [max(values) - middle for middle, values in zip(self.medians, scaled, strict=True)]


class Curve:
    """Delivered against offered UDP load of one peer, in thousands per second."""

    def __init__(self, results: Results, underlay: str, peer: str, size: int) -> None:
        self.label, self.own = results.title(peer), _own(peer)
        points = []
        for pps in UDP_STEPS[size]:
            ends = [results.median(underlay, peer, f"udp_{size}_{pps}_{end}") for end in ("offered", "delivered")]
            if ends[0] is not None and ends[1] is not None:
                points.append((ends[0] / 1e3, ends[1] / 1e3))
        self.offered = [x for x, _ in points]
        self.delivered = [y for _, y in points]


def _own(peer: str) -> bool:
    return peer in OURS


def bars(results: Results, figures: tuple[str, ...]) -> list[list[Bars]]:
    """The panels of one plot: a row for each figure that was measured, a column for each underlay."""
    rows = [[Bars(results, underlay, figure) for underlay in results.samples] for figure in figures]
    return [row for row in rows if any(one.labels for one in row)]


def curves(results: Results, size: int) -> dict[str, list[Curve]]:
    """The lines of one size by underlay, without those that have no point."""
    made = {name: [Curve(results, name, peer, size) for peer in peers] for name, peers in results.samples.items()}
    return {name: [one for one in lines if one.offered] for name, lines in made.items()}


def draw(report: dict[str, Any], result: Path) -> Iterator[Path]:
    """Write every plot that the result has figures for; yields their paths."""
    import matplotlib  # type: ignore[import-not-found, unused-ignore]

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "vxswitch", "svg.fonttype": "none", "font.size": 9})
    results = Results.read(report)
    for name, (title, figures) in BARS.items():
        if panels := bars(results, figures):
            yield _save(_draw_bars(title, panels), result, name)
    for size in UDP_STEPS:
        lines = curves(results, size)
        if any(lines.values()):
            yield _save(_draw_curves(size, lines), result, f"udp{size}")
    if "pure" in report:
        yield _save(_draw_scale(report["pure"]["scale"]), result, "scale")


def _draw_bars(title: str, panels: list[list[Bars]]) -> Any:
    figure, axes = _canvas(title, len(panels), len(panels[0]), height=0.6 + 0.24 * len(panels[0][0].labels))
    for row, panel in zip(axes, panels, strict=True):
        for axis, one in zip(row, panel, strict=True):
            whiskers = {"xerr": (one.below, one.above), "error_kw": {"elinewidth": 0.8, "capsize": 2}}
            colours = [_OURS[0] if own else _OTHERS[0] for own in one.own]
            drawn = axis.barh(one.labels, one.medians, color=colours, height=0.7, **whiskers)
            axis.bar_label(drawn, one.numbers, padding=10, fontsize=8)
            axis.invert_yaxis()
            axis.margins(x=0.18)
            axis.set_title(one.title, loc="left", fontsize=9)
            axis.spines[["top", "right"]].set_visible(False)
    return figure


def _draw_curves(size: int, underlays: dict[str, list[Curve]]) -> Any:
    figure, axes = _canvas(f"UDP, {size} bytes: thousands per second", 1, len(underlays), height=3.4)
    for axis, (underlay, lines) in zip(axes[0], underlays.items(), strict=True):
        ours, others = iter(_OURS * 2), iter(_OTHERS * 3)
        for one in lines:
            colour = next(ours if one.own else others)
            width = 2.0 if one.own else 1.2
            axis.plot(one.offered, one.delivered, "o-", label=one.label, color=colour, linewidth=width, markersize=3)
        axis.set_title(underlay, loc="left", fontsize=9)
        axis.set_xlabel("offered")
        axis.set_ylabel("delivered")
        axis.set_xlim(left=0)
        axis.set_ylim(bottom=0)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0][-1].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=8)
    return figure


def _draw_scale(scale: dict[str, dict[str, list[float]]]) -> Any:
    figure, axes = _canvas("What size costs: CPU microseconds, best round", 1, 2, height=3.2)
    for name, sizes in scale.items():
        floods = name.startswith("copy")
        costs = [min(values) * 1e6 * (int(size) if floods else 1) for size, values in sizes.items()]
        label = name.replace("copy", "flooded frame") if floods else name
        axes[0][int(floods)].plot([int(size) for size in sizes], costs, "o-", label=label, markersize=3)
    axes[0][0].set_xscale("log")
    for axis, title in zip(axes[0], ("by MACs in the table", "by VTEPs that are flooded to"), strict=True):
        axis.set_ylim(bottom=0)
        axis.set_title(title, loc="left", fontsize=9)
        axis.legend(frameon=False, fontsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def _canvas(title: str, rows: int, columns: int, height: float) -> tuple[Any, Any]:
    from matplotlib import pyplot  # type: ignore[import-not-found, unused-ignore]

    figure, axes = pyplot.subplots(
        rows, columns, figsize=(5.2 * columns, height * rows + 0.5), squeeze=False, layout="constrained"
    )
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    return figure, axes


def _save(figure: Any, result: Path, name: str) -> Path:
    from matplotlib import pyplot  # type: ignore[import-not-found, unused-ignore]

    path = result.with_name(f"{result.stem}-{name}.svg")
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    return path


def main() -> None:
    """Draw, and say what was written."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plot", description=__doc__.splitlines()[0])
    parser.add_argument("result", type=Path, metavar="RESULT.json")
    args = parser.parse_args()
    for path in draw(json.loads(args.result.read_text()), args.result):
        print(f"written: {path}")


if __name__ == "__main__":
    main()
