from __future__ import annotations

import pytest

from tests.cli.fake_api import Asked

BLUE = {"name": "blue", "vni": 4096, "subnets": ["10.1.0.0/24"], "mtu": 1450, "learning": "control", "state": "up"}


def test_create_sends_only_what_was_given(vx, api):
    api.answer("POST", "/v1/networks", BLUE)
    ran = vx("network", "create", "blue")
    assert (ran.code, ran.out) == (0, "blue: VNI 4096\n")
    assert api.asked == [Asked("POST", "/v1/networks", {"name": "blue", "subnets": [], "may_exist": False})]


def test_create_with_everything(vx, api):
    api.answer("POST", "/v1/networks", BLUE)
    words = (
        "network create blue --vni 7 --subnet 10.1.0.0/24 --subnet FD00::/64 --mtu 1400 --learning flood --unknown drop"
    )
    ran = vx(*words.split(), "--antispoof", "off", "--isolation", "none", "--may-exist", "--json")
    assert ran.json == BLUE
    assert api.asked[0].body == {
        "name": "blue",
        "vni": 7,
        "subnets": ["10.1.0.0/24", "fd00::/64"],
        "mtu": 1400,
        "learning": "flood",
        "unknown": "drop",
        "antispoof": "off",
        "may_exist": True,
    }


def test_mtu_auto_is_said_so(vx, api):
    api.answer("POST", "/v1/networks", BLUE)
    vx("network", "create", "blue", "--mtu", "auto")
    assert api.asked[0].body["mtu"] == "auto"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("a --encrypted", "--encrypted: not supported in this version"),
        ("a --internal", "--internal: not supported in this version"),
        ("a --isolation ports", "'ports': not supported in this version"),
        ("a --learning contrl", "did you mean control"),
        ("a --vni 0", "VNI 0"),
        ("a --vni 16777216", "VNI 16777216"),
        ("a --vni x", "VNI 'x'"),
        ("a --mtu 67", "--mtu '67'"),
        ("a --subnet 10.0.0.1/24", "did you mean 10.0.0.0/24"),
        ("a --subnet 10.0.0.0/24 --subnet 10.0.0.0/25", "overlap"),
        ("-- -a", "network name '-a'"),
        ("a/b", "network name 'a/b'"),
        ("", "NAME"),
    ],
)
def test_create_is_checked_before_the_switch_is_asked(vx, api, words, says):
    ran = vx("network", "create", *words.split())
    assert ran.code == 2 and says in ran.err and api.asked == []


def test_ls(vx, api):
    api.answer("GET", "/v1/networks", [BLUE])
    assert vx("network", "ls", "--json").json == [BLUE]
    assert vx("network", "ls").out == (
        "NAME   VNI   MTU  LEARNING  STATE  SUBNETS\nblue  4096  1450  control   up     10.1.0.0/24\n"
    )


def test_show(vx, api):
    api.answer("GET", "/v1/networks/blue", BLUE)
    assert vx("network", "show", "blue", "--json").json == BLUE
    assert "vni       4096\n" in vx("network", "show", "blue").out


def test_rm(vx, api):
    api.answer("DELETE", "/v1/networks/blue", {})
    ran = vx("network", "rm", "blue")
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    assert vx("network", "rm", "blue", "--json").json == {}


def test_rm_of_what_is_not_there(vx, api):
    api.refuse("DELETE", "/v1/networks/blue", 404, "no network 'blue'")
    ran = vx("network", "rm", "blue")
    assert (ran.code, ran.err) == (1, "vxswitch: no network 'blue'\n")
    assert vx("network", "rm", "blue", "--if-exists").code == 0


def test_rm_if_exists_still_fails_for_other_reasons(vx, api):
    api.refuse("DELETE", "/v1/networks/blue", 409, "in use by h2", 2)
    assert vx("network", "rm", "blue", "--if-exists").code == 2


def test_wait(vx, api):
    api.answer("GET", "/v1/networks/blue/wait?timeout=30.0", BLUE)
    assert vx("network", "wait", "blue").code == 0
    api.refuse("GET", "/v1/networks/blue/wait?timeout=1.5", 504, "network 'blue' is still pending")
    ran = vx("network", "wait", "blue", "--timeout", "1.5")
    assert (ran.code, ran.err) == (1, "vxswitch: network 'blue' is still pending\n")


@pytest.mark.parametrize("timeout", ["-1", "x", "nan", "inf"])
def test_wait_for_a_sane_time(vx, api, timeout):
    assert vx("network", "wait", "blue", f"--timeout={timeout}").code == 2
    assert api.asked == []


@pytest.mark.parametrize("verb", ["show", "rm", "wait"])
def test_names_are_checked(vx, api, verb):
    assert vx("network", verb, "../status").code == 2
    assert api.asked == []
