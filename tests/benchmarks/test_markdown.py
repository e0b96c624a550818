"""A run in Markdown: the right figures at the right places, and files changed only between their marks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import markdown
from benchmarks.markdown import headline, replaced, tables, write
from benchmarks.samples import Results

FACTS = {
    "when": "2026-01-31T12:00:00+00:00",
    "commit": "0123456789ab",
    "changed_files": 0,
    "cpus": 2,
    "cpu": "A CPU",
    "kernel": "6.18",
    "system": "Debian",
    "python": "3.11",
    "load_before": 0.04,
}


@pytest.fixture
def report() -> dict[str, Any]:
    results = Results(titles={"kernel": "kernel VXLAN", "ovs": "OVS userspace", "vxswitch": "vxswitch"})
    for underlay, own in (("plain", 4e9), ("wire-like", 2e9)):
        for value in (9e9, 10e9, 11e9):
            results.add(underlay, "kernel", {"tcp_1": value, "cpu_per_gb": 0.5})
        results.add(underlay, "vxswitch", {"tcp_1": own, "cpu_per_gb": 1.5})
    for peer, offered, delivered in (("kernel", 1e5, 1e5), ("vxswitch", 3e5, 1.5e5)):
        udp = {"udp_64_310000_offered": offered, "udp_64_310000_delivered": delivered}
        results.add("plain", peer, udp)
    results.skipped["ovs"] = "not installed"
    pure = {
        "micro": {"cut   a,  b": [2.0, 1.0, 3.0]},
        "frames": {"out": [1e6, 5e5]},
        "scale": {"lookup": {"10": [1e-6]}},
    }
    return {"facts": FACTS, "rounds": 3, "pure": pure, **results.as_json()}


def rows(lines: list[str]) -> dict[str, list[list[str]]]:
    """The cells of all rows that begin alike."""
    found: dict[str, list[list[str]]] = {}
    for line in "\n".join(lines).splitlines():
        if line.startswith("| "):
            first, *cells = (cell.strip() for cell in line.strip("|").split("|"))
            found.setdefault(first, []).append(cells)
    return found


def test_the_headline_has_a_line_for_each_that_was_measured(report: dict[str, Any]) -> None:
    lines = list(headline(report))
    assert lines[0] == (
        "|  | TCP, plain veth, Gbit/s | TCP, wire-like, Gbit/s | 64 B UDP delivered of offered, kpps | CPU per GB, s |"
    )
    found = rows(lines)
    assert found["kernel VXLAN"] == [["10", "10", "100 of 100", "0.5"]]
    assert found["**vxswitch**"] == [["**4**", "**2**", "**150 of 300**", "**1.5**"]]
    assert "OVS userspace" not in found
    assert "2026-01-31, commit 0123456789ab; 2 processors (A CPU), Linux 6.18" in lines[-1]


def test_the_tables_have_targets_medians_ratios_and_what_is_measured_in_memory(report: dict[str, Any]) -> None:
    found = rows(list(tables(report)))
    assert found["TCP, 1 flow: vxswitch / kernel VXLAN"] == [
        ["plain", "≥ 0.45", "0.40", "**missed**"],
        ["wire-like", "≥ 0.6", "0.20", "**missed**"],
    ]
    assert found["CPU per GB, machine: vxswitch / kernel VXLAN"] == [["plain", "≤ 2.5", "3.00", "**missed**"]]
    assert found["UDP 64 B, 310 kpps: delivered: vxswitch / kernel VXLAN"] == [
        ["plain", "≥ 0.8", "1.50 (of 300 and of 100 kpps offered)", "reached"]
    ]
    assert found["TCP, 1 flow, Gbit/s"] == [["10 ±10%", "4"], ["10 ±10%", "2"]]
    assert found["TCP, 1 flow"] == [["0.40"], ["0.20"]]
    assert found["CPU per GB, machine *"] == [["3.00"], ["3.00"]]
    assert found["cut a, b"] == [["1.00", "2.00"]]
    assert found["out"] == [["1,000", "750", "1.000"]]
    assert found["lookup"] == [["10", "1.000", "1.000"]]
    assert any("Not measured: OVS userspace, not installed." in line for line in tables(report))


def test_only_what_stands_between_the_marks_is_replaced() -> None:
    open_ended = "before\n<!-- figures -->\nafter\n"
    once = replaced(open_ended, ["new"], "README.md")
    assert once == "before\n<!-- figures -->\n\nnew\n\n<!-- /figures -->\nafter\n"
    assert replaced(once, ["newer", "still"], "README.md") == once.replace("new", "newer\nstill")
    with pytest.raises(ValueError, match=r"README\.md has no line <!-- figures -->"):
        replaced("no mark", ["new"], "README.md")


def test_both_files_are_written_with_links_that_lead_somewhere(
    report: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(markdown, "ROOT", tmp_path)
    result = tmp_path / "benchmarks" / "results" / "full-1.json"
    result.parent.mkdir(parents=True)
    result.with_name("full-1-tcp.svg").touch()
    (tmp_path / "docs").mkdir()
    for path in (tmp_path / "README.md", tmp_path / "docs" / "performance.md"):
        path.write_text("head\n\n<!-- figures -->\n\ntail\n")
    first, second = write(report, result)
    assert "[docs/performance.md](docs/performance.md)" in first.read_text()
    text = second.read_text()
    assert text.startswith("head\n") and text.endswith("\ntail\n")
    assert "[full-1.json](../benchmarks/results/full-1.json)" in text
    assert "![full-1-tcp](../benchmarks/results/full-1-tcp.svg)" in text
