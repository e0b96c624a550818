"""tap: names, creation, re-attachment and settings, against the kernel's own answers."""

import fcntl
import hashlib
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.attach.unprivileged import as_nobody
from tests.kernel import tun
from tests.kernel.namespaces import Namespace
from tests.kernel.tun import IFF_PERSIST, PLAIN, QUEUE, Tun
from vxswitch.attach import tap
from vxswitch.errors import ConflictError, NotFoundError, UsageError, VxswitchError

Make = Callable[[], Namespace]
Keep = Callable[[int], int]

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", fullmatch=True)


def test_host_name_of_short_and_long_networks() -> None:
    assert tap.host_name("blue") == "vx-blue"
    assert tap.host_name("twelve-chars") == "vx-twelve-chars"
    long = "thirteen-char"
    assert tap.host_name(long) == "vx-thirtee-" + hashlib.blake2s(long.encode()).hexdigest()[:4]
    assert tap.host_name("production-eu-1") != tap.host_name("production-eu-2")


@given(names)
def test_host_name_is_always_a_legal_interface_name(network: str) -> None:
    name = tap.host_name(network)
    assert tap.check_ifname(name) == name


@given(names)
def test_the_12th_character_decides_whether_a_network_keeps_its_name(network: str) -> None:
    assert (tap.host_name(network) == f"vx-{network}") == (len(network) <= 12)


@pytest.mark.parametrize(
    "name",
    ["a", "eth0", "abcdefghijklmno", "vx-a.b", "ö", "a b", "a/b", "a:b", ".", "..", "", "a\tb", "a" * 16, "öööööööö"],
)
def test_check_ifname_agrees_with_the_kernel(namespace: Make, name: str) -> None:
    def kernel_takes_it() -> bool:
        try:
            with Tun(name) as made:
                return made.identity()[0] == name
        except OSError:
            return False

    try:
        allowed = tap.check_ifname(name) == name
    except UsageError:
        allowed = False
    assert allowed == namespace().call(kernel_takes_it)


def test_a_pattern_is_no_name() -> None:
    with pytest.raises(UsageError, match="'%'"):
        tap.check_ifname("tap%d")


def test_temporary_names_are_legal_and_differ() -> None:
    made = {tap.check_ifname(tap.temporary_name()) for _ in range(100)}
    assert len(made) == 100


def test_create_gives_a_lasting_non_blocking_private_descriptor(namespace: Make, keep: Keep) -> None:
    here = namespace()
    fd = keep(here.call(lambda: tap.create("tap0")))
    assert tun.identity(fd) == ("tap0", QUEUE | IFF_PERSIST)
    assert not os.get_blocking(fd)
    assert not os.get_inheritable(fd)
    assert here.link("tap0") is not None


def test_a_tap_that_is_not_persistent_ends_with_its_descriptor(namespace: Make) -> None:
    here = namespace()
    fd = here.call(lambda: tap.create("tap0", persistent=False))
    assert here.link("tap0") is not None
    os.close(fd)
    assert here.link("tap0") is None


def test_create_refuses_a_taken_name(namespace: Make, keep: Keep) -> None:
    here = namespace()
    keep(here.call(lambda: tap.create("tap0")))
    with pytest.raises(ConflictError, match="cannot make TAP tap0: the name is taken"):
        here.call(lambda: tap.create("tap0"))
    with pytest.raises(ConflictError, match="lo"):
        here.call(lambda: tap.create("lo"))


def test_create_not_exclusive_adds_a_queue(namespace: Make, keep: Keep) -> None:
    here = namespace()
    keep(here.call(lambda: tap.create("tap0")))
    keep(here.call(lambda: tap.create("tap0", exclusive=False)))
    found = here.link("tap0")
    assert found is not None
    assert found["linkinfo"]["info_data"]["numqueues"] == 2


def test_create_without_the_right_says_which_is_needed() -> None:
    said = as_nobody(lambda: str(tap.create("vxt-nobody")))
    assert said.startswith("VxswitchError: cannot make TAP vxt-nobody: ")
    assert "CAP_NET_ADMIN" in said


def test_no_descriptor_is_lost_when_creation_fails(namespace: Make, keep: Keep) -> None:
    here = namespace()
    keep(here.call(lambda: tap.create("tap0")))
    before = sorted(Path("/proc/self/fd").iterdir())
    for wrong in ("tap0", "lo", "much-too-long-a-name"):
        with pytest.raises(VxswitchError):
            here.call(lambda name=wrong: tap.create(name))
    with pytest.raises(NotFoundError):
        here.call(lambda: tap.reattach("tap1"))
    assert sorted(Path("/proc/self/fd").iterdir()) == before


def test_reattach_takes_over_and_prepare_resets_what_the_owner_left(namespace: Make, keep: Keep) -> None:
    here = namespace()
    with here.call(lambda: Tun("tap0")) as previous:
        previous.persist(True)
        previous.offload(tap.OFFLOADS_FULL)
        fcntl.ioctl(previous.fd, tap.TUNSETVNETHDRSZ, struct.pack("i", 12))
    fd = keep(here.call(lambda: tap.reattach("tap0")))
    assert not os.get_blocking(fd)
    assert tap.prepare(fd, tap.TUN_F_CSUM) == tap.TUN_F_CSUM
    assert tun.vnet_header_size(fd) == 10
    features = here.execute("ethtool", "-k", "tap0")
    assert "tcp-segmentation-offload: off" in features
    assert "tx-checksumming: on" in features


def test_reattach_does_not_make_what_is_not_there(namespace: Make) -> None:
    here = namespace()
    with pytest.raises(NotFoundError, match="tap0"):
        here.call(lambda: tap.reattach("tap0"))
    assert here.link("tap0") is None


def test_reattach_refuses_a_tap_made_otherwise(namespace: Make) -> None:
    here = namespace()
    with here.call(lambda: Tun("tap0", PLAIN)) as other:
        other.persist(True)
    with pytest.raises(ConflictError, match="multi_queue"):
        here.call(lambda: tap.reattach("tap0"))


def test_identity_of_a_tap_that_is_gone(namespace: Make, keep: Keep) -> None:
    here = namespace()
    fd = keep(here.call(lambda: tap.create("tap0")))
    assert tap.identify(fd) == tap.TapIdentity("tap0", QUEUE | IFF_PERSIST)
    here.ip("link", "del", "tap0")
    with pytest.raises(VxswitchError, match="gone"):
        tap.identify(fd)


def test_verify_passed_accepts_ours_and_makes_it_non_blocking(namespace: Make, keep: Keep) -> None:
    here = namespace()
    fd = keep(here.call(lambda: tap.create("tap0")))
    os.set_blocking(fd, True)
    assert tap.verify_passed(fd, "tap0").name == "tap0"
    assert not os.get_blocking(fd)
    with pytest.raises(VxswitchError, match="of tap0, the message says tap1"):
        tap.verify_passed(fd, "tap1")


@pytest.mark.parametrize(
    ("flags", "lacking"),
    [
        (tap.IFF_TAP | tap.IFF_NO_PI, "IFF_VNET_HDR"),
        (tap.IFF_TUN, "IFF_TAP"),
    ],
)
def test_verify_passed_refuses_other_devices(namespace: Make, flags: int, lacking: str) -> None:
    with (
        namespace().call(lambda: Tun("tap0", flags)) as other,
        pytest.raises(VxswitchError, match=f"without {lacking}"),
    ):
        tap.verify_passed(other.fd)


def test_verify_passed_refuses_what_is_no_tun_descriptor(keep: Keep) -> None:
    reader, writer = os.pipe()
    for fd in (keep(reader), keep(writer), keep(os.open("/dev/null", os.O_RDWR))):
        with pytest.raises(VxswitchError, match="not one of /dev/net/tun"):
            tap.verify_passed(fd)
    with pytest.raises(VxswitchError, match="none was ever attached"):
        tap.verify_passed(keep(os.open("/dev/net/tun", os.O_RDWR)))


def test_duplicate_lives_on_alone(namespace: Make, keep: Keep) -> None:
    here = namespace()
    first = here.call(lambda: tap.create("tap0", persistent=False))
    second = keep(tap.duplicate(first))
    os.close(first)
    assert tun.identity(second)[0] == "tap0"
    assert not os.get_inheritable(second)


@pytest.mark.parametrize(
    ("wanted", "accepted"),
    [
        (tap.OFFLOADS_FULL, tap.OFFLOADS_FULL),
        (tap.OFFLOADS_TSO | tap.TUN_F_USO4, tap.OFFLOADS_TSO),  # one USO bit alone is EINVAL, as all USO on old kernels
        (tap.TUN_F_CSUM | tap.TUN_F_USO6, tap.TUN_F_CSUM),
        (0, 0),
    ],
)
def test_set_offloads_says_what_the_kernel_took(namespace: Make, keep: Keep, wanted: int, accepted: int) -> None:
    here = namespace()
    fd = keep(here.call(lambda: tap.create("tap0")))
    assert tap.set_offloads(fd, wanted) == accepted
    features = here.execute("ethtool", "-k", "tap0")
    assert ("tx-checksumming: on" in features) == bool(accepted & tap.TUN_F_CSUM)
    assert ("tx-tcp-segmentation: on" in features) == bool(accepted & tap.TUN_F_TSO4)
    assert ("tx-udp-segmentation: on" in features) == bool(accepted & tap.TUN_F_USO4)


def test_settings_of_a_tap_that_is_gone_are_an_error_with_a_name(namespace: Make, keep: Keep) -> None:
    here = namespace()
    fd = keep(here.call(lambda: tap.create("tap0")))
    here.ip("link", "del", "tap0")
    for change in (lambda: tap.set_persist(fd, False), lambda: tap.prepare(fd), lambda: tap.set_offloads(fd)):
        with pytest.raises(VxswitchError, match="gone"):
            change()


def test_a_vnet_header_too_small_is_refused(namespace: Make, keep: Keep) -> None:
    fd = keep(namespace().call(lambda: tap.create("tap0")))
    with pytest.raises(VxswitchError, match="TAP tap0: cannot set a vnet header of 4 bytes"):
        tap.set_vnet_header_size(fd, 4)
