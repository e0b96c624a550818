"""The values that cross rooms: text at the doors, canonical inside, frozen."""

from __future__ import annotations

import dataclasses
import ipaddress
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vxswitch.errors import UsageError
from vxswitch.model import (
    VNI_MAX,
    Claim,
    Vtep,
    check_network_name,
    check_vni,
    format_mac,
    parse_mac,
)


@settings(deadline=None)
@given(st.binary(min_size=6, max_size=6))
def test_a_mac_survives_its_text(mac: bytes) -> None:
    text = format_mac(mac)
    assert text == ":".join(f"{byte:02x}" for byte in mac)
    assert parse_mac(text) == parse_mac(text.upper()) == parse_mac(text.replace(":", "-")) == mac


@pytest.mark.parametrize(
    "text", ["", "02:00", "02:00:00:00:00:0g", "02:00:00:00:00:01:02", "0200.0000.0001", " 02:00:00:00:00:01", None, 7]
)
def test_what_is_no_mac_is_refused_with_the_text_in_the_message(text: object) -> None:
    with pytest.raises(UsageError, match="six hex pairs"):
        parse_mac(text)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["a", "web", "0", "a" * 63, "A_b.c-d"])
def test_network_names(name: str) -> None:
    assert check_network_name(name) == name


@pytest.mark.parametrize("name", ["", "-a", ".a", "a" * 64, "a b", "a/b", "a\n", "ä", None])
def test_what_is_no_network_name(name: object) -> None:
    with pytest.raises(UsageError, match="network name"):
        check_network_name(name)  # type: ignore[arg-type]


@pytest.mark.parametrize("vni", [1, 4096, VNI_MAX])
def test_r13_a_vni_has_24_bits(vni: int) -> None:
    assert check_vni(vni) == vni


@pytest.mark.parametrize("vni", [0, -1, VNI_MAX + 1, True, "7", 7.0, None])
def test_r13_what_is_no_vni(vni: object) -> None:
    with pytest.raises(UsageError, match="VNI"):
        check_vni(vni)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "address", "port", "shown"),
    [
        ("192.0.2.1", "192.0.2.1", 4789, "192.0.2.1:4789"),
        ("192.0.2.1:8472", "192.0.2.1", 8472, "192.0.2.1:8472"),
        ("2001:DB8:0:0::1", "2001:db8::1", 4789, "[2001:db8::1]:4789"),
        ("[2001:db8::1]", "2001:db8::1", 4789, "[2001:db8::1]:4789"),
        ("[2001:db8::1]:8472", "2001:db8::1", 8472, "[2001:db8::1]:8472"),
    ],
)
def test_r15_a_vtep_may_name_its_port(text: str, address: str, port: int, shown: str) -> None:
    vtep = Vtep.parse(text)
    assert (vtep.address, vtep.port, str(vtep)) == (address, port, shown)
    assert vtep.family == (socket.AF_INET6 if ":" in address else socket.AF_INET)
    assert vtep.sockaddr == (address, port)
    assert Vtep.parse(shown) == vtep and hash(Vtep.parse(shown)) == hash(vtep)


@pytest.mark.parametrize(
    "text",
    [
        *("", "host", "192.0.2.256", "0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255"),
        *("fe80::1%eth0", "fe80::1"),
        *("192.0.2.1:0", "192.0.2.1:65536", "192.0.2.1:x", "192.0.2.1:²", "192.0.2.1:-1", "[2001:db8::1]4789"),
    ],
)
def test_what_is_no_vtep(text: str) -> None:
    with pytest.raises(UsageError, match="VTEP"):
        Vtep.parse(text)


@settings(deadline=None)
@given(st.ip_addresses(v=6, network="2000::/3"))
def test_r25_the_text_of_a_vtep_is_what_the_kernel_says_of_a_sender(address: ipaddress.IPv6Address) -> None:
    """On receipt a VTEP is known by its address as text: both must spell it alike."""
    kernel = socket.inet_ntop(socket.AF_INET6, address.packed)
    assert Vtep.parse(address.exploded).address == kernel


def test_values_are_frozen() -> None:
    claim = Claim(7, bytes(6), "a", "uid", 1, (Vtep("192.0.2.1"),))
    with pytest.raises(dataclasses.FrozenInstanceError):
        claim.vni = 8  # type: ignore[misc]
