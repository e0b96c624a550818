"""underlay: the default route's source address, the device of an address, duplicate address detection."""

from collections.abc import Callable

import pytest

from tests.kernel.namespaces import Namespace, until
from vxswitch.attach import underlay
from vxswitch.errors import NotFoundError, UsageError, VxswitchError

Make = Callable[[], Namespace]
Pair = tuple[Namespace, Namespace]


def test_without_a_default_route_there_is_no_default_source(pair: Pair) -> None:
    one, _ = pair
    with pytest.raises(UsageError, match=r"no default route .* give --vtep"):
        one.call(underlay.default_source)


def test_the_address_beside_the_gateway_is_the_source(pair: Pair) -> None:
    one, _ = pair
    one.ip("address", "add", "198.51.100.1/24", "dev", "u0")
    one.ip("route", "add", "default", "via", "198.51.100.254", "dev", "u0")
    assert one.call(underlay.default_source) == "198.51.100.1"
    assert "src 198.51.100.1" in one.ip("route", "get", "203.0.113.1"), "as the kernel sees it"


def test_the_preferred_source_of_the_route_wins(pair: Pair) -> None:
    one, _ = pair
    one.ip("address", "add", "203.0.113.9/32", "dev", "lo")
    one.ip("route", "add", "default", "via", "192.0.2.254", "src", "203.0.113.9")
    assert one.call(underlay.default_source) == "203.0.113.9"


def test_the_route_with_the_lowest_metric_wins_and_ipv4_comes_first(pair: Pair) -> None:
    one, _ = pair
    one.ip("link", "add", "w0", "type", "veth", "peer", "name", "w1")
    one.ip("address", "add", "198.51.100.1/24", "dev", "w0")
    one.ip("link", "set", "w1", "up")
    one.ip("link", "set", "w0", "up")
    one.ip("-6", "route", "add", "default", "via", "2001:db8::fe")
    one.ip("route", "add", "default", "via", "192.0.2.254", "metric", "200")
    assert one.call(underlay.default_source) == "192.0.2.1"
    one.ip("route", "add", "default", "via", "198.51.100.254", "metric", "100")
    assert one.call(underlay.default_source) == "198.51.100.1"


def test_a_multipath_default_route_gives_the_address_of_its_first_hop(pair: Pair) -> None:
    one, _ = pair
    hops = ("nexthop", "via", "192.0.2.253", "dev", "u0", "nexthop", "via", "192.0.2.254", "dev", "u0")
    one.ip("route", "add", "default", *hops)
    assert one.call(underlay.default_source) == "192.0.2.1"


def test_ipv6_only_gives_a_lasting_global_address(pair: Pair) -> None:
    one, _ = pair
    one.ip("address", "del", "192.0.2.1/24", "dev", "u0")
    one.ip("address", "add", "2001:db8::dead/64", "dev", "u0", "nodad", "preferred_lft", "0")
    until(lambda: "fe80::" in one.ip("-6", "address", "show", "dev", "u0"), "a link-local address")
    one.ip("-6", "route", "add", "default", "via", "fe80::1", "dev", "u0")
    assert one.call(underlay.default_source) == "2001:db8::1"


def test_an_unreachable_default_is_no_route(pair: Pair) -> None:
    one, _ = pair
    one.ip("route", "add", "unreachable", "default")
    with pytest.raises(UsageError, match="no default route"):
        one.call(underlay.default_source)


def test_device_and_mtu_of_an_address(pair: Pair) -> None:
    one, _ = pair
    one.ip("link", "set", "u0", "mtu", "1400")
    assert one.call(lambda: underlay.device_of("192.0.2.1")) == ("u0", 1400, True)
    assert one.call(lambda: underlay.device_of("2001:0db8::1")) == ("u0", 1400, True)
    assert one.call(lambda: underlay.device_of("127.0.0.1")).ifname == "lo"
    assert one.call(lambda: underlay.device_of("127.0.0.42")).ifname == "lo"


def test_an_address_on_the_loopback_device_sends_by_the_default_routes(pair: Pair) -> None:
    """Routed fabrics put the VTEP there: its MTU of 65536 is nobody's."""
    one, _ = pair
    one.ip("address", "add", "203.0.113.9/32", "dev", "lo")
    assert one.call(lambda: underlay.device_of("203.0.113.9")).ifname == "lo", "without a way out it goes nowhere"
    one.ip("link", "set", "u0", "mtu", "1400")
    one.ip("route", "add", "default", "via", "192.0.2.254")
    assert one.call(lambda: underlay.device_of("203.0.113.9")) == ("u0", 1400, True)


def test_a_device_without_a_carrier_is_down(pair: Pair) -> None:
    one, other = pair
    assert one.call(lambda: underlay.device_of("192.0.2.1")).up
    other.ip("link", "set", "u0", "down")
    assert not one.call(lambda: underlay.device_of("192.0.2.1")).up


def test_the_device_of_a_point_to_point_address_is_ours_not_the_peers(pair: Pair) -> None:
    one, _ = pair
    one.ip("address", "add", "198.51.100.1", "peer", "198.51.100.2", "dev", "u0")
    assert one.call(lambda: underlay.device_of("198.51.100.1")).ifname == "u0"
    with pytest.raises(NotFoundError):
        one.call(lambda: underlay.device_of("198.51.100.2"))


@pytest.mark.parametrize("address", ["192.0.2.2", "2001:db8::2"])
def test_an_address_of_somebody_else_is_not_found(pair: Pair, address: str) -> None:
    one, _ = pair
    with pytest.raises(NotFoundError, match=f"address {address} is not on this host"):
        one.call(lambda: underlay.device_of(address))


def test_ipv4_and_settled_addresses_are_not_waited_for(pair: Pair) -> None:
    one, _ = pair
    for address in ("192.0.2.1", "2001:db8::1"):
        one.call(lambda known=address: underlay.wait_not_tentative(known, 0.0))


def test_a_tentative_address_is_waited_for(pair: Pair) -> None:
    one, _ = pair
    one.execute("sysctl", "-qw", "net.ipv6.neigh.u0.retrans_time_ms=200")
    one.ip("address", "add", "2001:db8::7/64", "dev", "u0")
    assert "tentative" in one.ip("address", "show", "to", "2001:db8::7")
    one.call(lambda: underlay.wait_not_tentative("2001:db8::7", 10.0))
    assert "tentative" not in one.ip("address", "show", "to", "2001:db8::7")


def test_an_address_that_stays_tentative_is_given_up(pair: Pair) -> None:
    one, _ = pair
    one.execute("sysctl", "-qw", "net.ipv6.neigh.u0.retrans_time_ms=60000")
    one.ip("address", "add", "2001:db8::7/64", "dev", "u0")
    with pytest.raises(VxswitchError, match=r"2001:db8::7 is still tentative after 0\.1 s"):
        one.call(lambda: underlay.wait_not_tentative("2001:db8::7", 0.1))


def test_a_duplicate_is_said(pair: Pair) -> None:
    one, _ = pair
    one.ip("neighbour", "del", "2001:db8::2", "dev", "u0")
    one.execute("ping", "-c", "1", "-w", "10", "2001:db8::2")  # neighbour discovery works by now
    one.execute("sysctl", "-qw", "net.ipv6.neigh.u0.retrans_time_ms=200")
    one.ip("address", "add", "2001:db8::2/64", "dev", "u0")  # the other side's
    with pytest.raises(VxswitchError, match="is a duplicate"):
        one.call(lambda: underlay.wait_not_tentative("2001:db8::2", 10.0))


def test_an_address_that_is_not_there_is_not_waited_for(pair: Pair) -> None:
    one, _ = pair
    with pytest.raises(NotFoundError):
        one.call(lambda: underlay.wait_not_tentative("2001:db8::9", 10.0))
