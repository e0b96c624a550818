"""TUNSETIFF: what may attach to what, what a name is worth, and what the previous owner leaves behind."""

import errno
import fcntl
import os
import struct
from collections.abc import Callable

import pytest

from tests.kernel import tun
from tests.kernel.namespaces import Namespace
from tests.kernel.tun import (
    IFF_MULTI_QUEUE,
    IFF_PERSIST,
    IFF_TAP,
    IFF_TUN_EXCL,
    IFF_VNET_HDR,
    PLAIN,
    QUEUE,
    Tun,
)

Make = Callable[[], Namespace]


def refused(name: str, flags: int) -> str:
    """Name of the error that TUNSETIFF gives."""
    with pytest.raises(OSError) as caught:
        Tun(name, flags)
    return errno.errorcode[caught.value.errno]


def test_the_queue_belongs_to_the_open_file_and_outlives_the_first_descriptor(namespace: Make) -> None:
    here = namespace()
    first = here.call(lambda: Tun("tap0"))
    second = fcntl.fcntl(first.fd, fcntl.F_DUPFD_CLOEXEC, 0)
    first.close()
    try:
        assert here.link("tap0") is not None
        assert tun.identity(second)[0] == "tap0"
        here.ip("link", "set", "tap0", "up")
        assert os.write(second, bytes(10) + bytes(60)) == 70
    finally:
        os.close(second)
    assert here.link("tap0") is None


def test_persistent_tap_takes_a_new_owner_with_the_same_flags(namespace: Make) -> None:
    here = namespace()
    with here.call(lambda: Tun("tap0", QUEUE | IFF_TUN_EXCL)) as tap:
        tap.persist(True)
    assert here.link("tap0") is not None
    with here.call(lambda: Tun("tap0")) as tap:
        assert tap.identity() == ("tap0", QUEUE | IFF_PERSIST)


def test_excl_refuses_a_name_that_is_taken(namespace: Make) -> None:
    here = namespace()
    with here.call(lambda: Tun("tap0")) as tap:
        tap.persist(True)
    assert here.call(lambda: refused("tap0", QUEUE | IFF_TUN_EXCL)) == "EBUSY"


def test_multi_queue_must_match(namespace: Make) -> None:
    here = namespace()
    with here.call(lambda: Tun("tap0")) as tap:
        tap.persist(True)
    with here.call(lambda: Tun("tap1", PLAIN | IFF_VNET_HDR)) as tap:
        tap.persist(True)
    assert here.call(lambda: refused("tap0", QUEUE & ~IFF_MULTI_QUEUE)) == "EINVAL"
    assert here.call(lambda: refused("tap1", QUEUE)) == "EINVAL"


def test_a_name_of_something_else_is_refused(namespace: Make) -> None:
    here = namespace()
    assert here.call(lambda: refused("lo", QUEUE)) == "EINVAL"


def test_without_multi_queue_a_second_owner_is_refused(namespace: Make) -> None:
    here = namespace()
    with here.call(lambda: Tun("tap0", PLAIN)):
        assert here.call(lambda: refused("tap0", PLAIN)) == "EBUSY"


def test_a_name_is_cut_at_15_bytes_and_two_long_names_become_one_tap(namespace: Make) -> None:
    here = namespace()
    with here.call(lambda: Tun("abcdefghijklmno-first")) as one:
        assert one.identity()[0] == "abcdefghijklmno"
        with here.call(lambda: Tun("abcdefghijklmno-second")) as two:
            assert two.identity()[0] == one.identity()[0]
        assert here.call(lambda: refused("abcdefghijklmno-third", QUEUE | IFF_TUN_EXCL)) == "EBUSY"


def test_without_excl_a_missing_tap_is_made_and_only_the_persist_flag_tells(namespace: Make) -> None:
    here = namespace()
    with here.call(lambda: Tun("tap0")) as tap:
        assert not tap.identity()[1] & IFF_PERSIST
    assert here.link("tap0") is None


def test_a_new_owner_brings_its_own_vnet_hdr_flag(namespace: Make) -> None:
    """Only MULTI_QUEUE must match: TUNSETIFF replaces the other flags, for every queue of the device."""
    here = namespace()
    with here.call(lambda: Tun("tap0", PLAIN | IFF_MULTI_QUEUE)) as tap:
        tap.persist(True)
        assert not tap.identity()[1] & IFF_VNET_HDR
    with here.call(lambda: Tun("tap0")) as tap:
        assert tap.identity()[1] & IFF_VNET_HDR


def test_no_pi_cannot_be_read_back(namespace: Make) -> None:
    """TUNGETIFF says 0x1000 either way: IFF_NOFILTER, "no BPF filter attached", is the same bit."""
    here = namespace()
    with here.call(lambda: Tun("tap0", IFF_TAP)) as with_pi, here.call(lambda: Tun("tap1", PLAIN)) as without:
        found = [here.link(name) for name in ("tap0", "tap1")]
        assert [link["linkinfo"]["info_data"]["pi"] for link in found if link] == [True, False]
        assert with_pi.identity()[1] == without.identity()[1] == PLAIN


def test_the_vnet_header_size_of_the_previous_owner_stays(namespace: Make) -> None:
    here = namespace()
    with here.call(lambda: Tun("tap0")) as tap:
        assert tun.vnet_header_size(tap.fd) == 10
        fcntl.ioctl(tap.fd, tun.TUNSETVNETHDRSZ, struct.pack("i", 12))
        tap.persist(True)
    with here.call(lambda: Tun("tap0")) as tap:
        assert tun.vnet_header_size(tap.fd) == 12


def test_the_offloads_of_the_previous_owner_stay(namespace: Make) -> None:
    here = namespace()

    def segmentation() -> bool:
        return "tcp-segmentation-offload: on" in here.execute("ethtool", "-k", "tap0")

    with here.call(lambda: Tun("tap0")) as tap:
        assert not segmentation()
        tap.offload(tun.TUN_F_CSUM | tun.TUN_F_TSO4 | tun.TUN_F_TSO6)
        tap.persist(True)
        assert segmentation()
    with here.call(lambda: Tun("tap0")) as tap:
        assert segmentation()
        tap.offload(0)
        assert not segmentation()


def test_uso_is_accepted_for_both_families_together_only(namespace: Make) -> None:
    here = namespace()
    base = tun.TUN_F_CSUM | tun.TUN_F_TSO4 | tun.TUN_F_TSO6
    with here.call(lambda: Tun("tap0")) as tap:
        for lonely in (tun.TUN_F_USO4, tun.TUN_F_USO6):
            with pytest.raises(OSError) as caught:
                tap.offload(base | lonely)
            assert caught.value.errno == errno.EINVAL
        tap.offload(base | tun.TUN_F_USO4 | tun.TUN_F_USO6)


def test_the_offloads_of_a_tap_are_set_from_another_namespace(namespace: Make) -> None:
    outer, inner = namespace(), namespace()
    with outer.call(lambda: Tun("tap0")) as tap:
        outer.ip("link", "set", "tap0", "netns", inner.name, "name", "eth0")
        tap.offload(tun.TUN_F_CSUM | tun.TUN_F_TSO4 | tun.TUN_F_TSO6)
        assert "tcp-segmentation-offload: on" in inner.execute("ethtool", "-k", "eth0")


def test_a_write_while_the_link_is_down_is_eio_and_the_tap_stays_usable(namespace: Make) -> None:
    here = namespace()
    frame = bytes(10) + bytes.fromhex("ffffffffffff 020000000001 88b5") + bytes(46)
    with here.call(lambda: Tun("tap0")) as tap:
        with pytest.raises(OSError) as caught:
            os.write(tap.fd, frame)
        assert caught.value.errno == errno.EIO
        here.ip("link", "set", "tap0", "up")
        assert os.write(tap.fd, frame) == len(frame)
        here.ip("link", "set", "tap0", "down")
        with pytest.raises(OSError) as caught:
            os.write(tap.fd, frame)
        assert caught.value.errno == errno.EIO


def test_an_unattached_descriptor_and_a_stranger_are_told_apart() -> None:
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    try:
        with pytest.raises(OSError) as caught:
            tun.identity(fd)
        assert caught.value.errno == errno.EBADFD
        assert os.fstat(fd).st_rdev == os.makedev(10, 200)
    finally:
        os.close(fd)
    reader, writer = os.pipe()
    try:
        with pytest.raises(OSError) as caught:
            tun.identity(reader)
        assert caught.value.errno in (errno.ENOTTY, errno.EINVAL)
    finally:
        os.close(reader)
        os.close(writer)
