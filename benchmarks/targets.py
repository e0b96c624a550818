"""What was set out to be reached, as ratios within one run, and whether a run reached it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.figures import FIGURES
from benchmarks.samples import OWN, Results

_UDP = "udp_64_310000_delivered"


@dataclass(frozen=True, slots=True)
class Target:
    """`own` to `peer` on one underlay: at least `limit` where more is better, else at most."""

    figure: str
    underlay: str
    own: str
    peer: str
    limit: float

    @property
    def at_least(self) -> bool:
        return bool(FIGURES[self.figure].more_is_better)

    def reached(self, ratio: float) -> bool:
        """Whether this ratio is good enough."""
        return ratio >= self.limit if self.at_least else ratio <= self.limit


TARGETS: tuple[Target, ...] = (
    Target("tcp_1", "plain", OWN, "kernel", 0.45),
    Target("tcp_1", "plain", "kernel-cut", "kernel", 0.6),
    Target("tcp_1", "wire-like", OWN, "kernel", 0.6),
    Target("tcp_1", "wire-like", "kernel-cut", "kernel", 0.6),
    Target("tcp_1", "plain", OWN, "ovs", 4.0),
    Target("tcp_1", "plain", OWN, "tinc", 4.0),
    Target(_UDP, "plain", OWN, "kernel", 0.8),
    Target(_UDP, "plain", OWN, "tinc", 2.0),
    Target(_UDP, "plain", OWN, "ovs", 2.0),
    Target("ping_p50", "plain", OWN, "tinc", 1.0),
    Target("cpu_per_gb", "plain", OWN, "kernel", 2.5),
)


def judged(results: Results) -> Iterator[tuple[Target, float]]:
    """The targets whose two sides this run has measured, with the ratio it found."""
    for target in TARGETS:
        ratio = results.ratio(target.underlay, target.peer, target.figure, target.own)
        if ratio is not None:
            yield target, ratio
