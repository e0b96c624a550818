"""kernel_cut: the door into the host's stack, what it sets and for how long, and kernels that have none."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Callable
from typing import Any

import pytest

from tests.kernel.namespaces import Namespace
from vxswitch.attach import kernel_cut, tap
from vxswitch.errors import VxswitchError

Make = Callable[[], Namespace]
Keep = Callable[[int], int]

TUNNEL = 0x180  # TUN_F_UDP_TUNNEL_GSO and ..._GSO_CSUM, linux/if_tun.h
SETTINGS = {
    "ipv4.conf.{}.accept_local": "1",
    "ipv4.conf.{}.rp_filter": "0",
    "ipv4.conf.{}.forwarding": "1",
    "ipv6.conf.{}.force_forwarding": "1",
}


def refusing(monkeypatch: pytest.MonkeyPatch, request: int, mask: int, code: int) -> None:
    """From now on this ioctl fails, if its argument has any bit of the mask."""
    real = fcntl.ioctl

    def ioctl(fd: int, number: int, argument: Any = 0, *rest: Any) -> Any:
        if number == request and argument & mask:
            raise OSError(code, os.strerror(code))
        return real(fd, number, argument, *rest)

    monkeypatch.setattr(fcntl, "ioctl", ioctl)


def taps(here: Namespace) -> list[str]:
    """The interfaces whose name the door's begins like."""
    names = [line.split(":")[1].strip() for line in here.ip("-o", "link").splitlines()]
    return [name for name in names if name.startswith(tap.TEMPORARY_PREFIX)]


def test_the_door_is_a_tap_that_forwards_and_goes_with_its_descriptor(namespace: Make) -> None:
    here = namespace()
    before = here.execute("sysctl", "-a", "-r", r"conf\.(all|default|lo)\.|ip_forward")
    door = here.call(kernel_cut.open_door)
    name, exit_name = sorted(taps(here), key=here.addresses, reverse=True)
    link = here.link(name)
    assert link is not None
    assert bytes.fromhex(link["address"].replace(":", "")) == door.mac
    assert "UP" in link["flags"] and link["mtu"] == 65521
    for setting, value in SETTINGS.items():
        assert here.execute("sysctl", "-n", f"net.{setting.format(name)}").strip() == value
    assert here.addresses(name) == ["192.0.0.8/32"], "RFC 7600: a dummy"
    assert here.execute("sysctl", "-a", "-r", r"conf\.(all|default|lo)\.|ip_forward") == before
    assert here.addresses(exit_name) == []
    for target in door.targets:
        (route,) = json.loads(here.ip("-j", "route", "get", target))
        assert route["dev"] == exit_name
    assert [":" in target for target in door.targets] == [False, True]
    os.close(door.fd)
    os.close(door.exit_fd)
    assert taps(here) == []
    assert door.targets[0] not in here.ip("route") and door.targets[1] not in here.ip("-6", "route")


def test_reverse_path_filtering_forbids_it(namespace: Make) -> None:
    here = namespace()
    here.execute("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1")
    with pytest.raises(VxswitchError, match="rp_filter is 1"):
        here.call(kernel_cut.open_door)
    assert taps(here) == []


def test_loose_reverse_path_filtering_does_not(namespace: Make, keep: Keep) -> None:
    here = namespace()
    here.execute("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=2")
    door = here.call(kernel_cut.open_door)
    keep(door.fd)
    keep(door.exit_fd)


@pytest.mark.parametrize(
    ("code", "words"), [(errno.EINVAL, r"needs linux 6\.17"), (errno.EPERM, "Operation not permitted")]
)
def test_a_kernel_that_refuses_leaves_nothing(
    namespace: Make, monkeypatch: pytest.MonkeyPatch, code: int, words: str
) -> None:
    here = namespace()
    refusing(monkeypatch, tap.TUNSETOFFLOAD, TUNNEL, code)
    with pytest.raises(VxswitchError, match=f"the kernel cannot cut: .*{words}"):
        here.call(kernel_cut.open_door)
    assert taps(here) == []


@pytest.mark.parametrize(
    ("refused", "left"),
    [
        (0, tap.OFFLOADS_FULL),
        (tap.TUN_F_USO4 | tap.TUN_F_USO6, tap.OFFLOADS_TSO),
        (tap.TUN_F_TSO4, tap.TUN_F_CSUM),
        (tap.TUN_F_CSUM, 0),
    ],
)
def test_offloads_that_the_kernel_refuses_are_done_without(
    namespace: Make, monkeypatch: pytest.MonkeyPatch, keep: Keep, refused: int, left: int
) -> None:
    refusing(monkeypatch, tap.TUNSETOFFLOAD, refused, errno.EINVAL)
    fd = keep(namespace().call(lambda: tap.create("tap0")))
    assert tap.prepare(fd) == left
