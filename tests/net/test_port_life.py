"""Ports come and go: attach again and otherwise, detach, and namespaces that vanish under a running switch."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.net.containers import Container, ask, attach, rows
from tests.net.pair import Pair, joined_pair, link, port, reaches
from tests.net.wire import DEADLINE
from vxswitch.client import Client
from vxswitch.lab import Lab, SwitchProcess, command, ping, until

_numbers = itertools.count(20)


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with joined_pair() as made:
        yield made


@pytest.fixture
def extra(pair: Pair) -> Container:
    """One more container on the first host, known to the second."""
    number = next(_numbers)
    made = attach(pair.lab, pair.switches[0], "red", f"extra{number}", f"10.9.0.{number}")
    until(lambda: made.mac in rows(pair.switches[1], "red"), DEADLINE, "the claim at the other node")
    return made


def cpu_seconds(pid: int) -> float:
    """User and system time of a process (proc(5), stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# -- attach and detach -------------------------------------------------------------------------------------------------


def arguments(container: Container) -> list[str]:
    return ["attach", "red", "--netns", container.namespace.name, "--ip", f"{container.ip}/24", "--json"]


def test_the_same_attach_again_is_a_success_and_changes_nothing(pair: Pair, extra: Container) -> None:
    switch = pair.switches[0]
    before, described = link(extra.namespace), port(switch, extra)
    assert before is not None and described is not None
    with_links = {one["ifname"] for one in json.loads(pair.lab.hosts[0].run(["ip", "-j", "link"]).stdout)}
    answer = switch.vx(*arguments(extra))
    assert (answer["port"], answer["mac"], answer["mtu"]) == (extra.port, extra.mac, extra.mtu)
    again, after = port(switch, extra), link(extra.namespace)
    assert again is not None and after is not None
    assert after["ifindex"] == before["ifindex"]
    assert {key: again[key] for key in ("id", "mac", "ips", "state")} == {
        key: described[key] for key in ("id", "mac", "ips", "state")
    }
    assert {one["ifname"] for one in json.loads(pair.lab.hosts[0].run(["ip", "-j", "link"]).stdout)} == with_links
    assert reaches(pair.two, extra)


@pytest.mark.parametrize(
    "other",
    [["--mac", "02:00:00:00:99:99"], ["--ip", "10.9.0.99/24"], ["--rate", "10M"], ["--pps", "50"]],
    ids=["mac", "ip", "rate", "pps"],
)
def test_an_attach_with_other_arguments_is_refused_and_changes_nothing(
    pair: Pair, extra: Container, other: list[str]
) -> None:
    switch = pair.switches[0]
    described = port(switch, extra)
    done = switch.cli(*arguments(extra), *other, check=False)
    assert done.returncode in (1, 2)
    assert len(done.stderr.splitlines()) == 1 and "vxswitch:" in done.stderr
    now = port(switch, extra)
    assert described is not None and now is not None
    assert [now[key] for key in ("id", "mac", "ips")] == [described[key] for key in ("id", "mac", "ips")]
    assert reaches(pair.two, extra)


def test_detach_removes_interface_rows_and_port_and_can_be_undone(pair: Pair, extra: Container) -> None:
    first, second = pair.switches
    first.vx("detach", "red", "--netns", extra.namespace.name)
    assert link(extra.namespace) is None
    assert port(first, extra) is None
    until(lambda: extra.mac not in rows(second, "red"), DEADLINE, "its row to be released")
    again = first.cli("detach", "red", "--netns", extra.namespace.name, check=False)
    assert again.returncode == 1 and len(again.stderr.splitlines()) == 1
    first.vx("detach", "red", "--netns", extra.namespace.name, "--if-exists")
    assert first.vx(*arguments(extra))["mac"] == extra.mac  # derived: the same attach, the same MAC
    until(lambda: reaches(pair.two, extra), DEADLINE, "it to be back")


def test_two_interfaces_of_one_container_are_two_ports(pair: Pair, extra: Container) -> None:
    switch = pair.switches[0]
    answer = switch.vx(
        *("attach", "red", "--netns", extra.namespace.name, "--ifname", "eth1", "--ip", "10.9.1.1/24", "--json")
    )
    assert answer["ifname"] == "eth1" and answer["mac"] != extra.mac
    of_extra = [one for one in ask(switch, "ports") if one["netns"] == str(extra.namespace.path)]
    assert sorted((one["ifname"], one["state"]) for one in of_extra) == [("eth0", "up"), ("eth1", "up")]
    switch.vx("detach", "red", "--netns", extra.namespace.name, "--ifname", "eth1")
    assert link(extra.namespace, "eth1") is None and link(extra.namespace) is not None


@pytest.mark.parametrize("named", ["path", "pid"])
def test_a_container_can_be_named_by_a_path_or_a_process(pair: Pair, named: str) -> None:
    switch, number = pair.switches[0], next(_numbers)
    namespace = pair.lab.container(f"named{number}")
    process = namespace.popen(["sleep", "1000"])
    text = f"/proc/{process.pid}/ns/net" if named == "path" else str(process.pid)
    args = ("red", "--netns", text, "--ip", f"10.9.0.{number}/24")
    port_id = switch.vx("attach", *args, "--json")["port"]
    assert ping(pair.two.namespace, f"10.9.0.{number}").lost == 0
    assert switch.vx("attach", *args, "--json")["port"] == port_id
    namespace.end(process)
    command(["ip", "netns", "del", namespace.name])
    until(lambda: port_id not in {one["id"] for one in ask(switch, "ports")}, DEADLINE, "the port to be gone")


def test_a_link_that_is_down_in_the_container_is_port_down_and_no_more(pair: Pair, extra: Container) -> None:
    switch = pair.switches[0]
    described = port(switch, extra)
    assert described is not None and described["state"] == "up"
    extra.namespace.ip("link set eth0 down")
    assert (port(switch, extra) or {})["state"] == "down", "as the link is, not as the last frame found it"
    assert f'vxswitch_port_up{{network="red",port="{extra.port}"}} 0.0' in Client(str(switch.socket)).text("/metrics")
    assert not reaches(pair.two, extra)
    assert (port(switch, extra) or {})["drops"]["port_down"] > 0
    extra.namespace.ip("link set eth0 up")
    assert (port(switch, extra) or {})["state"] == "up"
    until(lambda: reaches(pair.two, extra), DEADLINE, "it to be back")


# -- namespaces that vanish --------------------------------------------------------------------------------------------


def leave_a_veth(lab: Lab, container: Container, name: str) -> None:
    """One end in the host, the other in the container: it vanishes with the namespace, if that really ends."""
    host = lab.hosts[0]
    host.ip(f"link add {name} type veth peer name inner netns {container.namespace.name}")
    assert link(host, name) is not None


def remove(container: Container) -> None:
    """As an engine does when the container ends."""
    command(["ip", "netns", "del", container.namespace.name])


def idle(switch: SwitchProcess, pair: Pair) -> bool:
    """While others talk a little, the process is asleep most of the time."""
    before = cpu_seconds(switch.pid)
    result = ping(pair.two.namespace, pair.one.ip, count=50, interval=0.02)
    assert result.lost == 0
    return cpu_seconds(switch.pid) - before < 0.5 * (result.at[-1] - result.at[0])


@pytest.mark.parametrize("reattached", [False, True], ids=["attached", "reattached"])
def test_a_namespace_that_vanishes_takes_its_port_along(pair: Pair, extra: Container, reattached: bool) -> None:
    """Also when the switch re-attached the TAP from inside, which keeps the namespace alive until it notices."""
    first, second = pair.switches
    if reattached:
        first.restart()
    name = f"left{int(reattached)}"
    leave_a_veth(pair.lab, extra, name)
    remove(extra)
    until(lambda: port(first, extra) is None, DEADLINE, "the port to be gone")
    until(lambda: link(pair.lab.hosts[0], name) is None, DEADLINE, "the namespace to end: the veth in it goes")
    until(lambda: extra.mac not in rows(second, "red"), DEADLINE, "its row to be withdrawn")
    assert idle(first, pair)
    assert "is gone" in first.stderr_tail()
    first.restart()
    assert port(first, extra) is None  # nor does a restart bring it back
    until(lambda: reaches(pair.one, pair.two), DEADLINE, "the others go on")


def test_a_namespace_that_vanishes_while_the_switch_is_away(pair: Pair, extra: Container) -> None:
    first, second = pair.switches
    first.kill()
    remove(extra)
    first.start()
    until(lambda: port(first, extra) is None, DEADLINE, "the port to be gone")
    until(lambda: extra.mac not in rows(second, "red"), DEADLINE, "its row to be withdrawn")
    until(lambda: reaches(pair.one, pair.two), DEADLINE, "the others go on")


def test_a_namespace_of_the_same_name_is_another_container(pair: Pair, extra: Container) -> None:
    """Removed and made again between two looks: nothing of the old port is left in it."""
    first, second = pair.switches
    name = extra.namespace.name
    command(["ip", "netns", "del", name])
    command(["ip", "netns", "add", name])
    until(lambda: port(first, extra) is None, DEADLINE, "the old port to be gone")
    assert link(extra.namespace) is None
    assert first.vx(*arguments(extra))["mac"] == extra.mac
    until(lambda: extra.mac in rows(second, "red"), DEADLINE, "the new one to be known")
    until(lambda: reaches(pair.two, extra), DEADLINE, "the new one to answer")
