from __future__ import annotations

import pytest

from vxswitch.config.convert import Given
from vxswitch.config.layers import CommandLine, from_command_line, from_set
from vxswitch.config.networks import build_joined, build_networks
from vxswitch.errors import UsageError
from vxswitch.model import Vtep

REDIS, STATIC = "redis://h", "static:"


def networks(*settings, named=(), store=REDIS, port=4789):
    layers = from_set(settings).over(from_command_line(CommandLine(network=named)))
    defaults = build_networks(layers, store)
    return defaults, build_joined(layers, defaults, store, port)


@pytest.mark.parametrize(("store", "learning"), [(REDIS, "control"), ("embedded:", "control"), (STATIC, "flood")])
def test_the_store_decides_who_teaches(store, learning):
    assert networks(store=store)[0].learning == learning


def test_a_network_takes_what_it_does_not_say_from_the_defaults():
    settings = ["networks.mtu=1400", "networks.antispoof=off", "networks.unknown=drop", "networks.vlan=carry"]
    _, (blue, red) = networks(
        *settings, "networks.red.mtu=auto", "networks.red.unknown=flood", named=("blue=1", "red=2")
    )
    assert (blue.mtu, blue.antispoof, blue.unknown, blue.vlan, blue.learning) == (
        1400,
        "off",
        "drop",
        "carry",
        "control",
    )
    assert (red.mtu, red.antispoof, red.unknown) == (None, "off", "flood")


def test_a_network_snoops_as_the_section_mcast_says_unless_it_has_a_word_of_its_own():
    _, (blue, red) = networks("networks.red.snooping=off", "networks.red.querier=off", named=("blue=1", "red=2"))
    assert (blue.snooping, blue.querier, red.snooping, red.querier) == (None, None, "off", "off")
    with pytest.raises(UsageError, match=r'networks\.a\.snooping = \'maybe\'.*want "auto" or "on" or "off"'):
        networks("networks.a.snooping=maybe", named=("a=1",))


def test_a_network_s_own_keys():
    _, (blue,) = networks(
        "networks.blue.vni=7",
        "networks.blue.subnets=10.1.0.0/24,fd00::/64",
        "networks.blue.peers=10.0.0.2,[fd00::9]:5",
        port=8472,
    )
    assert blue.vni == 7
    assert blue.subnets == ("10.1.0.0/24", "fd00::/64")
    assert blue.peers == (Vtep("10.0.0.2", 8472), Vtep("fd00::9", 5))


@pytest.mark.parametrize(
    ("settings", "named", "store", "says"),
    [
        ([], ("a=0",), REDIS, r"networks\.a\.vni: VNI 0"),
        ([], ("a=16777216",), REDIS, r"networks\.a\.vni: VNI 16777216"),
        ([], ("a=x",), REDIS, r"networks\.a\.vni: VNI 'x'"),
        ([], ("a=7", "b=7"), REDIS, "'a' and 'b' have the same VNI 7"),
        ([], ("a",), STATIC, "'a' has no VNI.*give =VNI"),
        (["networks.learning=control"], (), STATIC, r"networks\.learning = 'control'.*static:"),
        (["networks.a.learning=control"], ("a=1",), STATIC, r"networks\.a\.learning = 'control'.*static:"),
        (["networks.learning=hybrid"], (), STATIC, r"networks\.learning = 'hybrid'.*static:"),
        (["networks.a.suppress=maybe"], ("a=1",), REDIS, r"networks\.a\.suppress = 'maybe'.*want true or false"),
        (["networks.a.subnets=10.0.0.0/24,10.0.0.0/25"], ("a=1",), REDIS, r"networks\.a\.subnets: .*overlap"),
        (["networks.a.subnets=10.0.0.1/24"], ("a=1",), REDIS, r"networks\.a\.subnets: .*did you mean 10.0.0.0/24"),
        (["networks.a.peers=host"], ("a=1",), REDIS, r"networks\.a\.peers: .*not an IP address"),
        (["networks.a.name=b"], ("a=1",), REDIS, r"unknown key networks\.a\.name"),
        (["networks.a.host_port=no"], ("a=1",), REDIS, r"unknown key networks\.a\.host_port"),
        (["networks.a.mtu=1"], ("a=1",), REDIS, r"networks\.a\.mtu = '1'"),
        (["networks.host_prot=false"], (), REDIS, "did you mean host_port"),
        (["networks.blue=7"], (), REDIS, r"hold for all networks, one network is a table \[networks\.blue\]"),
    ],
)
def test_wrong_networks(settings, named, store, says):
    with pytest.raises(UsageError, match=says):
        networks(*settings, named=named, store=store)


def test_two_networks_may_have_equal_subnets():
    subnet = "10.1.0.0/24"
    _, joined = networks(f"networks.a.subnets={subnet}", f"networks.b.subnets={subnet}", named=("a=1", "b=2"))
    assert [network.subnets for network in joined] == [(subnet,), (subnet,)]


def test_a_list_in_the_file_must_be_one():
    layers = from_set([])
    layers.networks["a"] = {"vni": Given(1, "in f"), "subnets": Given("10.0.0.0/24", "in f")}
    with pytest.raises(UsageError, match=r"networks\.a\.subnets = '10.0.0.0/24' \(in f\): want a list"):
        build_joined(layers, build_networks(layers, REDIS), REDIS, 4789)
