from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.control.world import INODE, World, descriptor, offering
from vxswitch.errors import ConflictError, NotFoundError, UsageError, VxswitchError
from vxswitch.store.base import Store

RED = {"name": "red", "vni": 100, "subnets": ["10.1.0.0/24", "fd00:1::/64"]}


async def test_an_attach_is_answered_with_what_the_client_has_to_set_up(world: World) -> None:
    node = await world.node()
    await node.start(RED)
    answer = await node.attach("red", ips=["10.1.0.7/24"], gateway="10.1.0.1", rate=10**6, pps=100)
    assert answer == {
        "port": "red/c1/eth0",
        "network": "red",
        "netns": "/run/netns/c1",
        "ifname": "eth0",
        "mac": answer["mac"],
        "ips": ["10.1.0.7/24"],
        "mtu": 1450,
        "existing": False,
    }
    spec = node.plane.specs["red/c1/eth0"]
    assert (spec.antispoof, spec.max_macs, spec.rate_bits, spec.pps) == (True, 64, 10**6, 100)
    assert (spec.bum_pps, spec.bum_burst) == (1000, 2000)
    row = node.row("red", answer["mac"])
    assert row.given and row.hop is node.plane.ports["red/c1/eth0"]
    saved = json.loads((node.state.path / "ports.json").read_bytes())
    assert [(p["id"], p["inode"], p["ips"]) for p in saved if p["netns"]] == [("red/c1/eth0", INODE, ["10.1.0.7/24"])]


async def test_the_claim_says_who_was_given_what(world: World) -> None:
    node = await world.node()
    await node.start(RED)
    answer = await node.attach("red", ips=["10.1.0.7/24"])
    await world.spread()
    claim = world.hub.table(100).rows[bytes.fromhex(answer["mac"].replace(":", ""))]
    assert (claim.node, claim.ips) == ("n1", ("10.1.0.7",))


async def test_the_same_attach_again_is_a_success_and_opens_nothing(world: World) -> None:
    node = await world.node()
    await node.start(RED)
    first = await node.attach("red", ips=["auto"])
    port = node.plane.ports["red/c1/eth0"]
    again = await node.attach("red", ips=["auto"])
    assert again == first | {"existing": True}
    assert node.plane.ports["red/c1/eth0"] is port


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"mac": "02:00:00:00:00:99"}, "MAC"),
        ({"ips": ["10.1.0.99/24"]}, "addresses"),
        ({"rate": 5}, "rate"),
        ({"pps": 5}, "pps"),
        ({"gateway": "10.1.0.254"}, "gateway"),
    ],
)
async def test_the_same_port_with_other_wishes_is_a_conflict(world: World, other: dict[str, Any], words: str) -> None:
    node = await world.node()
    await node.start(RED)
    await node.attach("red", ips=["10.1.0.7/24"])
    with pytest.raises(ConflictError, match=words):
        await node.attach("red", **({"ips": ["10.1.0.7/24"]} | other))


async def test_macs_follow_from_vni_and_first_address(world: World) -> None:
    one, two = await world.node("n1"), await world.node("n2", ["192.0.2.2"])
    for node in (one, two):
        await node.start("red=100", "blue=200")
    macs = [
        (await one.attach("red", "c1", ips=["10.1.0.7/24"]))["mac"],
        (await one.attach("blue", "c2", ips=["10.1.0.7/24"]))["mac"],
        (await one.attach("red", "c3", ips=["10.1.0.8/24"]))["mac"],
    ]
    assert len(set(macs)) == 3 and all(mac.startswith("02:") for mac in macs)
    await one.attaching.detach("red", "/run/netns/c1", "eth0")
    assert (await two.attach("red", "other", ips=["10.1.0.7/16"]))["mac"] == macs[0]


async def test_without_an_address_the_mac_follows_from_the_place(world: World) -> None:
    node = await world.node()
    await node.start("red=100")
    first = (await node.attach("red", "c1"))["mac"]
    assert (await node.attach("red", "c1", ifname="eth1"))["mac"] != first
    assert (await node.attach("red", "c2"))["mac"] != first
    await node.attaching.detach("red", "/run/netns/c1", "eth0")
    assert (await node.attach("red", "c1"))["mac"] == first


async def test_a_mac_that_another_port_has_is_a_conflict(world: World) -> None:
    node = await world.node()
    await node.start("red=100", "blue=200")
    await node.attach("red", "c1", mac="02:00:00:00:00:07")
    with pytest.raises(ConflictError, match="red/c1/eth0"):
        await node.attach("red", "c2", mac="02:00:00:00:00:07")
    await node.attach("blue", "c3", mac="02:00:00:00:00:07")  # networks do not meet


async def test_an_interface_that_is_taken_by_another_network_is_a_conflict(world: World) -> None:
    node = await world.node()
    await node.start("red=100", "blue=200")
    await node.attach("red", "c1")
    with pytest.raises(ConflictError, match="detach it first"):
        await node.attach("blue", "c1")
    await node.attach("blue", "c1", ifname="eth1")


async def test_a_namespace_of_the_same_name_is_another_container_with_the_same_address(world: World) -> None:
    node = await world.node()
    await node.start(RED)
    first = await node.attach("red", ips=["auto"])
    port = node.plane.ports["red/c1/eth0"]
    again = await node.attach("red", ips=["auto"], inode=INODE + 1)
    assert again["existing"] is False and (again["ips"], again["mac"]) == (first["ips"], first["mac"])
    assert node.plane.ports["red/c1/eth0"] is not port
    assert node.ports.entries["red/c1/eth0"].record.inode == INODE + 1


async def test_a_network_that_only_the_store_knows_is_joined_by_attach(world: World) -> None:
    one, two = await world.node("n1"), await world.node("n2", ["192.0.2.2"])
    await one.start(RED)
    await two.start()
    assert (await two.attach("red", ips=["auto"]))["ips"] == ["10.1.0.1/24", "fd00:1::1/64"]
    assert "red" in two.networks.by_name
    with pytest.raises(NotFoundError, match="nosuch"):
        await two.attach("nosuch")


# -- detach and abort ------------------------------------------------------------------------------------------------


async def test_detach_removes_port_tap_row_record_and_address(world: World) -> None:
    node = await world.node()
    await node.start(RED)
    answer = await node.attach("red", ips=["auto"])
    fd = node.ports.entries["red/c1/eth0"].fd
    await world.spread()
    await node.attaching.detach("red", "/run/netns/c1", "eth0")
    await world.spread()
    assert fd in node.taps.forgotten and "red/c1/eth0" not in node.plane.ports
    assert node.row("red", answer["mac"]) is None and len(world.hub.table(100).rows) == 1
    assert [p["id"] for p in json.loads((node.state.path / "ports.json").read_bytes())] == ["red/vx-red"]
    with pytest.raises(NotFoundError):
        await node.attaching.detach("red", "/run/netns/c1", "eth0")
    assert (await node.attach("red", ips=["auto"]))["ips"] == answer["ips"]  # the same owner, the same address


async def test_abort_takes_back_a_port_but_never_the_hosts_own(world: World) -> None:
    node = await world.node()
    await node.start("red=100")
    await node.attach("red")
    assert await node.attaching.handle({"op": "abort", "port": "red/c1/eth0"}, []) == {}
    assert node.plane.ports.keys() == {"red/vx-red"}
    for ident in ("red/c1/eth0", "red/vx-red", "nosuch"):
        with pytest.raises(NotFoundError):
            await node.attaching.handle({"op": "abort", "port": ident}, [])


async def test_two_clients_at_once_make_one_port(world: World) -> None:
    node = await world.node()
    await node.start(RED)
    answers = await asyncio.gather(*(node.attach("red", ips=["auto"]) for _ in range(5)))
    assert sorted(answer["existing"] for answer in answers) == [False, True, True, True, True]
    assert len({(answer["mac"], *answer["ips"]) for answer in answers}) == 1


# -- what is refused at the door -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"op": "frob"},
        {"network": 7},
        {"network": "-bad"},
        {"netns": "relative"},
        {"inode": "x"},
        {"ifname": "a-name-too-long-for-linux"},
        {"ifname": ""},
        {"ips": ["10.1.0.7/24", "none"]},
        {"ips": ["nonsense"]},
        {"ips": ["10.1.0.7/24"] * 17},
        {"mac": "01:00:00:00:00:01"},
        {"mac": "nonsense"},
        {"gateway": "nonsense"},
        {"rate": 0},
        {"pps": -1},
    ],
)
async def test_a_bad_request_is_a_usage_error_and_opens_nothing(world: World, wrong: dict[str, object]) -> None:
    node = await world.node()
    await node.start("red=100")
    good = {"op": "attach", "network": "red", "netns": "/run/netns/c1", "inode": INODE, "ifname": "eth0"}
    with pytest.raises(UsageError):
        await offering(node.attaching.handle, good | wrong)
    assert node.plane.ports.keys() == {"red/vx-red"}


@pytest.mark.parametrize("count", [0, 2])
async def test_one_descriptor_is_wanted(world: World, count: int) -> None:
    import os

    node = await world.node()
    await node.start("red=100")
    fds = [descriptor() for _ in range(count)]
    message = {"op": "attach", "network": "red", "netns": "/run/netns/c1", "inode": INODE, "ifname": "eth0"}
    try:
        with pytest.raises(UsageError, match="descriptor of one queue"):
            await node.attaching.handle(message, fds)
    finally:
        for fd in fds:
            os.close(fd)


async def test_a_descriptor_that_is_no_tap_is_refused(world: World) -> None:
    node = await world.node()
    await node.start("red=100")

    def refuse(fd: int, name: str | None) -> None:
        raise VxswitchError("descriptor passed is not one of /dev/net/tun")

    node.taps.accept = refuse  # type: ignore[assignment,method-assign]
    with pytest.raises(VxswitchError, match="not one of"):
        await node.attach("red")


async def test_a_network_that_goes_while_an_address_is_asked_for_leaves_no_port(world: World) -> None:
    node = await world.node()
    await node.start(RED)
    store: Store = node.store
    allocate = store.allocate_ip

    async def slow(vni: int, subnet: str, owner: str) -> str:
        await node.joining.remove("red")
        return await allocate(vni, subnet, owner)

    store.allocate_ip = slow  # type: ignore[method-assign]
    with pytest.raises(NotFoundError):
        await node.attach("red", ips=["auto"])
    assert node.plane.ports == {}


async def test_a_port_or_network_that_would_be_forgotten_is_not_made(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The state directory's disk is full: what comes is refused and leaves nothing, what goes goes all the same."""
    node = await world.node()
    await node.start(RED)
    await node.attach("red", "c1")

    def full(name: str, parts: object) -> None:
        raise VxswitchError(f"cannot write {name}.json: No space left on device")

    monkeypatch.setattr(node.state, "write_bytes", full)
    with pytest.raises(VxswitchError, match="No space left"):
        await node.attach("red", "c2", ips=["10.1.0.9/24"])
    assert sorted(node.ports.entries) == sorted(node.plane.ports) == ["red/c1/eth0", "red/vx-red"]
    with pytest.raises(VxswitchError, match="No space left"):
        await node.joining.create(node.wanted("blue=200"), may_exist=False)
    assert list(node.networks.by_name) == ["red"] and "blue/vx-blue" not in node.plane.ports
    await node.attaching.detach("red", "/run/netns/c1", "eth0")
    assert sorted(node.ports.entries) == ["red/vx-red"]
    assert "ports.json: No space left on device: going on with the old one on disk" in caplog.text


async def test_a_port_that_nobody_waited_for_goes_again_but_not_one_that_was_there(world: World) -> None:
    node = await world.node()
    await node.start(RED)
    answer = await node.attach("red", "c1")
    await node.attaching.abandoned(await node.attach("red", "c1"))
    assert "red/c1/eth0" in node.ports.entries, "it existed before"
    await node.attaching.abandoned(answer)
    await node.attaching.abandoned({})
    assert sorted(node.ports.entries) == ["red/vx-red"]
