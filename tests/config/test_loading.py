from __future__ import annotations

import json
import socket
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vxswitch.client import DEFAULT_SOCKET
from vxswitch.config import CommandLine, load, reload, reloadable
from vxswitch.config.layers import SECTIONS
from vxswitch.config.toml import render
from vxswitch.errors import UsageError
from vxswitch.model import Vtep


def loaded(env=None, **options):
    return load(CommandLine(**{"node": "n1", **options}), env or {})


def test_every_default_of_the_interface():
    config = load(CommandLine(), {})
    name = socket.gethostname().partition(".")[0]
    assert config.effective() == {
        "node": {
            "name": name,
            "state_dir": f"/var/lib/vxswitch/{name}",
            "cluster": "vxswitch",
            "socket": "/run/vxswitch/vxswitch.sock",
            "socket_group": None,
            "workers": 1,
        },
        "underlay": {
            "vteps": [],
            "port": 4789,
            "peers": [],
            "strict_reserved": False,
            "udp_checksum": "on",
            "udp6_zero_rx": False,
            "accept_fragments": True,
            "send_sockets": 64,
            "kernel_cut": "off",
            "copy_dscp": False,
            "ttl": 64,
            "receive_buffer": 8 * 2**20,
            "send_buffer": 4 * 2**20,
            "busy_poll": 0,
        },
        "store": {
            "url": "embedded:",
            "password_file": None,
            "listen": None,
            "sentinel_user": None,
            "sentinel_password_file": None,
            "ca_file": None,
            "cert_file": None,
            "key_file": None,
        },
        "timers": {"lease": 3.0, "beat": 1.0, "grace": 60.0, "probe": 0.3, "save": 5.0},
        "fdb": {"age": 300.0, "max_macs": 16384},
        "limits": {"bum_pps": 1000, "bum_burst": 2000, "mcast_copies": 250_000, "port_macs": 64},
        "mcast": {
            "snooping": "auto",
            "querier": "auto",
            "query_interval": 125.0,
            "response": 10.0,
            "robustness": 2,
            "last_member": 1.0,
            "fast_leave": True,
            "port_groups": 256,
            "network_groups": 1000,
        },
        "crypto": {"key_file": None},
        "networks": {
            "host_port": True,
            "antispoof": "mac",
            "learning": "control",
            "unknown": "flood",
            "vlan": "strip",
            "suppress": True,
            "mtu": "auto",
        },
        "log": {"level": "info", "format": "auto"},
        "metrics": {"listen": None},
    }
    assert str(config.node.socket) == DEFAULT_SOCKET
    assert config.node.attach_socket == Path("/run/vxswitch/attach.sock")


def test_the_settings_that_tests_divide():
    config = loaded(
        set=("timers.lease=1.5", "timers.beat=0.5", "fdb.age=4", "fdb.max_macs=64", "underlay.strict_reserved=true")
    )
    assert (config.timers.lease, config.timers.beat, config.fdb.age, config.fdb.max_macs) == (1.5, 0.5, 4.0, 64)
    assert config.underlay.strict_reserved is True


@pytest.mark.parametrize(
    ("options", "url", "learning"),
    [
        ({}, "embedded:", "control"),
        ({"peer": ("10.0.0.2",)}, "static:", "flood"),
        ({"set": ("networks.a.vni=1", "networks.a.peers=10.0.0.2")}, "static:", "flood"),
        ({"set": ("networks.a.vni=1", "networks.a.peers=")}, "embedded:", "control"),
        ({"peer": ("10.0.0.2",), "store": "redis://h"}, "redis://h", "control"),
        ({"store": "static:"}, "static:", "flood"),
    ],
)
def test_the_store_is_static_when_there_are_peers_and_embedded_otherwise(options, url, learning):
    config = loaded(**options)
    assert (config.store.url, config.networks.learning) == (url, learning)


def test_addresses_without_a_port_get_the_underlay_s():
    config = loaded(vtep=("10.0.0.1", "fd00::1", "10.0.0.9:7"), peer=("10.0.0.2",), set=("underlay.port=8472",))
    assert config.underlay.vteps == (Vtep("10.0.0.1", 8472), Vtep("fd00::1", 8472), Vtep("10.0.0.9", 7))
    assert config.underlay.peers == (Vtep("10.0.0.2", 8472),)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"key_file": "k"}, "encrypted networks are not supported in this version"),
        ({"set": ("crypto.key_file=/k",)}, "encrypted networks are not supported in this version"),
        ({"learning": "control", "peer": ("10.0.0.2",)}, "control.*static:"),
        ({"learning": "hybrid", "peer": ("10.0.0.2",)}, "hybrid.*static:"),
        ({"learning": "nonsense"}, "networks.learning = 'nonsense'"),
        ({"node": "a b"}, r"node\.name = 'a b' \(--node\)"),
        ({"cluster": "{x}"}, r"node\.cluster"),
        ({"socket": "/" + "x" * 200}, r"node\.socket.*107 bytes"),
        ({"metrics": "9100"}, r"metrics\.listen = '9100' \(--metrics\): want ADDR:PORT"),
        ({"vtep": ("10.0.0.300",)}, r"underlay\.vteps: .*not an IP address \(--vtep\)"),
        ({"vtep": ("10.0.0.1:99999",)}, r"underlay\.vteps: .*port"),
        ({"vtep": ("10.0.0.1", "10.0.0.1:4790")}, r"underlay\.vteps: 10.0.0.1:4789 and 10.0.0.1:4790 have one address"),
        ({"peer": ("10.0.0.2", "10.0.0.2:5")}, r"underlay\.peers: .*have one address"),
        ({"peer": ("10.0.0.2", "10.0.0.2")}, r"underlay\.peers: .*have one address"),
        ({"vtep": ("10.0.0.1",), "peer": ("10.0.0.1:5",)}, "own VTEP"),
        (
            {"vtep": ("fd00::1",), "set": ("networks.a.vni=1", "networks.a.peers=fd00:0::1")},
            r"networks\.a\.peers: .*own VTEP",
        ),
        (
            {"peer": ("10.0.0.2",), "set": ("networks.a.vni=1", "networks.a.peers=10.0.0.2:5")},
            r"networks\.a\.peers: .*one address",
        ),
        ({"set": ("timers.lease=1",)}, r"timers\.beat = 1: want at most half of timers.lease = 1"),
        ({"set": ("timers.grace=2",)}, r"timers\.grace = 2: want at least timers.lease = 3"),
        ({"set": ("underlay.port=x",)}, r"underlay\.port = 'x'"),
        ({"store": "redis://:hunter2@h x"}, r"store\.url = 'redis://\*\*\*@h x'"),
        ({"config": "/nonexistent/vx.toml"}, "cannot read configuration file"),
    ],
)
def test_what_is_wrong_is_one_line_that_names_it(options, says):
    with pytest.raises(UsageError, match=says) as caught:
        loaded(**options)
    assert "\n" not in str(caught.value) and "hunter2" not in str(caught.value)


def test_a_peer_may_be_named_for_all_and_for_one():
    config = loaded(peer=("10.0.0.2",), set=("networks.a.vni=1", "networks.a.peers=10.0.0.2"))
    assert config.joined[0].peers == config.underlay.peers


def test_a_host_name_that_is_none_wants_an_option(monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "_bad host.example")
    with pytest.raises(UsageError, match=r"'_bad host' .*give --node"):
        load(CommandLine(), {})
    monkeypatch.setattr(socket, "gethostname", lambda: "web-1.example.org")
    assert load(CommandLine(), {}).node.name == "web-1"


def test_no_secret_shows_anywhere():
    config = loaded({"VXSWITCH_STORE": "redis://:hunter2@h"}, set=("store.url=redis://u:hunter2@h/1",))
    assert config.store.password == "hunter2"
    shown = [repr(config), json.dumps(config.effective()), render(config.effective()), repr(config.options)]
    assert not any("hunter2" in text for text in shown)
    assert config.effective()["store"]["url"] == "redis://u:***@h/1"


RICH = {
    "vtep": ("10.0.0.1", "fd00::1"),
    "peer": ("10.0.0.2:8472",),
    "store": "redis://h/1",
    "network": ("blue=7", "my.net"),
    "metrics": "[::1]:9100",
    "set": (
        "networks.blue.subnets=10.1.0.0/24",
        "networks.blue.mtu=1400",
        "networks.blue.peers=10.0.0.3",
        "log.level=debug",
        "underlay.receive_buffer=16Mi",
    ),
}


def test_hosts_must_have_answered_before_they_are_asked_again():
    with pytest.raises(UsageError, match=r"mcast\.response = 10: want at most mcast\.query_interval = 5"):
        loaded(set=("mcast.query_interval=5",))
    assert loaded(set=("mcast.query_interval=5", "mcast.response=5")).mcast.membership == 15.0


def test_what_check_prints_is_a_file_that_means_the_same(tmp_path):
    config = loaded(**RICH)
    path = tmp_path / "effective.toml"
    path.write_text(render(config.effective()))
    again = load(CommandLine(config=str(path)), {})
    assert again.effective() == config.effective()
    assert (again.underlay, again.joined, again.store) == (config.underlay, config.joined, config.store)


class TestReload:
    @pytest.fixture
    def toml(self, tmp_path):
        path = tmp_path / "vx.toml"

        def write(text: str) -> str:
            path.write_text(text)
            return str(path)

        return write

    def test_networks_peers_limits_log_and_timers_change_live(self, toml):
        path = toml("")
        config = loaded(config=path, store="redis://h")
        toml(
            "[networks]\nunknown='drop'\n[networks.blue]\nvni=7\n[underlay]\npeers=['10.0.0.2']\n"
            "[limits]\nbum_pps=5\n[mcast]\nquerier='off'\n[log]\nlevel='debug'\n[timers]\nlease=9\n"
        )
        new, refused = reload(config, {})
        assert refused == []
        assert new.joined[0].vni == 7 and new.joined[0].unknown == "drop"
        assert new.underlay.peers == (Vtep("10.0.0.2"),)
        assert (new.limits.bum_pps, new.log.level, new.timers.lease) == (5, "debug", 9.0)
        assert new.mcast.querier == "off"

    def test_anything_else_is_named_and_left_as_it_was(self, toml):
        path = toml("")
        config = loaded(config=path, store="redis://h")
        toml(
            "[underlay]\nport=8472\npeers=['10.0.0.2']\n[fdb]\nage=4\n[node]\ncluster='c'\n[metrics]\nlisten='[::1]:1'\n"
        )
        new, refused = reload(config, {})
        assert refused == ["node.cluster", "underlay.port", "fdb.age", "metrics.listen"]
        assert (new.underlay.port, new.fdb, new.node, new.metrics) == (4789, config.fdb, config.node, config.metrics)
        assert new.underlay.peers == (Vtep("10.0.0.2", 8472),)

    def test_the_command_line_still_goes_before_the_file(self, toml):
        path = toml("")
        config = loaded(config=path, network=("blue=7",))
        toml("[networks.blue]\nvni=8\n[networks.red]\nvni=9\n")
        new, _ = reload(config, {})
        assert {network.name: network.vni for network in new.joined} == {"blue": 7, "red": 9}

    def test_what_was_derived_stays(self, toml, monkeypatch):
        monkeypatch.setattr(socket, "gethostname", lambda: "before")
        config = load(CommandLine(config=toml("")), {})
        monkeypatch.setattr(socket, "gethostname", lambda: "after")
        toml("[underlay]\npeers=['10.0.0.2']\n")
        new, refused = reload(config, {})
        assert refused == []
        assert (new.node.name, new.store.url, new.networks.learning) == ("before", "embedded:", "control")

    def test_a_new_peer_that_is_our_own_vtep_is_refused(self, toml):
        config = loaded(config=toml(""), vtep=("10.0.0.1",))
        toml("[underlay]\npeers=['10.0.0.1']\n")
        with pytest.raises(UsageError, match="own VTEP"):
            reload(config, {})

    def test_a_wrong_file_changes_nothing(self, toml):
        config = loaded(config=toml("[limits]\nbum_pps=5\n"))
        toml("[limits]\nbum_pps=0\n")
        with pytest.raises(UsageError, match=r"limits\.bum_pps = 0"):
            reload(config, {})
        assert config.limits.bum_pps == 5

    def test_a_changed_password_is_named_without_showing(self):
        old, new = loaded(store="redis://:one@h"), loaded(store="redis://:two@h")
        assert reloadable(old, new) == ["store.password"]
        assert reloadable(old, old) == []


def test_the_sections_of_the_interface():
    named = ["node", "underlay", "store", "timers", "fdb", "limits", "mcast", "crypto", "networks", "log", "metrics"]
    assert list(SECTIONS) == named == list(loaded().effective())
    assert list(tomllib.loads(render(loaded().effective()))) == named


KEYS = [f"{name}.{key}" for name, section in SECTIONS.items() for key in section.__struct_fields__]


@given(st.lists(st.tuples(st.sampled_from(KEYS), st.text(max_size=20)), max_size=3))
def test_any_text_for_any_key_is_taken_or_refused_in_words(settings):
    try:
        config = loaded(set=tuple(f"{key}={value}" for key, value in settings))
    except UsageError:
        return
    assert json.dumps(config.effective())
