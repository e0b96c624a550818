"""Medians, spread and ratios, and that nothing is made up where nothing was measured."""

from __future__ import annotations

import json

import pytest

from benchmarks.samples import Results, table

TITLES = {"kernel": "kernel VXLAN", "tinc": "tinc", "vxswitch": "vxswitch"}


@pytest.fixture
def results() -> Results:
    results = Results(titles=TITLES)
    for value in (4e9, 6e9, 5e9):
        results.add("plain", "kernel", {"tcp_1": value, "ping_p50": 20e-6})
    for value in (1e9, 3e9, 2e9):
        results.add("plain", "vxswitch", {"tcp_1": value})
    results.add("plain", "tinc", {"ping_p50": 80e-6})
    return results


def test_ratios_are_of_medians_and_only_where_both_were_measured(results: Results) -> None:
    assert results.ratio("plain", "kernel", "tcp_1") == pytest.approx(0.4)
    assert results.ratio("plain", "tinc", "tcp_1") is None
    assert results.ratio("plain", "kernel", "ping_p50") is None


def test_the_table_shows_median_spread_and_ratio(results: Results) -> None:
    results.skipped["ovs"] = "not installed: ovs-vswitchd"
    results.failures.append("plain tinc TCP x1: no route")
    lines = list(table(results))
    bulk, ratio = (line.split() for line in lines if "TCP, 1 flow" in line)
    assert bulk == ["TCP,", "1", "flow,", "Gbit/s", "5", "±20%", "2", "±50%", "-"]
    assert ratio == ["TCP,", "1", "flow", "0.40", "-"]
    assert lines[-2].strip() == "skipped ovs: not installed: ovs-vswitchd"
    assert lines[-1].strip() == "FAILED plain tinc TCP x1: no route"


def test_json_has_every_sample_and_no_number_that_json_cannot_say(results: Results) -> None:
    report = json.loads(json.dumps(results.as_json(), allow_nan=False))
    assert report["samples"]["plain"]["vxswitch"]["tcp_1"] == [1e9, 3e9, 2e9]
    assert report["medians"]["plain"]["kernel"]["tcp_1"] == 5e9
    assert report["ratios"]["plain"]["tinc"] == {"tcp_1": None, "ping_p50": None}


def test_what_was_written_is_read_again(results: Results) -> None:
    assert Results.read(json.loads(json.dumps(results.as_json()))) == results


def test_a_run_without_vxswitch_has_no_ratios() -> None:
    results = Results()
    results.add("plain", "kernel", {"tcp_1": 1e9})
    assert not any("ratio" in line for line in table(results))
