"""Which descriptors keep a network namespace alive. A veth with one end left inside is the witness: it dies with it."""

import errno
import os
import select
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from tests.kernel.namespaces import Namespace, until
from tests.kernel.tun import IFF_TUN_EXCL, QUEUE, Tun

Make = Callable[[], Namespace]


def with_witness(outer: Namespace, inner: Namespace) -> None:
    outer.ip("link", "add", "witness", "type", "veth", "peer", "name", "inside", "netns", inner.name)


def move(name: str, source: Namespace, target: Namespace, ifname: str) -> None:
    source.ip("link", "set", name, "netns", target.name, "name", ifname)


def test_tap_opened_inside_keeps_the_namespace_alive_after_its_deletion(namespace: Make) -> None:
    outer, inner = namespace(), namespace()
    with_witness(outer, inner)
    tap = inner.call(lambda: Tun("eth0"))
    with tap:
        inner.remove()
        for _ in range(3):  # a namespace goes in the background: let others come and go meanwhile
            namespace().remove()
        assert outer.link("witness") is not None
        assert not tap.poll() & select.POLLERR
        assert tap.read_error() in ("EAGAIN", "")
    until(lambda: outer.link("witness") is None, "the namespace ends with the last descriptor")


def test_the_inode_of_a_namespace_is_given_out_again(namespace: Make) -> None:
    """So path and inode together prove nothing once the namespace is gone: a port's descriptor has to be asked too."""
    seen: set[int] = set()

    def comes_back() -> bool:
        found = namespace()
        again = found.inode in seen
        seen.add(found.inode)
        found.remove()
        return again

    assert until(comes_back, "a number seen before")


def test_tap_made_outside_and_moved_in_does_not_pin(namespace: Make) -> None:
    outer, inner = namespace(), namespace()
    with_witness(outer, inner)
    with outer.call(lambda: Tun("temporary0")) as tap:
        move("temporary0", outer, inner, "eth0")
        assert inner.link("eth0") is not None
        assert not tap.poll() & select.POLLERR
        inner.remove()
        until(lambda: outer.link("witness") is None, "the namespace is gone, its veth with it")
        until(lambda: tap.poll() & select.POLLERR, "the descriptor says so")
        assert tap.read_error() == "EBADFD"
        assert errno.EBADFD == 77
        with pytest.raises(OSError) as caught:
            os.write(tap.fd, bytes(64))
        assert caught.value.errno == errno.EBADFD
        with pytest.raises(OSError) as caught:
            tap.identity()
        assert caught.value.errno == errno.EBADFD


def test_persistent_tap_dies_with_its_namespace_too(namespace: Make) -> None:
    outer, inner = namespace(), namespace()
    with outer.call(lambda: Tun("temporary0")) as tap:
        tap.persist(True)
        move("temporary0", outer, inner, "eth0")
        inner.remove()
        until(lambda: tap.poll() & select.POLLERR, "the descriptor says so")


def test_deleting_the_device_from_inside_is_seen_as_the_same_error(namespace: Make) -> None:
    outer, inner = namespace(), namespace()
    with outer.call(lambda: Tun("temporary0")) as tap:
        move("temporary0", outer, inner, "eth0")
        inner.ip("link", "del", "eth0")
        until(lambda: tap.poll() & select.POLLERR, "the descriptor says so")
        assert tap.read_error() == "EBADFD"


def test_move_and_rename_in_one_message_and_the_descriptor_knows_the_new_name(namespace: Make) -> None:
    outer, inner = namespace(), namespace()
    with outer.call(lambda: Tun("temporary0")) as tap:
        move("temporary0", outer, inner, "eth0")
        assert tap.identity()[0] == "eth0"
        assert outer.link("temporary0") is None


def test_a_taken_name_leaves_the_device_in_the_target_under_its_old_name(namespace: Make) -> None:
    """So a failed move cannot be cleaned up by name in the old namespace; letting go of the descriptor can."""
    outer, inner = namespace(), namespace()
    with outer.call(lambda: Tun("first0")) as first, outer.call(lambda: Tun("second0")) as second:
        move("first0", outer, inner, "eth0")
        with pytest.raises(subprocess.CalledProcessError) as caught:
            move("second0", outer, inner, "eth0")
        assert "File exists" in caught.value.stderr
        assert first.identity()[0] == "eth0"
        name = second.identity()[0]
        assert name != "eth0"
        second.close()
        until(lambda: inner.link(name) is None and outer.link(name) is None, "the second TAP is gone")
        assert inner.link("eth0") is not None


def test_persistence_taken_away_removes_the_device_wherever_it_stands(namespace: Make) -> None:
    outer, inner = namespace(), namespace()
    with outer.call(lambda: Tun("temporary0")) as tap:
        tap.persist(True)
        move("temporary0", outer, inner, "eth0")
        tap.persist(False)
        assert inner.link("eth0") is not None
    until(lambda: inner.link("eth0") is None, "the TAP is gone")


def test_a_persistent_tap_without_owner_reports_no_queue(namespace: Make) -> None:
    """How a later attach sees that the owner died (IFLA_TUN_NUM_QUEUES)."""
    inner = namespace()

    def info() -> dict[str, Any]:
        found = inner.link("eth0")
        assert found is not None
        return dict(found["linkinfo"]["info_data"])

    with inner.call(lambda: Tun("eth0", QUEUE | IFF_TUN_EXCL)) as tap:
        tap.persist(True)
        assert info()["numqueues"] == 1
    assert info().get("numqueues", 0) == 0
    assert info()["persist"] is True
