from __future__ import annotations

import json
from typing import Any

import pytest

from vxswitch import config
from vxswitch.control import settings
from vxswitch.errors import UsageError
from vxswitch.model import NetworkRecord, Vtep

DEFAULTS = {"learning": "control", "unknown": "flood", "antispoof": "mac", "vlan": "strip"}


def made(**item: Any) -> config.Network:
    return settings.from_plain({"name": "red", **item}, "test", DEFAULTS)


def test_what_is_left_out_or_null_is_the_default() -> None:
    network = made(mtu=None, subnets=[], unknown="drop")
    assert (network.name, network.vni, network.mtu, network.learning) == ("red", None, None, "control")
    assert (network.unknown, network.antispoof, network.vlan) == ("drop", "mac", "strip")


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ({"vni": 0}, "16777215"),
        ({"vni": 2**24}, "16777215"),
        ({"vni": True}, "16777215"),
        ({"mtu": 20}, "68"),
        ({"mtu": "big"}, "auto"),
        ({"learning": "guess"}, "control"),
        ({"unknown": "guess"}, "ask"),
        ({"suppress": "yes"}, "true or false"),
        ({"subnets": ["10.0.0.1/24"]}, "host bits"),
        ({"subnets": ["10.0.0.0/8", "10.1.0.0/16"]}, "overlap"),
        ({"subnets": "10.0.0.0/24"}, "subnets"),
        ({"frob": 1}, "frob"),
        ({"name": "-bad"}, "network name"),
        ({"name": 7}, "name"),
        ({"peers": ["nonsense"]}, "not an IP address"),
    ],
)
def test_a_wrong_value_is_refused_in_the_configurations_words(item: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        settings.from_plain({"name": "red", **item}, "test", DEFAULTS)


@pytest.mark.parametrize("item", [None, [], "red", {"vni": 1}])
def test_what_is_no_network_is_refused(item: object) -> None:
    with pytest.raises(UsageError):
        settings.from_plain(item, "test", DEFAULTS)


def test_settings_survive_the_state_directory() -> None:
    for network in (
        made(),
        made(vni=7, mtu=1300, subnets=["10.0.0.0/24", "fd00::/64"], peers=["192.0.2.9:8472"], antispoof="off"),
    ):
        assert settings.from_plain(json.loads(json.dumps(settings.to_plain(network))), "test") == network
    assert made(peers=["192.0.2.9:8472"]).peers == (Vtep("192.0.2.9", 8472),)


def test_a_record_describes_a_network_completely() -> None:
    record = NetworkRecord("red", 100, ("10.0.0.0/24",), 1300, "flood", "drop", "off")
    network = settings.from_record(record, config.Networks(learning="control", vlan="carry"))
    assert network.record() == record and network.vlan == "carry"


def test_the_clusters_word_goes_before_ours_where_it_has_one() -> None:
    record = NetworkRecord("red", 100, ("10.0.0.0/24",), None, "flood", "drop", "off")
    network = settings.adopted(made(mtu=1300, unknown="flood"), record)
    assert (network.vni, network.subnets, network.learning) == (100, ("10.0.0.0/24",), "flood")
    assert (network.mtu, network.unknown, network.antispoof) == (1300, "flood", "mac")


@pytest.mark.parametrize(
    ("asked", "record", "words"),
    [
        ({}, NetworkRecord("red", 100, (), 1300), None),
        ({"vni": 100, "mtu": 1300}, NetworkRecord("red", 100, (), 1300), None),
        ({"vni": 101}, NetworkRecord("red", 100), "VNI 100 in the store, not 101"),
        ({"mtu": 1400}, NetworkRecord("red", 100, (), 1300), "MTU 1300 in the store, not 1400"),
        ({"mtu": 1400}, NetworkRecord("red", 100), None),
    ],
)
def test_vni_and_mtu_have_to_agree_with_the_record(
    asked: dict[str, Any], record: NetworkRecord, words: str | None
) -> None:
    told = settings.contradiction(made(**asked), record)
    assert told is None if words is None else words in (told or "")


def test_a_second_request_may_leave_things_out_but_not_differ() -> None:
    known = made(vni=100, mtu=1300, subnets=["10.0.0.0/24"])
    assert settings.difference(made(), known) is None
    assert "vni 100, not 200" in (settings.difference(made(vni=200), known) or "")
    assert "subnets 10.0.0.0/24, not 10.1.0.0/24" in (settings.difference(made(subnets=["10.1.0.0/24"]), known) or "")
    assert "unknown flood, not drop" in (settings.difference(made(unknown="drop"), known) or "")
    assert "mtu auto, not 1300" in (settings.difference(made(mtu=1300), made()) or "")


def test_what_cannot_change_while_frames_flow_is_named() -> None:
    known = made(vni=100)
    assert settings.fixed(made(unknown="drop"), known) == []
    assert settings.fixed(made(vni=100, subnets=["10.0.0.0/24"], mtu=1300), known) == ["subnets", "mtu"]
