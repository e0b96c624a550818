"""holder: who has a UDP port, and the line that a user reads when ours could not be bound."""

import errno
import os
import socket
from collections.abc import Callable

import pytest

from tests.kernel.namespaces import Namespace
from tests.kernel.udp import udp
from vxswitch.attach.holder import bind_error, udp_holder
from vxswitch.errors import ConflictError, UsageError, VxswitchError
from vxswitch.model import Vtep

Pair = tuple[Namespace, Namespace]
Make = Callable[[], Namespace]


def bind_fails(here: Namespace, vtep: Vtep) -> VxswitchError:
    """What is said of the error that a real bind() gives."""

    def try_it() -> VxswitchError:
        with socket.socket(vtep.family, socket.SOCK_DGRAM) as sock, pytest.raises(OSError) as caught:
            sock.bind((vtep.address, vtep.port))
        return bind_error(vtep, caught.value)

    return here.call(try_it)


def add_vxlan(here: Namespace, name: str, *options: str) -> None:
    here.ip("link", "add", name, "type", "vxlan", "id", "7", *options)
    here.ip("link", "set", name, "up")


def test_a_kernel_vxlan_device_is_named(pair: Pair) -> None:
    one, _ = pair
    add_vxlan(one, "vxlan0", "local", "192.0.2.1", "remote", "192.0.2.2", "dstport", "4789")
    error = bind_fails(one, Vtep("192.0.2.1"))
    assert str(error) == (
        'cannot bind UDP 192.0.2.1:4789: in use by kernel vxlan device "vxlan0": use --vtep 192.0.2.1:8472 or remove it'
    )
    assert isinstance(error, ConflictError)


def test_the_suggested_port_is_another_one(pair: Pair) -> None:
    one, _ = pair
    add_vxlan(one, "flannel.1", "local", "2001:db8::1", "remote", "2001:db8::2", "dstport", "8472")
    error = bind_fails(one, Vtep("2001:db8::1", 8472))
    assert 'in use by kernel vxlan device "flannel.1": use --vtep [2001:db8::1]:4789' in str(error)


def test_a_device_of_the_other_family_or_port_or_down_holds_nothing(pair: Pair) -> None:
    one, _ = pair
    add_vxlan(one, "six", "local", "2001:db8::1", "remote", "2001:db8::2", "dstport", "4789")
    add_vxlan(one, "other", "local", "192.0.2.1", "remote", "192.0.2.2", "dstport", "4790")
    add_vxlan(one, "idle0", "local", "192.0.2.1", "remote", "192.0.2.2", "dstport", "4791")
    one.ip("link", "set", "idle0", "down")
    assert one.call(lambda: udp_holder("192.0.2.1", 4789)) is None
    assert one.call(lambda: udp_holder("192.0.2.1", 4790)) == 'kernel vxlan device "other"'
    assert one.call(lambda: udp_holder("192.0.2.1", 4791)) is None


def test_a_device_for_external_control_holds_both_families(pair: Pair) -> None:
    one, _ = pair
    one.ip("link", "add", "ext", "type", "vxlan", "external", "dstport", "4789")
    one.ip("link", "set", "ext", "up")
    for address in ("192.0.2.1", "2001:db8::1"):
        assert one.call(lambda known=address: udp_holder(known, 4789)) == 'kernel vxlan device "ext"'


@pytest.mark.parametrize(
    ("bound", "wanted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("0.0.0.0", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("::", "2001:db8::1"),
        ("::", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
    ],
)
def test_a_process_is_named(pair: Pair, bound: str, wanted: str) -> None:
    one, _ = pair
    with udp(one, bound, 4789):
        error = bind_fails(one, Vtep(wanted))
    with open("/proc/self/comm") as comm:
        assert f"in use by process {os.getpid()} ({comm.read().strip()})" in str(error)


def test_another_address_is_not_in_the_way(pair: Pair) -> None:
    one, _ = pair
    one.ip("address", "add", "192.0.2.9/24", "dev", "u0")
    with udp(one, "192.0.2.9", 4789), udp(one, "2001:db8::1", 4789):
        assert one.call(lambda: udp_holder("192.0.2.1", 4789)) is None


def test_an_address_that_is_not_ours(pair: Pair) -> None:
    one, _ = pair
    error = bind_fails(one, Vtep("192.0.2.77"))
    assert isinstance(error, UsageError)
    assert "cannot bind UDP 192.0.2.77:4789: the address is not on this host" in str(error)


def test_other_errors_keep_the_kernels_words() -> None:
    low = bind_error(Vtep("192.0.2.1", 53), PermissionError(errno.EACCES, os.strerror(errno.EACCES)))
    assert "CAP_NET_BIND_SERVICE" in str(low)
    other = bind_error(Vtep("192.0.2.1"), OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS)))
    assert str(other) == "cannot bind UDP 192.0.2.1:4789: No buffer space available"


def test_a_holder_that_cannot_be_told_is_another_socket(namespace: Make) -> None:
    """Bound in another namespace, as a port behind a container's walls would be."""
    error = namespace().call(lambda: bind_error(Vtep("192.0.2.1"), OSError(errno.EADDRINUSE, "in use")))
    assert "in use by another socket" in str(error)
