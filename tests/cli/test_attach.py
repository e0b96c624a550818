from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cli.fake_api import Asked
from vxswitch.attach import maker
from vxswitch.errors import ConflictError

PORT = {
    "port": "p1",
    "network": "blue",
    "netns": "/run/netns/c1",
    "ifname": "eth0",
    "mac": "02:00:00:00:00:01",
    "ips": ["10.1.0.1/24"],
    "mtu": 1450,
}


@pytest.fixture
def made(monkeypatch):
    """The calls of the maker, which answers with PORT and something of its own."""
    calls = []

    def attach(attach_sock, network, **options):
        calls.append((attach_sock, network, options))
        return {**PORT, "existing": False}

    monkeypatch.setattr(maker, "attach", attach)
    return calls


def test_attach_with_defaults(vx, api, made):
    ran = vx("attach", "blue", "--netns", "c1", "--json")
    assert (ran.code, ran.json) == (0, PORT)
    options = {
        "netns": "c1",
        "ifname": "eth0",
        "ips": [],
        "mac": None,
        "gateway": None,
        "rate": None,
        "pps": None,
    }
    assert made == [(str(api.path.with_name("attach.sock")), "blue", options)]


def test_attach_with_everything(vx, made):
    words = "attach blue --netns 123 --ifname net1 --ip 10.1.0.7/24 --ip fd00::7/64 --mac 02-AA-00-00-00-01"
    ran = vx(*words.split(), "--gateway", "10.1.0.1", "--rate", "10M", "--pps", "500")
    assert ran.code == 0 and "mac      02:00:00:00:00:01\n" in ran.out
    assert made[0][2] == {
        "netns": "123",
        "ifname": "net1",
        "ips": ["10.1.0.7/24", "fd00::7/64"],
        "mac": "02:aa:00:00:00:01",
        "gateway": "10.1.0.1",
        "rate": 10_000_000,
        "pps": 500,
    }


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--ip 10.1.0.7", "--ip '10.1.0.7': want auto, none, or an address with its prefix"),
        ("--ip 224.0.0.1/4", "--ip"),
        ("--ip x", "--ip 'x'"),
        ("--ip none --ip 10.1.0.7/24", "stands alone"),
        ("--mac 02:00", "MAC '02:00'"),
        ("--gateway 10.1.0.1/24", "--gateway"),
        ("--rate fast", "--rate 'fast': want bits per second"),
        ("--rate 0", "--rate '0'"),
        ("--pps 0", "--pps '0'"),
        ("--pps 1k", "--pps '1k'"),
    ],
)
def test_attach_is_checked_before_anything_is_made(vx, made, words, says):
    ran = vx("attach", "blue", "--netns", "c1", *words.split())
    assert ran.code == 2 and says in ran.err and made == []


def test_a_bad_network_name(vx, made):
    assert vx("attach", "a/b", "--netns", "c1").code == 2
    assert made == []


def test_the_maker_s_refusal_is_the_command_s(vx, monkeypatch):
    def refuse(*_args, **_options):
        raise ConflictError("eth0 is there already")

    monkeypatch.setattr(maker, "attach", refuse)
    ran = vx("attach", "blue", "--netns", "c1")
    assert (ran.code, ran.err) == (2, "vxswitch: eth0 is there already\n")


def test_detach_names_the_namespace_as_the_switch_recorded_it(vx, api):
    api.answer("POST", "/v1/detach", {})
    ran = vx("detach", "blue", "--netns", str(os.getpid()), "--ifname", "net1")
    assert (ran.code, ran.out) == (0, "")
    path = f"/proc/{os.getpid()}/ns/net"
    body = {"network": "blue", "ifname": "net1", "netns": path, "inode": Path(path).stat().st_ino}
    assert api.asked == [Asked("POST", "/v1/detach", body)]


@pytest.mark.parametrize(
    ("netns", "path"),
    [
        ("vx-no-such-name", "/run/netns/vx-no-such-name"),
        ("/nonexistent/ns", "/nonexistent/ns"),
        ("4999999999", "/proc/4999999999/ns/net"),
    ],
)
def test_detach_when_the_namespace_is_gone(vx, api, netns, path):
    api.answer("POST", "/v1/detach", {})
    assert vx("detach", "blue", "--netns", netns).code == 0
    assert api.asked[0].body == {"network": "blue", "ifname": "eth0", "netns": path}


def test_detach_of_what_is_not_there(vx, api):
    api.refuse("POST", "/v1/detach", 404, "no port eth0")
    assert vx("detach", "blue", "--netns", "gone").code == 1
    assert vx("detach", "blue", "--netns", "gone", "--if-exists").code == 0
