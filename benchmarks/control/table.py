"""A run as tables in Markdown, and the model for a larger cluster that follows from it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.markdown import ROOT, replaced, row_of, table_head, where

MARK = "scale"
LARGE = 10_000  # nodes of the model
BEATS = (1.0, 3.0, 5.0)  # seconds, for the model


def write(report: dict[str, Any]) -> Path:
    """Put the tables between their marks in docs/operations.md; returns its path."""
    path = ROOT / "docs" / "operations.md"
    path.write_text(replaced(path.read_text(), lines(report), path.name, MARK))
    return path


def lines(report: dict[str, Any]) -> Iterator[str]:
    """All tables."""
    cluster = report["cluster"]
    shape = cluster["shape"]
    yield f"{where(report['facts'])}, load before {report['facts']['load_before']:.1f}; {cluster['server']}."
    yield (
        f"\n{shape['nodes']:,} nodes in {shape['each']} of {shape['networks']:,} networks each, {shape['macs']:,} "
        f"MACs, a heartbeat every {cluster['beat']:g} s. Server and simulated nodes share the machine.\n"
    )
    yield from _steps(cluster["steps"])
    yield "\nBy the number of networks that a node is in (a heartbeat compares at most 32 of them in turn):\n"
    yield from _networks(report["networks"])
    yield ""
    yield from _events(cluster)
    yield f"\nModel for {LARGE:,} nodes, from the figures of the largest step:\n"
    yield from _model(cluster["steps"][-1])


def _steps(steps: list[dict[str, Any]]) -> Iterator[str]:
    titles = ["nodes", "server, us a beat", "commands a beat", "node, us a beat", "bytes to / from a node, a beat"]
    yield from table_head([*titles, "heartbeat p50, ms", "commands/s", "server CPU", "server memory"])
    for one in steps:
        yield row_of([f"{one['nodes']:,}", *_costs(one), *_totals(one)])


def _networks(steps: list[dict[str, Any]]) -> Iterator[str]:
    titles = ["networks", "server, us a beat", "commands a beat", "node, us a beat", "bytes to / from a node, a beat"]
    yield from table_head(titles)
    for one in steps:
        yield row_of([f"{one['each']:,}", *_costs(one)])


def _costs(one: dict[str, Any]) -> list[str]:
    return [
        f"{one['server_us']:.0f}",
        f"{one['commands']:.1f}",
        f"{one['node_us']:.0f}",
        f"{one['bytes_to_node']:.0f} / {one['bytes_from_node']:.0f}",
    ]


def _totals(one: dict[str, Any]) -> list[str]:
    return [
        f"{one['rtt_p50'] * 1e3:.1f}",
        f"{one['commands_per_s']:,.0f}",
        f"{one['server_cpu']:.1%}",
        f"{one['memory'] / 2**20:.0f} MiB",
    ]


def _events(cluster: dict[str, Any]) -> Iterator[str]:
    start, burst, flush = cluster["start"], cluster["burst"], cluster["flush"]
    yield from table_head(["event", "seconds", ""])
    yield row_of(
        [
            f"one node starts in all {cluster['shape']['networks']:,} networks, {start['rows']:,} rows in its tables",
            f"{start['seconds']:.1f}",
            f"its loop held for {start['held'] * 1e3:.0f} ms at worst; {start['memory'] / 2**20:.0f} MiB",
        ]
    )
    yield row_of(
        [
            f"{burst['rows']:,} MACs appear at once on one node",
            f"{burst['seconds']:.1f}",
            f"{burst['rows'] / burst['seconds']:,.0f} claims/s; "
            f"its loop held for {burst['held'] * 1e3:.0f} ms at worst",
        ]
    )
    yield row_of(
        [
            "FLUSHALL: until every row is in the store again",
            f"{flush['seconds']:.1f}",
            f"{flush['commands_per_mac']:.1f} commands a MAC; every node had read it after {flush['whole']:.1f} s; "
            f"processor: server {flush['server_cpu']:.1f} s in all, a node {flush['node_cpu'] * 1e3:.0f} ms",
        ]
    )


def _model(step: dict[str, Any]) -> Iterator[str]:
    yield from table_head(["heartbeat", "server CPU", "commands/s", "server memory", "nodes that fill one processor"])
    for beat in BEATS:
        cpu = LARGE * step["server_us"] / 1e6 / beat
        yield row_of(
            [
                f"{beat:g} s",
                f"{cpu:.0%}",
                f"{LARGE * step['commands'] / beat:,.0f}",
                f"{step['memory'] / step['nodes'] * LARGE / 2**30:.1f} GiB",
                f"{beat * 1e6 / step['server_us']:,.0f}",
            ]
        )
