"""link: a TAP into a container and ready there, as `ip` sees it."""

import os
from collections.abc import Callable

import pytest

from tests.kernel.namespaces import Namespace, until
from vxswitch.attach import link, tap
from vxswitch.attach.netns import resolve
from vxswitch.errors import ConflictError, NotFoundError, UsageError, VxswitchError

Make = Callable[[], Namespace]
Keep = Callable[[int], int]

MAC = bytes.fromhex("020000000009")


def move(outer: Namespace, inner: Namespace, ifname: str = "eth0", **changes: object) -> int:
    """Make a TAP in ``outer`` and move it into ``inner``; its descriptor, closed again if that fails."""
    settings = {"mac": MAC, "addresses": ["10.1.0.2/24"], "gateway": None, "mtu": 1400} | changes
    fd = outer.call(lambda: tap.create("vxt-moving", persistent=False))
    try:
        outer.call(lambda: link.move_into("vxt-moving", resolve(inner.name), ifname, **settings))
    except BaseException:
        os.close(fd)
        raise
    return fd


def test_move_into_gives_a_ready_interface(namespace: Make, keep: Keep) -> None:
    outer, inner = namespace(), namespace()
    addresses = ["10.1.0.2/24", "fd00::2/64"]
    fd = keep(move(outer, inner, addresses=addresses, gateway="10.1.0.1", alias="vxswitch blue"))
    found = inner.link("eth0")
    assert found is not None
    assert "UP" in found["flags"]
    assert (found["address"], found["mtu"], found["gso_max_size"], found["ifalias"]) == (
        "02:00:00:00:00:09",
        1400,
        61000,
        "vxswitch blue",
    )
    assert inner.addresses("eth0") == addresses
    assert inner.ip("route", "show", "default").startswith("default via 10.1.0.1 dev eth0")
    assert outer.link("vxt-moving") is None
    assert tap.identify(fd).name == "eth0"


def test_the_mac_is_set_before_the_link_is_up(namespace: Make, keep: Keep) -> None:
    """The link-local address that the kernel makes at that moment is derived from it (RFC 4291 appendix A)."""
    outer, inner = namespace(), namespace()
    keep(move(outer, inner))
    assert "fe80::ff:fe00:9/64" in until(lambda: inner.ip("-6", "address", "show", "dev", "eth0"))


def test_ipv6_addresses_are_usable_at_once_and_route_by_their_gateway(namespace: Make, keep: Keep) -> None:
    outer, inner = namespace(), namespace()
    keep(move(outer, inner, addresses=["fd00::2/64"], gateway="fd00::1"))
    assert "tentative" not in inner.ip("-6", "address", "show", "dev", "eth0", "scope", "global")
    assert inner.ip("-6", "route", "show", "default").startswith("default via fd00::1 dev eth0")


def test_a_namespace_with_our_port_ends_when_it_is_deleted(namespace: Make, keep: Keep) -> None:
    """We do not pin it: a veth with one end left inside disappears too, and the descriptor tells of the end."""
    outer, inner = namespace(), namespace()
    outer.ip("link", "add", "witness", "type", "veth", "peer", "name", "inside", "netns", inner.name)
    fd = keep(move(outer, inner))
    inner.remove()
    until(lambda: outer.link("witness") is None, "the end of the namespace")
    with pytest.raises(VxswitchError, match="gone"):
        tap.identify(fd)


def test_a_taken_name_is_a_conflict_that_names_it(namespace: Make, keep: Keep) -> None:
    outer, inner = namespace(), namespace()
    keep(move(outer, inner))
    with pytest.raises(ConflictError, match=f"interface eth0 already exists in {inner.path}"):
        move(outer, inner)
    until(lambda: len(inner.ip("-o", "link").splitlines()) == 2, "only lo and eth0 inside")
    assert len(outer.ip("-o", "link").splitlines()) == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"addresses": ["10.1.0/24"]}, "want ADDRESS/PREFIX"),
        ({"addresses": ["fd00::2/64"], "mtu": 1279}, "MTU 1279 is too small for IPv6"),
        ({"gateway": "10.1.0"}, "want an IP address"),
        ({"ifname": "much-too-long-a-name"}, "want 1 to 15"),
    ],
)
def test_what_is_wrong_is_said_before_anything_moves(namespace: Make, changes: dict[str, object], said: str) -> None:
    outer, inner = namespace(), namespace()
    with pytest.raises(UsageError, match=said):
        move(outer, inner, **changes)
    assert inner.link("vxt-moving") is None


def test_an_mtu_the_kernel_refuses_names_the_interface(namespace: Make) -> None:
    outer, inner = namespace(), namespace()
    with pytest.raises(VxswitchError, match=f"cannot set .*MTU 70000 .*on eth0 in {inner.path}"):
        move(outer, inner, mtu=70000)


def test_move_into_a_namespace_that_is_gone(namespace: Make) -> None:
    outer, inner = namespace(), namespace()
    target = resolve(inner.name)
    inner.remove()
    with pytest.raises(NotFoundError, match="does not exist"):
        outer.call(lambda: link.exists("lo", target))


def test_configure_again_changes_nothing(namespace: Make, keep: Keep) -> None:
    outer, inner = namespace(), namespace()
    settings = {"addresses": ["10.1.0.2/24", "fd00::2/64"], "gateway": "10.1.0.1"}
    keep(move(outer, inner, **settings))
    before = inner.ip("address"), inner.ip("route"), inner.ip("-6", "route")
    outer.call(
        lambda: link.configure(
            "eth0",
            resolve(inner.name),
            mac=MAC,
            addresses=["10.1.0.2/24", "fd00::2/64"],
            gateway="10.1.0.1",
            mtu=1400,
        )
    )
    assert (inner.ip("address"), inner.ip("route"), inner.ip("-6", "route")) == before


def test_configure_host_is_up_and_deaf_to_router_advertisements(namespace: Make, keep: Keep) -> None:
    here = namespace()
    keep(here.call(lambda: tap.create("vx-blue")))
    here.call(lambda: link.configure_host("vx-blue", 1400, MAC, alias="vxswitch blue"))
    found = here.link("vx-blue")
    assert found is not None
    assert "UP" in found["flags"]
    assert (found["address"], found["mtu"], found["ifalias"]) == ("02:00:00:00:00:09", 1400, "vxswitch blue")
    assert here.execute("cat", "/proc/sys/net/ipv6/conf/vx-blue/accept_ra").strip() == "0"
    assert here.execute("cat", "/proc/sys/net/ipv6/conf/default/accept_ra").strip() != "0"


def test_link_info_tells_an_owned_tap_from_an_orphan(namespace: Make) -> None:
    here = namespace()
    fd = here.call(lambda: tap.create("vx-blue"))
    here.call(lambda: link.configure_host("vx-blue", 1400, MAC, alias=link.alias_of("blue")))
    owned = here.call(lambda: link.link_info("vx-blue"))
    os.close(fd)
    orphan = here.call(lambda: link.link_info("vx-blue"))
    assert owned is not None
    assert orphan is not None
    assert (owned.mtu, owned.mac, owned.up, owned.alias) == (1400, MAC, True, "vxswitch blue")
    assert (owned.is_tap, owned.queues, owned.persistent, owned.orphan) == (True, 1, True, False)
    assert (orphan.is_tap, orphan.queues, orphan.persistent, orphan.orphan) == (True, 0, True, True)


def test_link_info_of_other_things(namespace: Make) -> None:
    outer, inner = namespace(), namespace()
    assert outer.call(lambda: link.link_info("vx-blue", resolve(inner.name))) is None
    found = outer.call(lambda: link.link_info("lo", resolve(inner.name)))
    assert found is not None
    assert (found.mac, found.up, found.is_tap, found.orphan) == (bytes(6), True, False, False)


def test_exists_looks_where_it_is_told(namespace: Make, keep: Keep) -> None:
    outer, inner = namespace(), namespace()
    keep(move(outer, inner))
    assert outer.call(lambda: link.exists("eth0", resolve(inner.name)))
    assert not outer.call(lambda: link.exists("eth0"))


def test_the_mtu_changes_where_it_is_told(namespace: Make, keep: Keep) -> None:
    outer, inner = namespace(), namespace()
    keep(move(outer, inner))
    outer.call(lambda: link.set_mtu("eth0", 1300, resolve(inner.name)))
    found = inner.link("eth0")
    assert found is not None
    assert found["mtu"] == 1300
    with pytest.raises(NotFoundError, match="there is no interface eth0"):
        outer.call(lambda: link.set_mtu("eth0", 1300))


def test_delete_is_idempotent_and_spares_what_is_no_tap(namespace: Make, keep: Keep) -> None:
    outer, inner = namespace(), namespace()
    keep(outer.call(lambda: tap.create("vx-blue")))
    assert outer.call(lambda: link.delete("vx-blue")) is True
    assert outer.call(lambda: link.delete("vx-blue")) is False
    inner.ip("link", "add", "veth0", "type", "veth", "peer", "name", "veth1")
    with pytest.raises(ConflictError, match="veth0: it is not a TAP"):
        outer.call(lambda: link.delete("veth0", resolve(inner.name)))
    target = resolve(inner.name)
    inner.remove()
    assert outer.call(lambda: link.delete("eth0", target)) is False
