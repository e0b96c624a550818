"""The privileged room as ports see it, on this kernel, in namespaces of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.kernel.namespaces import Namespace
from vxswitch.attach import link, netns, tap
from vxswitch.control.doors import Opened, Place
from vxswitch.errors import ConflictError, NotFoundError, VxswitchError
from vxswitch.switch.kernel import KernelTaps

MAC = bytes.fromhex("020000000007")


@contextmanager
def closing(opened: Opened) -> Iterator[Opened]:
    try:
        yield opened
    finally:
        os.close(opened.fd)


@pytest.fixture
def host(namespace: Callable[[], Namespace]) -> Namespace:
    return namespace()


@pytest.fixture
def inside(namespace: Callable[[], Namespace]) -> Namespace:
    return namespace()


def place(where: Namespace) -> Place:
    return Place(where.path, where.inode)


def open_host(host: Namespace, network: str = "red", mtu: int = 1450) -> Opened:
    return host.call(lambda: KernelTaps().open_host(network, MAC, mtu))


def test_the_hosts_own_tap_is_made_configured_and_up(host: Namespace) -> None:
    with closing(open_host(host)) as opened:
        assert opened.made and opened.offloads & tap.TUN_F_CSUM
        found = host.link("vx-red")
        assert found is not None
        assert (found["address"], found["mtu"]) == ("02:00:00:00:00:07", 1450) and "UP" in found["flags"]
        assert tap.identify(opened.fd).persistent


def test_an_interface_follows_its_networks_mtu_unless_somebody_chose_a_smaller_one(host: Namespace) -> None:
    def follow(was: int | None, mtu: int) -> int:
        host.call(lambda: KernelTaps().follow_mtu(None, "vx-red", was, mtu))
        return int((host.link("vx-red") or {})["mtu"])

    with closing(open_host(host)):
        assert [follow(1450, 1400), follow(1400, 1430), follow(1450, 1480), follow(None, 1440)] == [
            1400,
            1430,
            1430,
            1430,
        ]
        assert follow(None, 1420) == 1420, "too large is never right"
        with pytest.raises(VxswitchError, match="IPv6"):
            follow(1420, 1279)
        assert follow(1420, 1280) == 1280
        with pytest.raises(NotFoundError, match="no TAP vx-blue"):
            host.call(lambda: KernelTaps().follow_mtu(None, "vx-blue", None, 1400))


def test_it_stays_when_its_switch_dies_and_is_taken_over(host: Namespace) -> None:
    with closing(open_host(host)):
        index = (host.link("vx-red") or {})["ifindex"]
    with closing(open_host(host, mtu=1400)) as again:
        found = host.link("vx-red") or {}
        assert not again.made and (found["ifindex"], found["mtu"]) == (index, 1400)


def test_one_that_somebody_holds_is_not_taken(host: Namespace) -> None:
    with closing(open_host(host)), pytest.raises(ConflictError, match="vx-red"):
        open_host(host)


def test_an_interface_that_is_no_tap_is_left_alone(host: Namespace) -> None:
    host.ip("link", "add", "vx-red", "type", "bridge")
    with pytest.raises(VxswitchError, match="vx-red"):
        open_host(host)
    assert host.link("vx-red") is not None


def test_one_that_cannot_be_configured_is_not_left_behind(host: Namespace) -> None:
    with pytest.raises(VxswitchError):
        open_host(host, mtu=10**6)
    assert host.link("vx-red") is None


def test_what_is_forgotten_goes_with_its_descriptor(host: Namespace) -> None:
    with closing(open_host(host)) as opened:
        KernelTaps().forget(opened.fd)
    assert host.link("vx-red") is None


def test_forgetting_what_has_vanished_is_no_error(host: Namespace) -> None:
    with closing(open_host(host)) as opened:
        host.ip("link", "del", "vx-red")
        KernelTaps().forget(opened.fd)


def test_deleting_by_name(host: Namespace) -> None:
    with closing(open_host(host)):
        pass
    for _ in range(2):
        host.call(lambda: KernelTaps().delete_host("vx-red"))
        assert host.link("vx-red") is None


def test_a_passed_descriptor_is_duplicated_checked_and_set_up(host: Namespace) -> None:
    fd = host.call(lambda: tap.create("vxt-test"))
    with closing(KernelTaps().accept(fd, "vxt-test")) as opened:
        os.close(fd)
        assert tap.identify(opened.fd).name == "vxt-test" and opened.offloads & tap.TUN_F_CSUM
        assert not os.get_inheritable(opened.fd) and not os.get_blocking(opened.fd)
        with pytest.raises(VxswitchError, match="the message says other"):
            KernelTaps().accept(opened.fd, "other")
    null = os.open("/dev/null", os.O_RDWR)
    with pytest.raises(VxswitchError, match="pass that of a TAP"):
        KernelTaps().accept(null, None)
    os.close(null)


def test_a_tap_inside_a_namespace_is_opened_again(host: Namespace, inside: Namespace) -> None:
    fd = host.call(lambda: tap.create("vxt-test"))
    where = netns.Netns(inside.path, inside.inode)
    host.call(lambda: link.move_into("vxt-test", where, "eth0", mac=MAC, addresses=[], gateway=None, mtu=1450))
    with pytest.raises(ConflictError, match="in use by another process"):
        KernelTaps().reopen(place(inside), "eth0")
    os.close(fd)
    with closing(KernelTaps().reopen(place(inside), "eth0")) as opened:
        assert tap.identify(opened.fd).name == "eth0" and opened.offloads & tap.TUN_F_CSUM and not opened.made
        assert os.stat("/proc/thread-self/ns/net").st_ino != inside.inode  # noqa: PTH116
    with pytest.raises(NotFoundError):
        KernelTaps().reopen(place(inside), "eth7")
    with pytest.raises(NotFoundError):
        KernelTaps().reopen(Place(inside.path, inside.inode + 1), "eth0")


def test_places_are_known_again_and_names_are_the_interfaces(inside: Namespace) -> None:
    taps, here = KernelTaps(), place(inside)
    assert taps.same(here) and not taps.same(Place(here.path, here.inode + 1))
    inside.remove()
    assert not taps.same(here)
    assert taps.host_name("red") == "vx-red" and len(taps.host_name("a-name-that-is-far-too-long")) == 15
