from __future__ import annotations

from ipaddress import ip_interface
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vxswitch.config import rules
from vxswitch.config.rules import Listen
from vxswitch.errors import UsageError


@pytest.mark.parametrize(
    ("text", "bits"),
    [("1", 1), (1500, 1500), ("8k", 8_000), ("8K", 8_000), ("100M", 100_000_000), ("1.5G", 1_500_000_000)],
)
def test_rates_are_decimal_bits(text, bits):
    assert rules.parse_rate(text) == bits


@pytest.mark.parametrize("text", ["", "0", "-1", "1m", "1Mi", "M", "1 M", "1e3", "fast", 0, -5, True, None, 1.5, "١"])
def test_wrong_rates(text):
    with pytest.raises(ValueError):
        rules.parse_rate(text)


@pytest.mark.parametrize(
    ("text", "size"), [("4096", 4096), ("4Ki", 4096), ("8M", 8_000_000), ("8Mi", 2**23), (2**30, 2**30)]
)
def test_buffers_are_bytes(text, size):
    assert rules.parse_buffer(text) == size


@pytest.mark.parametrize("text", ["4095", "2Gi", 0, "1Ti", "x", False])
def test_wrong_buffers(text):
    with pytest.raises(ValueError):
        rules.parse_buffer(text)


@pytest.mark.parametrize(("value", "mtu"), [("auto", None), (1400, 1400), ("9000", 9000), (68, 68), (65521, 65521)])
def test_mtu(value, mtu):
    assert rules.parse_mtu(value) == mtu


@pytest.mark.parametrize("value", [67, 65522, "", "Auto", "-1", 1400.0, True, None])
def test_wrong_mtu(value):
    with pytest.raises(ValueError):
        rules.parse_mtu(value)


@pytest.mark.parametrize(("value", "vni"), [(1, 1), ("100", 100), (16777215, 16777215)])
def test_vni(value, vni):
    assert rules.parse_vni(value) == vni


@pytest.mark.parametrize("value", [0, "0", 16777216, "16777216", "9" * 5000, -1, "", "blue", 1.0, True, "١"])
def test_wrong_vni_says_the_range(value):
    with pytest.raises(UsageError, match="1 to 16777215"):
        rules.parse_vni(value)


@pytest.mark.parametrize(
    ("text", "subnet"),
    [("10.1.0.0/24", "10.1.0.0/24"), ("10.1.0.0/255.255.255.0", "10.1.0.0/24"), ("FD00:1::/64", "fd00:1::/64")],
)
def test_subnets_become_canonical(text, subnet):
    assert rules.parse_subnet(text) == subnet


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("10.1.0.1/24", "did you mean 10.1.0.0/24"),
        ("10.1.0.0", "CIDR"),
        ("10.1.0.0/33", "CIDR"),
        ("blue", "CIDR"),
        ("224.0.0.0/24", "unicast"),
        ("127.0.0.0/8", "loopback"),
        ("0.0.0.0/0", "unicast"),
        ("10.1.0.0/31", "four"),
        ("fd00::/128", "four"),
        (7, "CIDR"),
    ],
)
def test_wrong_subnets(text, says):
    with pytest.raises(UsageError, match=says):
        rules.parse_subnet(text)


@pytest.mark.parametrize(
    ("subnets", "fine"),
    [
        ([], True),
        (["10.1.0.0/24", "10.2.0.0/24", "fd00::/64"], True),
        (["10.1.0.0/24", "10.1.0.0/24"], False),
        (["10.1.0.0/16", "10.1.7.0/24"], False),
        (["fd00::/48", "fd00:0:0:1::/64"], False),
    ],
)
def test_subnets_of_one_network_do_not_overlap(subnets, fine):
    if fine:
        assert rules.check_subnets(subnets) == tuple(subnets)
    else:
        with pytest.raises(UsageError, match="overlap"):
            rules.check_subnets(subnets)


@pytest.mark.parametrize(
    ("text", "default", "listen"),
    [
        ("127.0.0.1:9100", None, Listen("127.0.0.1", 9100)),
        ("[::1]:9100", None, Listen("::1", 9100)),
        ("0.0.0.0", 6379, Listen("0.0.0.0", 6379)),
        ("::1", 6379, Listen("::1", 6379)),
        ("[::1]", 6379, Listen("::1", 6379)),
    ],
)
def test_listening_addresses(text, default, listen):
    assert rules.parse_listen(text, default) == listen


def test_a_listening_address_prints_as_it_is_written():
    assert [str(Listen("127.0.0.1", 1)), str(Listen("::1", 2))] == ["127.0.0.1:1", "[::1]:2"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "9100",
        ":9100",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "127.0.0.1:" + "9" * 5000,
        "[::1",
        "[::1]x",
        "host:1",
        9100,
    ],
)
def test_wrong_listening_addresses(text):
    with pytest.raises(ValueError):
        rules.parse_listen(text)


def test_a_colon_promises_a_port():
    with pytest.raises(ValueError):
        rules.parse_store_listen("127.0.0.1:")


@pytest.mark.parametrize("name", ["a", "node-1", "N.1_x", "x" * 63])
def test_names(name):
    assert rules.parse_name(name) == name


@pytest.mark.parametrize("name", ["", "-a", "a b", "a/b", "{a}", "x" * 64, "a\n", None, 5])
def test_wrong_names(name):
    with pytest.raises(ValueError):
        rules.parse_name(name)


def test_paths_become_absolute():
    assert rules.parse_path("x/y") == Path.cwd() / "x/y"


@pytest.mark.parametrize("path", ["", "a\0b", 5])
def test_wrong_paths(path):
    with pytest.raises(ValueError):
        rules.parse_path(path)


def test_a_file_must_be_one(tmp_path):
    with pytest.raises(UsageError, match="not a file"):
        rules.file_path(str(tmp_path))
    (tmp_path / "f").touch()
    assert rules.file_path(str(tmp_path / "f")) == tmp_path / "f"


def test_a_socket_path_fits_a_sockaddr_with_attach_sock_beside_it():
    directory = "/" + "d" * 94
    assert rules.socket_path(f"{directory}/s") == Path(f"{directory}/s")
    with pytest.raises(UsageError, match="107 bytes"):
        rules.socket_path(f"{directory}ddd/s")
    with pytest.raises(UsageError, match="107 bytes"):
        rules.socket_path("/" + "é" * 54)


def test_what_is_not_built_is_refused():
    with pytest.raises(UsageError, match="isolation 'ports': not supported in this version"):
        rules.check_built("isolation", "ports")


def test_what_is_built_passes():
    assert rules.check_built("isolation", "none") == "none"
    assert rules.check_built("name", "ports") == "ports"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("redis://:pw@h:1/0", "redis://***@h:1/0"),
        ("redis://u:p@w/x?y@h", "redis://***@h"),
        ("redis://h?password=pw&db=1", "redis://h?password=***&db=1"),
        ("redis://h:1/0", "redis://h:1/0"),
        ("plain", "plain"),
    ],
)
def test_mask(text, masked):
    assert rules.mask(text) == masked


def test_did_you_mean():
    assert rules.did_you_mean("leese", ["lease", "beat"]) == "; did you mean lease?"
    assert rules.did_you_mean("xyz", ["lease", "beat"]) == ""


ANY = st.text() | st.integers() | st.floats() | st.booleans() | st.none() | st.lists(st.text(), max_size=2)


@given(ANY)
def test_any_value_is_read_or_refused_in_words(value):
    for parse in (
        rules.parse_rate,
        rules.parse_buffer,
        rules.parse_mtu,
        rules.parse_vni,
        rules.parse_subnet,
        rules.parse_listen,
        rules.parse_store_listen,
        rules.parse_name,
        rules.parse_path,
        rules.socket_path,
    ):
        try:
            parse(value)
        except (ValueError, UsageError):
            continue


@given(st.ip_addresses(), st.integers(0, 128))
def test_every_subnet_accepted_is_its_own_network_address(address, prefix):
    try:
        subnet = rules.parse_subnet(f"{address}/{prefix}")
    except UsageError:
        return
    assert ip_interface(subnet).ip == ip_interface(subnet).network.network_address
