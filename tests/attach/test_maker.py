"""maker: a whole attach against a switch that answers, and every way in which it can be cut short."""

import os
import select
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.attach.fake_switch import FakeSwitch
from tests.kernel import tun
from tests.kernel.namespaces import Namespace, until
from tests.kernel.tun import IFF_PERSIST
from vxswitch.attach import maker, tap
from vxswitch.errors import ConflictError, NotFoundError, NotReachableError, UsageError, VxswitchError

Make = Callable[[], Namespace]


@pytest.fixture
def switch(tmp_path: Path) -> Iterator[FakeSwitch]:
    made = FakeSwitch(tmp_path)
    yield made
    made.close()


@pytest.fixture
def outer(namespace: Make) -> Namespace:
    """Where the maker stands."""
    return namespace()


@pytest.fixture
def inner(namespace: Make) -> Namespace:
    """The container's."""
    return namespace()


def attach(switch: FakeSwitch, outer: Namespace, inner: Namespace, **changes: Any) -> dict[str, Any]:
    return outer.call(lambda: maker.attach(switch.path, "blue", **({"netns": inner.name} | changes)))


def names(namespace: Namespace) -> set[str]:
    return {line.split(":")[1].strip().split("@")[0] for line in namespace.ip("-o", "link").splitlines()}


def test_attach_gives_the_container_a_working_interface(switch: FakeSwitch, outer: Namespace, inner: Namespace) -> None:
    port = attach(switch, outer, inner, gateway="10.1.0.1")
    assert (port["network"], port["ifname"], port["existing"]) == ("blue", "eth0", False)
    found = inner.link("eth0")
    assert found is not None
    assert (found["address"], found["mtu"], found["ifalias"]) == ("02:00:00:00:00:09", 1400, "vxswitch blue")
    assert inner.addresses("eth0") == ["10.1.0.2/24"]
    assert "default via 10.1.0.1" in inner.ip("route")
    assert names(outer) == {"lo"}
    (fd,) = switch.ports.values()
    assert tun.identity(fd)[1] & IFF_PERSIST
    with pytest.raises(subprocess.CalledProcessError):
        inner.execute("ping", "-c", "1", "-W", "0.1", "10.1.0.9")
    assert any(bytes.fromhex("ffffffffffff020000000009 0806") in frame for frame in frames(fd)), "its ARP request"


def frames(fd: int) -> list[bytes]:
    """What waits in the TAP."""
    found = []
    while tun.poll(fd) & select.POLLIN:
        found.append(os.read(fd, 70000))
    return found


def test_the_message_says_everything_the_switch_needs(switch: FakeSwitch, outer: Namespace, inner: Namespace) -> None:
    settings = {"ifname": "net1", "ips": ["10.1.0.7/24"], "mac": "02:00:00:00:00:07", "rate": 10_000_000, "pps": 500}
    attach(switch, outer, inner, **settings)
    (message,) = switch.requests
    assert message.pop("tap").startswith("vxt-")
    assert message == settings | {
        "op": "attach",
        "network": "blue",
        "netns": inner.path,
        "inode": inner.inode,
        "pid": None,
        "gateway": None,
        "pinned": False,
    }


def test_a_process_id_is_passed_on(switch: FakeSwitch, outer: Namespace, inner: Namespace) -> None:
    with subprocess.Popen(["ip", "netns", "exec", inner.name, "cat"], stdin=subprocess.PIPE) as process:
        until(lambda: Path(f"/proc/{process.pid}/ns/net").stat().st_ino == inner.inode, "the process inside")
        attach(switch, outer, inner, netns=str(process.pid))
        process.communicate()
    assert switch.requests[0]["pid"] == process.pid
    assert switch.requests[0]["netns"] == f"/proc/{process.pid}/ns/net"


def test_the_same_again_is_a_success_that_changes_nothing(
    switch: FakeSwitch, outer: Namespace, inner: Namespace
) -> None:
    first = attach(switch, outer, inner)
    before = inner.link("eth0")
    again = attach(switch, outer, inner)
    assert again == first | {"existing": True}
    assert inner.link("eth0") == before
    assert names(outer) == {"lo"}
    assert [request["op"] for request in switch.requests] == ["attach", "attach"]


def test_a_tap_whose_owner_died_is_taken_up_again(switch: FakeSwitch, outer: Namespace, inner: Namespace) -> None:
    """The same interface: index, address and all. Its descriptor was opened inside, and the message says so."""
    attach(switch, outer, inner)
    before = inner.link("eth0")
    assert before is not None
    switch.forget()
    assert inner.link("eth0") is not None
    port = attach(switch, outer, inner)
    assert port["existing"] is False
    after = inner.link("eth0")
    assert after is not None
    assert after["ifindex"] == before["ifindex"]
    assert after["linkinfo"]["info_data"]["numqueues"] == 1
    assert (switch.requests[1]["tap"], switch.requests[1]["pinned"]) == ("eth0", True)
    assert inner.addresses("eth0") == ["10.1.0.2/24"]
    assert names(outer) == {"lo"}


def test_an_ownerless_tap_of_another_network_is_not_touched(
    switch: FakeSwitch, outer: Namespace, inner: Namespace
) -> None:
    attach(switch, outer, inner)
    switch.forget()
    with pytest.raises(ConflictError, match="eth0 already exists"):
        outer.call(lambda: maker.attach(switch.path, "red", netns=inner.name))
    found = inner.link("eth0")
    assert found is not None
    assert found["ifalias"] == "vxswitch blue"


def test_the_end_of_the_namespace_is_the_end_of_the_port(
    switch: FakeSwitch, outer: Namespace, inner: Namespace
) -> None:
    """Nothing here pins it: a veth with one end left inside disappears, and the switch's descriptor says so."""
    attach(switch, outer, inner)
    outer.ip("link", "add", "witness", "type", "veth", "peer", "name", "inside", "netns", inner.name)
    inner.remove()
    until(lambda: outer.link("witness") is None, "the end of the namespace")
    (fd,) = switch.ports.values()
    assert tun.poll(fd) & select.POLLERR


def test_a_refusal_leaves_nothing(switch: FakeSwitch, outer: Namespace, inner: Namespace) -> None:
    switch.refuse = NotFoundError("no network blue")
    with pytest.raises(NotFoundError, match="no network blue"):
        attach(switch, outer, inner)
    assert names(outer) == names(inner) == {"lo"}


def test_without_a_switch_nothing_is_left(outer: Namespace, inner: Namespace, tmp_path: Path) -> None:
    with pytest.raises(NotReachableError):
        outer.call(lambda: maker.attach(str(tmp_path / "attach.sock"), "blue", netns=inner.name))
    assert names(outer) == names(inner) == {"lo"}


@pytest.mark.parametrize(
    ("settings", "arguments", "error"),
    [
        ({}, {"ifname": "taken0"}, ConflictError),
        ({}, {"gateway": "10.9.0.1"}, UsageError),
        ({"ips": ["nonsense"]}, {}, UsageError),
        ({"mac": "nonsense"}, {}, UsageError),
        ({"mtu": 70000}, {}, VxswitchError),
    ],
)
def test_a_failure_after_the_answer_is_told_to_the_switch_and_leaves_nothing(
    switch: FakeSwitch,
    outer: Namespace,
    inner: Namespace,
    settings: dict[str, Any],
    arguments: dict[str, Any],
    error: type[VxswitchError],
) -> None:
    inner.ip("link", "add", "taken0", "type", "veth", "peer", "name", "other0")
    switch.settings |= settings
    with pytest.raises(error):
        attach(switch, outer, inner, **arguments)
    assert [request["op"] for request in switch.requests] == ["attach", "abort"]
    assert not switch.ports
    until(lambda: names(inner) == {"lo", "taken0", "other0"}, "the TAP is gone")
    assert names(outer) == {"lo"}


def test_a_namespace_that_ends_before_the_answer(switch: FakeSwitch, outer: Namespace, inner: Namespace) -> None:
    switch.before_answer = inner.remove
    with pytest.raises(NotFoundError, match="does not exist"):
        attach(switch, outer, inner)
    assert not switch.ports
    assert names(outer) == {"lo"}


def test_what_a_maker_killed_half_way_left_is_made_anew(
    switch: FakeSwitch, outer: Namespace, inner: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The switch has a living port, whose TAP never reached the container."""
    monkeypatch.setattr(maker, "_APPEARANCE", 0.1)
    fd = outer.call(lambda: tap.create("vxt-left", persistent=False))
    switch.ports[inner.inode, "eth0"] = fd
    port = attach(switch, outer, inner)
    assert port["existing"] is False
    assert [request["op"] for request in switch.requests] == ["attach", "abort", "attach"]
    assert inner.addresses("eth0") == ["10.1.0.2/24"]
    assert names(outer) == {"lo"}


def test_a_wrong_request_makes_nothing(switch: FakeSwitch, outer: Namespace, inner: Namespace) -> None:
    with pytest.raises(NotFoundError, match="no network namespace 'nowhere'"):
        attach(switch, outer, inner, netns="nowhere")
    with pytest.raises(UsageError, match="interface name"):
        attach(switch, outer, inner, ifname="much-too-long-a-name")
    assert not switch.requests
    assert names(outer) == {"lo"}


def test_no_descriptor_is_lost(switch: FakeSwitch, outer: Namespace, inner: Namespace) -> None:
    attach(switch, outer, inner)
    before = len(list(Path("/proc/self/fd").iterdir()))
    attach(switch, outer, inner)
    with pytest.raises(UsageError):
        attach(switch, outer, inner, ifname="eth1", gateway="10.9.0.1")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
