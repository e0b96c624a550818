from __future__ import annotations

import pytest

from tests.cli.fake_api import Asked
from vxswitch.cli.fdb import with_verb

MAC = "02:00:00:00:00:01"
ROW = {
    "network": "blue",
    "vni": 7,
    "mac": MAC,
    "hop": "remote",
    "port": None,
    "vtep": "10.0.0.2:4789",
    "node": "h2",
    "flags": ["sticky", "gateway"],
    "source": "claimed",
    "age": None,
    "rev": 12,
}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("fdb", "fdb show"),
        ("fdb blue", "fdb show blue"),
        ("fdb --json blue", "fdb show --json blue"),
        ("fdb --socket show blue", "fdb show --socket show blue"),
        ("--socket fdb fdb", "--socket fdb fdb show"),
        ("--json fdb", "--json fdb show"),
        ("fdb show add", "fdb show add"),
        ("fdb add blue", "fdb add blue"),
        ("fdb --json flush", "fdb --json flush"),
        ("fdb --help", "fdb --help"),
        ("network show fdb", "network show fdb"),
        ("status", "status"),
        ("", ""),
    ],
)
def test_show_is_what_fdb_does_without_a_verb(words, expected):
    assert with_verb(words.split()) == expected.split()


def test_show_all_and_one(vx, api):
    api.answer("GET", "/v1/fdb", [ROW])
    api.answer("GET", "/v1/fdb?network=blue", [])
    assert vx("fdb", "--json").json == [ROW]
    assert vx("fdb", "blue", "--json").json == []
    title, row = vx("fdb").out.splitlines()
    assert title.split() == ["NETWORK", "VNI", "MAC", "HOP", "PORT", "VTEP", "NODE", "SOURCE", "FLAGS", "AGE"]
    assert row.split() == f"blue 7 {MAC} remote - 10.0.0.2:4789 h2 claimed sticky,gateway -".split()


def test_show_of_an_unknown_network(vx, api):
    api.refuse("GET", "/v1/fdb?network=blue", 404, "no network 'blue'")
    assert vx("fdb", "blue").code == 1


@pytest.mark.parametrize(
    ("words", "body"),
    [
        (["--vtep", "10.0.0.2"], {"vtep": "10.0.0.2:4789", "sticky": False}),
        (["--vtep", "[fd00::1]:8472", "--sticky"], {"vtep": "[fd00::1]:8472", "sticky": True}),
        (["--port", "p1"], {"port": "p1", "sticky": False}),
    ],
)
def test_add(vx, api, words, body):
    api.answer("POST", "/v1/fdb", {})
    ran = vx("fdb", "add", "blue", "02-00-00-00-00-01", *words)
    assert (ran.code, ran.out) == (0, "")
    assert api.asked == [Asked("POST", "/v1/fdb", {"network": "blue", "mac": MAC, **body})]


def test_del(vx, api):
    path = f"/v1/fdb?network=blue&mac={MAC.replace(':', '%3A')}"
    api.answer("DELETE", path, {})
    assert vx("fdb", "del", "blue", MAC).code == 0
    api.refuse("DELETE", path, 404, "no such row")
    assert vx("fdb", "del", "blue", MAC).code == 1
    assert vx("fdb", "del", "blue", MAC, "--if-exists").code == 0


def test_flush(vx, api):
    api.answer("POST", "/v1/fdb/flush", {"flushed": 3})
    assert vx("fdb", "flush", "--json").json == {"flushed": 3}
    vx("fdb", "flush", "blue")
    assert [asked.body for asked in api.asked] == [{}, {"network": "blue"}]


def test_thaw(vx, api):
    api.answer("POST", "/v1/fdb/thaw", {})
    assert vx("fdb", "thaw", "blue", MAC).code == 0
    assert api.asked == [Asked("POST", "/v1/fdb/thaw", {"network": "blue", "mac": MAC})]


@pytest.mark.parametrize(
    "words",
    [
        "add blue 02:00 --port p1",
        f"add blue {MAC}",
        f"add blue {MAC} --port p1 --vtep 10.0.0.2",
        f"add blue {MAC} --vtep host",
        f"add a/b {MAC} --port p1",
        f"del a/b {MAC}",
        "del blue",
        "thaw blue x",
        "flush a/b",
        "show a/b",
        "show blue extra",
    ],
)
def test_wrong_words_are_refused_before_the_switch_is_asked(vx, api, words):
    assert vx("fdb", *words.split()).code == 2
    assert api.asked == []
