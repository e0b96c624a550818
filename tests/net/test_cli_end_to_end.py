"""Every command against a running switch: the shapes of the JSON, the exit codes, one line on stderr.

The shapes are the outside interface; `null` stands where a value is unknown, and no key is ever missing.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.net.pair import Pair, joined_pair
from tests.net.shapes import ATTACHED, MAC, NETWORK, PEER, PORT, ROW, STAGE, STATUS, STORE, VTEP, check
from vxswitch.counters import Drop
from vxswitch.lab import SwitchProcess, ping


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with joined_pair() as made:
        assert ping(made.one.namespace, made.two.ip, count=2).lost == 0
        yield made


def refused(switch: SwitchProcess, *args: str) -> int:
    """The exit code of a command that must fail with one line on stderr and nothing on stdout."""
    done = switch.cli(*args, check=False)
    assert done.returncode != 0
    assert done.stdout == "" and len(done.stderr.splitlines()) == 1 and done.stderr.startswith("vxswitch: "), done
    return done.returncode


# -- what is ---------------------------------------------------------------------------------------------------------


def test_status(pair: Pair) -> None:
    found = pair.switches[0].vx("status", "--json")
    check(found, STATUS)
    check(found["store"], STORE)
    check(found["frames"], {"in": int, "out": int})
    (network,) = found["networks"]
    check(network, NETWORK)
    assert (network["name"], network["vni"], network["mtu"], network["state"]) == ("red", 100, 1450, "up")
    assert (found["node"], found["vteps"], found["store"]["state"]) == ("h1", ["10.77.0.1:4789"], "up")
    assert found["ports"] == len(pair.switches[0].vx("ports", "--json"))
    assert found["drops"] == sum(pair.switches[0].vx("drops", "--json").values())
    assert found["frames"]["in"] > 0 and found["frames"]["out"] > 0


def test_ports(pair: Pair) -> None:
    found = pair.switches[0].vx("ports", "--json")
    for one in found:
        check(one, PORT)
        assert MAC.fullmatch(one["mac"]) and one["state"] == "up"
    host, container = sorted(found, key=lambda one: one["netns"] or "")
    assert (host["netns"], host["ifname"]) == (None, "vx-red")
    assert container["netns"].endswith(pair.one.namespace.name)
    assert (container["id"], container["ips"], container["ifname"]) == (pair.one.port, [f"{pair.one.ip}/24"], "eth0")
    assert container["rx_frames"] >= 2 and container["tx_frames"] >= 2 and container["rx_bytes"] > 100


def test_fdb(pair: Pair) -> None:
    found = pair.switches[0].vx("fdb", "--json")
    for row in found:
        check(row, ROW)
        assert MAC.fullmatch(row["mac"]) and (row["vtep"] is None or VTEP.fullmatch(row["vtep"]))
        assert row["hop"] in ("local", "remote", "flood") and row["source"] in ("claimed", "learned", "static")
        if row["source"] in ("claimed", "static"):
            assert row["age"] is None
    table = {row["mac"]: row for row in found}
    local, remote, flood = table[pair.one.mac], table[pair.two.mac], table["00:00:00:00:00:00"]
    assert (local["hop"], local["port"], local["vtep"], local["node"]) == (
        "local",
        pair.one.port,
        "10.77.0.1:4789",
        "h1",
    )
    assert (remote["hop"], remote["port"], remote["vtep"], remote["node"]) == ("remote", None, "10.77.0.2:4789", "h2")
    assert (flood["hop"], flood["vtep"]) == ("flood", "10.77.0.2:4789")
    assert isinstance(local["rev"], int) and isinstance(remote["rev"], int)
    assert local["source"] == remote["source"] == "claimed"
    assert pair.switches[0].vx("fdb", "red", "--json") == pair.switches[0].vx("fdb", "show", "red", "--json")


def test_peers_drops_and_stats(pair: Pair) -> None:
    (peer,) = pair.switches[0].vx("peers", "--json")
    check(peer, PEER)
    assert (peer["node"], peer["vtep"], peer["networks"]) == ("h2", "10.77.0.2:4789", ["red"])
    assert peer["state"] in ("live", "unprobed") and peer["lease"] > 0
    drops = pair.switches[0].vx("drops", "--json")
    assert drops.keys() == {reason.label for reason in Drop}
    assert all(isinstance(count, int) for count in drops.values())
    assert isinstance(pair.switches[0].vx("stats", "--json"), dict)


def test_trace(pair: Pair) -> None:
    switch = pair.switches[0]
    there = switch.vx("trace", "red", "--src", pair.one.mac, "--dst", pair.two.mac, "--tcp", "80", "--json")
    for stage in there:
        check(stage, STAGE)
    assert "10.77.0.2:4789" in str(there[-1])
    by_ip = switch.vx("trace", "red", "--src", pair.one.ip, "--dst", pair.two.ip, "--udp", "53", "--json")
    assert "10.77.0.2:4789" in str(by_ip[-1])
    spoofed = switch.vx(
        "trace", "red", "--src", "02:00:00:00:00:66", "--dst", pair.two.mac, "--port", pair.one.port, "--json"
    )
    assert "spoofed_source" in str(spoofed)
    assert switch.vx("drops", "--json")["spoofed_source"] == 0  # dry: nothing is counted


@pytest.mark.parametrize("args", ["status", "ports", "peers", "drops", "drops --explain", "stats", "fdb", "network ls"])
def test_people_get_text(pair: Pair, args: str) -> None:
    text = pair.switches[0].vx(*args.split())
    assert text.strip() and not text.lstrip().startswith(("{", "["))


# -- what can be changed ---------------------------------------------------------------------------------------------


def test_networks_are_created_shown_and_removed(pair: Pair) -> None:
    first, second = pair.switches
    made = first.vx("network", "create", "green", "--subnet", "10.5.0.0/24", "--json")
    check(made, NETWORK)
    assert made["vni"] >= 4096  # allocated
    assert first.vx("network", "create", "green", "--may-exist", "--json")["vni"] == made["vni"]
    assert refused(first, "network", "create", "green", "--vni", "77") in (1, 2)
    assert {"red", "green"} <= {network["name"] for network in second.vx("network", "ls", "--json")}
    check(first.vx("network", "show", "green", "--json"), NETWORK)
    first.vx("network", "wait", "green", "--json")
    guest = pair.lab.container("guest")
    answer = first.vx("attach", "green", "--netns", guest.name, "--json")  # --ip auto
    check(answer, ATTACHED)
    assert answer["ips"] == ["10.5.0.1/24"]
    other = pair.lab.container("other")
    assert second.vx("attach", "green", "--netns", other.name, "--json")["ips"] == ["10.5.0.2/24"]
    assert ping(guest, "10.5.0.2").received > 0
    second.vx("network", "rm", "green", "--json")
    first.vx("network", "rm", "green", "--json")
    assert "green" not in {network["name"] for network in first.vx("network", "ls", "--json")}
    assert refused(first, "network", "rm", "green") == 1
    first.vx("network", "rm", "green", "--if-exists", "--json")


def test_static_rows_are_added_shown_and_deleted(pair: Pair) -> None:
    switch, mac = pair.switches[0], "02:00:00:00:00:77"
    switch.vx("fdb", "add", "red", mac, "--vtep", "10.77.0.2", "--json")
    row = next(row for row in switch.vx("fdb", "red", "--json") if row["mac"] == mac)
    assert (row["hop"], row["vtep"], row["source"], row["age"]) == ("remote", "10.77.0.2:4789", "static", None)
    switch.vx("fdb", "flush", "red", "--json")
    assert mac in {row["mac"] for row in switch.vx("fdb", "red", "--json")}
    switch.vx("fdb", "del", "red", mac, "--json")
    assert mac not in {row["mac"] for row in switch.vx("fdb", "red", "--json")}
    assert refused(switch, "fdb", "del", "red", mac) == 1
    switch.vx("fdb", "del", "red", mac, "--if-exists", "--json")
    assert refused(switch, "fdb", "thaw", "red", pair.one.mac) == 1


@pytest.mark.parametrize(
    ("code", "args"),
    [
        (2, "frobnicate"),
        (2, "status --frob"),
        (2, "attach red"),
        (2, "network create gr/een"),
        (2, "network create green --vni 0"),
        (2, "network create green --vni 16777216"),
        (2, "network create green --subnet 10.0.0.1/33"),
        (2, "network create green --encrypted"),
        (2, "attach red --netns nowhere --ip 10.9.0.300/24"),
        (2, "attach red --netns nowhere --mac 02:zz"),
        (2, "fdb add red 03:00:00:00:00:01"),
        (2, "trace red --src here --dst there"),
        (1, "network show nothere"),
        (1, "attach red --netns nowhere"),
        (1, "attach nothere --netns {one}"),
        (1, "detach red --netns {one} --ifname eth7"),
        (1, "fdb nothere"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(pair: Pair, code: int, args: str) -> None:
    assert refused(pair.switches[0], *args.format(one=pair.one.namespace.name).split()) == code


def test_a_switch_that_is_not_there_is_exit_code_3(pair: Pair) -> None:
    for args in ("status", "fdb red", "attach red --netns {one}", "network ls"):
        argv = [*args.format(one=pair.one.namespace.name).split(), "--socket", "/run/nobody/is.sock"]
        assert refused(pair.switches[0], *argv) == 3
