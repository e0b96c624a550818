from __future__ import annotations

import pytest

from vxswitch.config.convert import Given, build, vteps
from vxswitch.config.sections import Fdb, Limits, Log, Network, StoreKeys, Timers, Underlay
from vxswitch.errors import UsageError
from vxswitch.model import Vtep


def in_file(**values):
    return {key: Given(value, "in vx.toml") for key, value in values.items()}


def typed(**values):
    return {key: Given(value, "--set", text=True) for key, value in values.items()}


def test_an_empty_table_gives_the_defaults():
    assert build(Timers, "timers", {}) == Timers(lease=3.0, beat=1.0, grace=60.0, probe=0.3, save=5.0)


@pytest.mark.parametrize(
    ("section", "key", "text", "value"),
    [
        (Timers, "lease", "1.5", 1.5),
        (Timers, "lease", "2", 2.0),
        (Fdb, "max_macs", "64", 64),
        (Underlay, "strict_reserved", "true", True),
        (Underlay, "strict_reserved", "false", False),
        (Underlay, "udp_checksum", "zero", "zero"),
        (Underlay, "receive_buffer", "4Mi", 4 * 2**20),
        (Log, "level", "debug", "debug"),
        (StoreKeys, "listen", "", None),
    ],
)
def test_text_stands_for_what_it_says(section, key, text, value):
    needed = {"url": Given("static:", "test")} if section is StoreKeys else {}
    assert getattr(build(section, "s", needed | typed(**{key: text})), key) == value


@pytest.mark.parametrize(
    ("section", "key", "value", "allowed"),
    [
        (Timers, "lease", "1.5", "a number from 0.01 to 86400"),
        (Timers, "lease", float("nan"), "a number from 0.01 to 86400"),
        (Timers, "lease", float("inf"), "a number from 0.01 to 86400"),
        (Timers, "lease", True, "a number"),
        (Timers, "lease", 0, "a number"),
        (Fdb, "max_macs", 64.0, "a whole number from 1 to 1048576"),
        (Fdb, "max_macs", True, "a whole number"),
        (Fdb, "max_macs", 0, "a whole number"),
        (Limits, "port_macs", [1], "a whole number"),
        (Underlay, "port", 65536, "a whole number from 1 to 65535"),
        (Underlay, "ttl", 256, "a whole number from 1 to 255"),
        (Underlay, "strict_reserved", "true", "true or false"),
        (Underlay, "strict_reserved", 1, "true or false"),
        (Underlay, "udp_checksum", "off", '"on" or "zero"'),
        (Underlay, "receive_buffer", "big", "bytes from 4Ki to 1Gi"),
        (Log, "level", "loud", '"debug" or "info" or "warning" or "error"'),
    ],
)
def test_a_wrong_value_is_named_with_its_key_its_place_and_what_is_allowed(section, key, value, allowed):
    with pytest.raises(UsageError) as caught:
        build(section, "s", in_file(**{key: value}))
    message = str(caught.value)
    assert message.startswith(f"s.{key} = {value!r} (in vx.toml): want ")
    assert allowed in message


def test_an_unknown_key_is_named_with_the_nearest_and_without_its_value():
    with pytest.raises(UsageError) as caught:
        build(Timers, "timers", in_file(leese="hunter2"))
    message = str(caught.value)
    assert message == (
        "unknown key timers.leese (in vx.toml); did you mean lease?; want one of lease, beat, grace, probe, save"
    )


def test_fixed_fields_are_no_keys():
    settings = {"mtu": None, "learning": "flood", "unknown": "flood", "antispoof": "mac", "vlan": "strip"}
    assert build(Network, "networks.a", in_file(vni=5), name="a", **settings).name == "a"
    with pytest.raises(UsageError, match=r"unknown key networks\.a\.name"):
        build(Network, "networks.a", in_file(name="b"), name="a", **settings)


@pytest.mark.parametrize(
    ("given", "port", "expected"),
    [
        (Given(["10.0.0.1", "[fd00::1]:5"], "f"), 4789, (Vtep("10.0.0.1"), Vtep("fd00::1", 5))),
        (Given("10.0.0.1, 10.0.0.2:7", "s", text=True), 8472, (Vtep("10.0.0.1", 8472), Vtep("10.0.0.2", 7))),
        (Given("", "s", text=True), 4789, ()),
        (Given([], "f"), 4789, ()),
    ],
)
def test_vteps(given, port, expected):
    assert vteps("underlay.peers", given, port).value == expected


@pytest.mark.parametrize(
    "value",
    [
        "10.0.0.1",
        5,
        [5],
        ["10.0.0.300"],
        ["host"],
        ["10.0.0.1:0"],
        ["10.0.0.1:" + "9" * 5000],
        ["224.0.0.1"],
        ["0.0.0.0"],
    ],
)
def test_wrong_vteps(value):
    with pytest.raises(UsageError, match=r"underlay\.peers.*\(in f\)"):
        vteps("underlay.peers", Given(value, "in f"), 4789)
