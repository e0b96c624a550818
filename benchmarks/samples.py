"""Samples of one run, and what is made of them: medians and spread, ratios to each peer, a table, JSON and back."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Self

from benchmarks.figures import FIGURES, Figure

OWN: Final = "vxswitch"
OURS: Final = (OWN, "kernel-cut", "busy-poll", "workers-2")  # with its variants
SCHEMA: Final = 1


@dataclass(slots=True)
class Results:
    """Samples of one run: by underlay, peer and figure, one per round; what failed or was skipped, and why."""

    samples: dict[str, dict[str, dict[str, list[float]]]] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, report: dict[str, Any]) -> Self:
        """The results in the JSON of a run."""
        return cls(report["samples"], report["titles"], report["failures"], report["skipped"])

    def add(self, underlay: str, peer: str, values: dict[str, float]) -> None:
        figures = self.samples.setdefault(underlay, {}).setdefault(peer, {})
        for name, value in values.items():
            figures.setdefault(name, []).append(value)

    def median(self, underlay: str, peer: str, figure: str) -> float | None:
        samples = self.samples.get(underlay, {}).get(peer, {}).get(figure)
        return statistics.median(samples) if samples else None

    def ratio(self, underlay: str, peer: str, figure: str, own: str = OWN) -> float | None:
        """Median of vxswitch, or of a variant of it, over the median of the peer."""
        ours, theirs = self.median(underlay, own, figure), self.median(underlay, peer, figure)
        return ours / theirs if ours is not None and theirs else None

    def figures(self, underlay: str) -> list[str]:
        """Names of the figures measured on this underlay, in the order of FIGURES."""
        measured = {name for figures in self.samples[underlay].values() for name in figures}
        return [name for name in FIGURES if name in measured]

    def title(self, peer: str) -> str:
        """How a peer is called in tables."""
        return self.titles.get(peer, peer)

    def as_json(self) -> dict[str, object]:
        """Samples in base units, their medians, and the ratios."""
        medians = {
            underlay: {
                peer: {name: statistics.median(v) for name, v in figures.items()} for peer, figures in peers.items()
            }
            for underlay, peers in self.samples.items()
        }
        ratios = {
            underlay: {
                peer: {name: self.ratio(underlay, peer, name) for name in self.figures(underlay)}
                for peer in peers
                if peer != OWN
            }
            for underlay, peers in self.samples.items()
        }
        units = {name: {"title": f.title, "more_is_better": f.more_is_better} for name, f in FIGURES.items()}
        return {
            "titles": self.titles,
            "figures": units,
            "samples": self.samples,
            "medians": medians,
            "ratios": ratios,
            "failures": self.failures,
            "skipped": self.skipped,
        }


def cell(samples: list[float], figure: Figure) -> str:
    """The median, and half the distance between the extremes in per cent of it."""
    if not samples:
        return "-"
    middle = statistics.median(samples)
    spread = (max(samples) - min(samples)) / 2 / middle if middle else 0.0
    return f"{figure.number(middle)} ±{spread:.0%}" if len(samples) > 1 else figure.number(middle)


def heading(figure: Figure) -> str:
    """Title and unit."""
    return f"{figure.title}, {figure.unit}" if figure.unit else figure.title


def table(results: Results) -> Iterator[str]:
    """The lines of the report: per underlay medians with spread, then vxswitch's ratio to each peer."""
    for underlay, peers in results.samples.items():
        names = list(peers)
        yield f"\n{underlay} underlay: median and spread"
        yield _row("", [results.title(peer) for peer in names])
        for key in results.figures(underlay):
            yield _row(heading(FIGURES[key]), [cell(peers[peer].get(key, []), FIGURES[key]) for peer in names])
        others = [peer for peer in names if peer != OWN]
        if OWN not in names or not others:
            continue
        yield f"\n{underlay} underlay: vxswitch to each peer, ratio of medians (* where less is better)"
        yield _row("", [results.title(peer) for peer in others])
        for key in results.figures(underlay):
            if FIGURES[key].more_is_better is None:
                continue
            ratios = [results.ratio(underlay, peer, key) for peer in others]
            mark = "" if FIGURES[key].more_is_better else " *"
            yield _row(FIGURES[key].title + mark, ["-" if r is None else f"{r:.2f}" for r in ratios])
    yield from (f"\nskipped {results.title(peer)}: {reason}" for peer, reason in results.skipped.items())
    yield from (f"\nFAILED {failure}" for failure in results.failures)


def _row(title: str, cells: list[str]) -> str:
    return f"  {title:<40}" + "".join(f"{short(text):>16}" for text in cells)


def short(text: str) -> str:
    """A title that fits a column."""
    return text.replace("vxswitch, ", "vx ").replace("wireguard-go", "wireguard")
