from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vxswitch.config.layers import CommandLine, from_command_line, from_environment, from_file, from_set, gather
from vxswitch.errors import UsageError


@pytest.fixture
def toml(tmp_path):
    def write(text: str | bytes, mode: int = 0o600) -> Path:
        path = tmp_path / "vx.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        path.chmod(mode)
        return path

    return write


def plain(table):
    return {key: given.value for key, given in table.items()}


def test_a_file_gives_sections_and_networks(toml):
    path = toml('[timers]\nlease = 2\n[networks]\nmtu = 1400\n[networks.blue]\nvni = 7\n[networks."my.net"]\nvni = 8\n')
    layers = from_file(path)
    assert plain(layers.sections["timers"]) == {"lease": 2}
    assert plain(layers.sections["networks"]) == {"mtu": 1400}
    assert {name: plain(table) for name, table in layers.networks.items()} == {"blue": {"vni": 7}, "my.net": {"vni": 8}}
    assert layers.sections["timers"]["lease"].origin == f"in {path}"


@pytest.mark.parametrize(
    ("mode", "exposed"), [(0o600, False), (0o400, False), (0o640, True), (0o604, True), (0o644, True)]
)
def test_values_know_whether_others_may_read_their_file(toml, mode, exposed):
    assert from_file(toml("[timers]\nlease = 2\n", mode)).sections["timers"]["lease"].exposed is exposed


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[timer]\n", "unknown section 'timer'.*did you mean timers"),
        ("timers = 3\n", r"timers .*want a table \[timers\]"),
        ("[timers\n", "is not TOML.*line 1"),
        ("x = " + "9" * 5000, "is not TOML"),
        ("x = " + "[" * 100000, "is not TOML"),
        (b"\xff\xfe", "is not TOML"),
        ('[networks."a b"]\nvni = 1\n', "network name 'a b'"),
        ("[networks.mtu]\nvni = 1\n", "network name 'mtu'.*key of"),
        ("x" * 2**20 + "x", "longer than"),
    ],
)
def test_wrong_files(toml, text, says):
    with pytest.raises(UsageError, match=says):
        from_file(toml(text))


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(UsageError, match=r"cannot read configuration file .*No such file"):
        from_file(tmp_path / "none.toml")
    with pytest.raises(UsageError, match=r"cannot read configuration file .*directory"):
        from_file(tmp_path)


def test_each_option_stands_for_its_key():
    options = CommandLine(
        node="n",
        vtep=("10.0.0.1",),
        store="static:",
        cluster="c",
        network=("blue=7", "red"),
        peer=("10.0.0.2", "10.0.0.3"),
        learning="flood",
        key_file="k",
        socket="/s",
        state_dir="/d",
        metrics="127.0.0.1:1",
        workers="2",
    )
    layers = from_command_line(options)
    assert {name: plain(table) for name, table in layers.sections.items()} == {
        "node": {"name": "n", "state_dir": "/d", "cluster": "c", "workers": "2", "socket": "/s"},
        "underlay": {"vteps": ["10.0.0.1"], "peers": ["10.0.0.2", "10.0.0.3"]},
        "store": {"url": "static:"},
        "crypto": {"key_file": "k"},
        "networks": {"learning": "flood"},
        "metrics": {"listen": "127.0.0.1:1"},
    }
    assert {name: plain(table) for name, table in layers.networks.items()} == {"blue": {"vni": "7"}, "red": {}}


@pytest.mark.parametrize(
    ("networks", "says"),
    [
        (("blue=1", "blue=1"), "'blue' is named twice"),
        (("blue=1", "blue"), "'blue' is named twice"),
        (("=1",), "network name ''"),
        (("-a=1",), "network name '-a'"),
        (("blue=",), "want NAME or NAME=VNI"),
        (("x" * 64,), "network name"),
        (("mtu=5",), "key of"),
    ],
)
def test_wrong_networks_on_the_command_line(networks, says):
    with pytest.raises(UsageError, match=says):
        from_command_line(CommandLine(network=networks))


def test_set_reaches_sections_and_networks():
    layers = from_set(["timers.lease=1.5", "store.url=a=b", "networks.host_port=false", "networks.my.net.vni=4"])
    assert {name: plain(table) for name, table in layers.sections.items()} == {
        "timers": {"lease": "1.5"},
        "store": {"url": "a=b"},
        "networks": {"host_port": "false"},
    }
    assert plain(layers.networks["my.net"]) == {"vni": "4"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("timers.lease", "want SECTION.KEY=VALUE"),
        ("timers=1", "want SECTION.KEY=VALUE"),
        (".lease=1", "want SECTION.KEY=VALUE"),
        ("timers.=1", "want SECTION.KEY=VALUE"),
        ("", "want SECTION.KEY=VALUE"),
        ("timer.lease=1", "unknown section 'timer'.*did you mean timers"),
        ("networks.a b.vni=1", "network name 'a b'"),
    ],
)
def test_wrong_set(text, says):
    with pytest.raises(UsageError, match=says):
        from_set([text])


def test_a_wrong_set_shows_no_password():
    with pytest.raises(UsageError) as caught:
        from_set(["redis://:hunter2@host"])
    assert "hunter2" not in str(caught.value) and "***" in str(caught.value)


def test_only_the_socket_comes_from_the_environment_here():
    assert from_environment({"VXSWITCH_SOCKET": "", "VXSWITCH_STORE": "redis://h"}).sections == {}
    assert plain(from_environment({"VXSWITCH_SOCKET": "/s"}).sections["node"]) == {"socket": "/s"}


def test_file_then_environment_then_command_line_then_set(toml):
    path = str(
        toml('[node]\nname = "f"\nsocket = "/f"\ncluster = "f"\nstate_dir = "/f"\n[networks.blue]\nvni = 1\nmtu = 9\n')
    )
    env = {"VXSWITCH_SOCKET": "/env"}
    layers = gather(CommandLine(config=path, node="c", cluster="c", network=("blue=2",), set=("node.cluster=s",)), env)
    assert plain(layers.sections["node"]) == {"name": "c", "socket": "/env", "cluster": "s", "state_dir": "/f"}
    assert plain(layers.networks["blue"]) == {"vni": "2", "mtu": 9}
    assert gather(CommandLine(socket="/c"), env).sections["node"]["socket"].value == "/c"


def test_a_list_replaces_the_one_below(toml):
    path = str(toml('[underlay]\npeers = ["10.0.0.1"]\n'))
    layers = gather(CommandLine(config=path, peer=("10.0.0.2",)), {})
    assert layers.sections["underlay"]["peers"].value == ["10.0.0.2"]


def test_the_command_line_does_not_show_its_secrets():
    assert "hunter2" not in repr(CommandLine(store="redis://:hunter2@h", set=("store.url=redis://:hunter2@h",)))


@given(st.lists(st.text(), max_size=3), st.lists(st.text(), max_size=3))
def test_any_text_is_taken_or_refused_in_words(settings, networks):
    for call in (lambda: from_set(settings), lambda: from_command_line(CommandLine(network=tuple(networks)))):
        try:
            call()
        except UsageError:
            continue
