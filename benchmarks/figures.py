"""What each measured value means, its unit, and whether more of it is better.

Values are stored in base units under these names; ratios are always "vxswitch to the peer" within one run.
"""

from __future__ import annotations

from dataclasses import dataclass

UDP_STEPS: dict[int, tuple[int, ...]] = {64: (50_000, 150_000, 310_000), 512: (50_000, 150_000), 1400: (20_000, 80_000)}
"""Offered loads in datagrams per second for each payload size in bytes."""


@dataclass(frozen=True, slots=True)
class Figure:
    """`scale` turns the stored base unit into the printed one; without a better direction there is no ratio."""

    title: str
    unit: str
    scale: float
    more_is_better: bool | None

    def number(self, value: float) -> str:
        """A value in the printed unit, without it: three significant digits."""
        scaled = value * self.scale
        return f"{scaled:.0f}" if abs(scaled) >= 100 else f"{scaled:.3g}"

    def show(self, value: float) -> str:
        """A value with its unit."""
        return f"{self.number(value)} {self.unit}"


def _udp_figures() -> dict[str, Figure]:
    figures = {}
    for size, steps in UDP_STEPS.items():
        for pps in steps:
            name, title = f"udp_{size}_{pps}", f"UDP {size} B, {pps // 1000} kpps"
            figures[f"{name}_offered"] = Figure(f"{title}: offered", "kpps", 1e-3, None)
            figures[f"{name}_delivered"] = Figure(f"{title}: delivered", "kpps", 1e-3, True)
            figures[f"{name}_loss"] = Figure(f"{title}: lost", "%", 100.0, None)
    return figures


FIGURES: dict[str, Figure] = {
    "tcp_1": Figure("TCP, 1 flow", "Gbit/s", 1e-9, True),
    "tcp_8": Figure("TCP, 8 flows", "Gbit/s", 1e-9, True),
    "tcp_both": Figure("TCP, both directions", "Gbit/s", 1e-9, True),
    "ping_p50": Figure("ping p50", "us", 1e6, False),
    "ping_p99": Figure("ping p99", "us", 1e6, False),
    "ping_loaded_p50": Figure("ping p50 beside TCP, same port", "us", 1e6, False),
    "ping_loaded_p99": Figure("ping p99 beside TCP, same port", "us", 1e6, False),
    "ping_beside_p50": Figure("ping p50 beside TCP, another port", "us", 1e6, False),
    "ping_beside_p99": Figure("ping p99 beside TCP, another port", "us", 1e6, False),
    "tcp_rr": Figure("TCP 1-byte transactions", "k/s", 1e-3, True),
    **_udp_figures(),
    "cpu_per_gb": Figure("CPU per GB, machine", "s", 1.0, False),
    "switch_cpu_per_gb": Figure("CPU per GB, switches", "s", 1.0, False),
    "cpu_per_mframe": Figure("CPU per 10^6 frames, machine", "s", 1.0, False),
    "switch_cpu_per_mframe": Figure("CPU per 10^6 frames, switches", "s", 1.0, False),
    "reordered": Figure("UDP datagrams out of order", "", 1.0, None),
    "rss": Figure("memory of both switches", "MiB", 1 / 2**20, False),
    "start": Figure("start to first ping", "s", 1.0, False),
}
