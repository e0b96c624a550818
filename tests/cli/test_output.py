from __future__ import annotations

import argparse
import json

import pytest

from vxswitch.cli.output import cell, fields, flat, printable, seconds, show, silent, table


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        ("", "-"),
        ([], "-"),
        (True, "yes"),
        (False, "no"),
        (0, "0"),
        (1234567, "1234567"),
        (0.25, "0.25"),
        (12345.6, "12346"),
        (["a", "b"], "a,b"),
        ("a\x1b[31mb\n", "a?[31mb?"),
        (["\x07"], "?"),
    ],
)
def test_cells(value, text):
    assert cell(value) == text


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (None, None),
        (0.0, "0.0s"),
        (59.94, "59.9s"),
        (192.0, "3m12s"),
        (18120.0, "5h02m"),
        (9 * 86400 + 4 * 3600, "9d04h"),
    ],
)
def test_seconds(span, text):
    assert seconds(span) == text


def test_columns_are_aligned_and_numbers_stand_right():
    rows = [{"name": "blue", "n": 5, "x": 1}, {"name": "a-long-name", "n": 1000, "x": None}]
    assert table(rows, (("NAME", "name"), ("N", "n"), ("X", lambda row: row["x"]), ("LAST", "missing"))) == (
        "NAME            N  X  LAST\nblue            5  1     -\na-long-name  1000  -     -"
    )


def test_an_empty_table_is_its_titles():
    assert table([], (("A", "a"), ("B", "b"))) == "A  B"


def test_no_cell_breaks_a_line_or_the_terminal():
    text = table([{"a": "x\r\n\x1b[2J"}], (("A", "a"),))
    assert text.count("\n") == 1 and "\x1b" not in text


def test_fields_and_flat():
    assert flat({"a": 1, "b": {"c": 2, "d": {"e": None}}}) == [("a", 1), ("b.c", 2), ("b.d.e", None)]
    assert fields([("a", 1), ("long", None)]) == "a     1\nlong  -"
    assert fields([]) == ""


def test_printable():
    assert printable("é 1\x00\u202e\udc80") == "é 1???"


@pytest.mark.parametrize(
    ("as_json", "answer", "out"),
    [(True, {"a": [1]}, {"a": [1]}), (True, None, {}), (True, [], [])],
)
def test_json_is_passed_through(capsys, as_json, answer, out):
    assert show(argparse.Namespace(json=as_json), answer, silent) == 0
    assert json.loads(capsys.readouterr().out) == out


def test_people_get_text_or_nothing(capsys):
    args = argparse.Namespace(json=None)
    assert show(args, {}, silent) == 0
    assert show(args, 5, str) == 0
    assert capsys.readouterr().out == "5\n"
