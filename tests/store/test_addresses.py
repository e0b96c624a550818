"""The hosts of a subnet, judged by the standard library's own list of them."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vxswitch.errors import UsageError
from vxswitch.store.addresses import address_key, address_text, check_owner, host_range

small = st.one_of(
    st.tuples(st.ip_addresses(v=4), st.integers(24, 32)),
    st.tuples(st.ip_addresses(v=6), st.integers(120, 128)),
).map(lambda pair: ipaddress.ip_network(f"{pair[0]}/{pair[1]}", strict=False))


@given(small)
def test_every_host_and_no_other_address_can_be_handed_out(
    network: ipaddress.IPv4Network | ipaddress.IPv6Network,
) -> None:
    hosts = host_range(str(network))
    texts = [address_text(str(network), f"{hosts.prefix}{number:08x}") for number in range(hosts.first, hosts.last + 1)]
    assert texts == [f"{host}/{network.prefixlen}" for host in network.hosts()]
    for number, host in enumerate(network.hosts(), hosts.first):
        assert address_key(str(network), str(host)) == f"{hosts.prefix}{number:08x}"


@given(small)
def test_only_hosts_have_a_key(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> None:
    for address in set(network) - set(network.hosts()):
        with pytest.raises(UsageError):
            address_key(str(network), str(address))


@pytest.mark.parametrize(
    ("subnet", "first", "last"),
    [
        ("10.0.0.0/8", "10.0.0.1/8", "10.255.255.254/8"),
        ("fd00::/64", "fd00::1/64", "fd00::ffff:ffff/64"),
        ("fd00::/96", "fd00::1/96", "fd00::ffff:ffff/96"),
        ("fd00::8000:0/97", "fd00::8000:1/97", "fd00::ffff:ffff/97"),
        ("0.0.0.0/0", "0.0.0.1/0", "255.255.255.254/0"),
    ],
)
def test_wide_subnets(subnet: str, first: str, last: str) -> None:
    hosts = host_range(subnet)
    assert address_text(subnet, f"{hosts.prefix}{hosts.first:08x}") == first
    assert address_text(subnet, f"{hosts.prefix}{hosts.last:08x}") == last


@pytest.mark.parametrize(
    ("subnet", "address"),
    [
        ("10.0.0.1/24", "10.0.0.1"),
        ("10.0.0.0/33", "10.0.0.1"),
        ("", ""),
        ("10.0.0.0/24", "10.0.1.1"),
        ("10.0.0.0/24", "fd00::1"),
        ("10.0.0.0/24", "10.0.0.255"),
        ("10.0.0.0/24", "ten"),
    ],
)
def test_nonsense_is_a_usage_error(subnet: str, address: str) -> None:
    with pytest.raises(UsageError):
        address_key(subnet, address)


@pytest.mark.parametrize("owner", ["", "x" * 201, "two\nlines", "nul\0"])
def test_owners_are_one_line(owner: str) -> None:
    with pytest.raises(UsageError):
        check_owner(owner)
