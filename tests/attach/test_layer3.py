"""layer3: addresses and default routes of a port, and what stands in their way."""

from collections.abc import Callable

import pytest

from tests.kernel.namespaces import Namespace
from vxswitch.attach import layer3, netlink
from vxswitch.errors import ConflictError, UsageError, VxswitchError

Make = Callable[[], Namespace]


@pytest.fixture
def here(namespace: Make) -> Namespace:
    """A namespace with ``eth0``, up, 10.1.0.2/24."""
    made = namespace()
    made.ip("link", "add", "eth0", "type", "veth", "peer", "name", "peer0")
    made.ip("link", "set", "peer0", "up")
    made.ip("link", "set", "eth0", "up")
    made.ip("address", "add", "10.1.0.2/24", "dev", "eth0")
    return made


def route(here: Namespace, gateway: str) -> None:
    def add() -> None:
        with netlink.opened() as ipr:
            layer3.add_default_route(ipr, ipr.link("get", ifname="eth0")[0]["index"], here.path, gateway)

    here.call(add)


def address(here: Namespace, text: str) -> None:
    def add() -> None:
        with netlink.opened() as ipr:
            layer3.add_address(ipr, ipr.link("get", ifname="eth0")[0]["index"], "eth0", text)

    here.call(add)


def test_a_gateway_out_of_reach_is_a_usage_error(here: Namespace) -> None:
    with pytest.raises(UsageError, match=r"gateway 10\.9\.0\.1 is in none of the port's subnets"):
        route(here, "10.9.0.1")


def test_the_same_default_route_again_is_a_success(here: Namespace) -> None:
    route(here, "10.1.0.1")
    route(here, "10.1.0.1")
    assert len(here.ip("route", "show", "default").splitlines()) == 1


def test_another_default_route_is_a_conflict_that_names_its_gateway(here: Namespace) -> None:
    here.ip("route", "add", "default", "via", "10.1.0.254")
    with pytest.raises(ConflictError, match=r"already has a default route via 10\.1\.0\.254"):
        route(here, "10.1.0.1")


def test_the_same_gateway_by_another_interface_is_a_conflict(here: Namespace) -> None:
    here.ip("address", "add", "10.1.0.3/24", "dev", "peer0")
    here.ip("route", "add", "default", "via", "10.1.0.1", "dev", "peer0")
    with pytest.raises(ConflictError):
        route(here, "10.1.0.1")


def test_an_ipv6_address_in_any_spelling_is_added_once(here: Namespace) -> None:
    address(here, "fd00:0::0002/64")
    address(here, "fd00::2/64")
    assert here.addresses("eth0") == ["10.1.0.2/24", "fd00::2/64"]
    assert "nodad" in here.ip("address", "show", "dev", "eth0")


def test_an_address_without_prefix_is_a_host(here: Namespace) -> None:
    address(here, "10.2.0.1")
    assert "10.2.0.1/32" in here.addresses("eth0")


def test_ipv6_switched_off_is_said_in_the_kernels_words(here: Namespace) -> None:
    here.execute("sysctl", "-qw", "net.ipv6.conf.eth0.disable_ipv6=1")
    with pytest.raises(VxswitchError, match=r"cannot add address fd00::2/64 to eth0: .*disabled"):
        address(here, "fd00::2/64")


def test_check_accepts_what_is_right() -> None:
    layer3.check(["10.1.0.2/24", "fd00::2/64"], "10.1.0.1", 1280)
    layer3.check([], None, 68)
