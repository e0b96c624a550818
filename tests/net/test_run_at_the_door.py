"""`vxswitch run` says at once what is wrong, in one line, and leaves nothing half-started; two labs do not meet."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

import pytest

from tests.net.containers import attach
from tests.net.pair import link, reaches
from tests.net.wire import DEADLINE
from vxswitch.lab import Host, Lab, until
from vxswitch.lab.netns import clean_environment


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(hosts=1) as made:
        yield made


def run(host: Host, *args: str) -> tuple[int, str]:
    """Exit code and last line of a `vxswitch run` that ends by itself; nothing of it may be left behind."""
    own = ["--socket", str(host.directory / "door.sock"), "--node", "door"]
    if "--state-dir" not in args:
        own += ["--state-dir", str(host.directory / "door")]
    argv = [sys.executable, "-m", "vxswitch", "run", *own, *args]
    before = {one["ifname"] for one in json.loads(host.run(["ip", "-j", "link"]).stdout)}
    done = host.run(argv, check=False, timeout=DEADLINE, env=clean_environment())
    assert "ready" not in done.stdout
    assert {one["ifname"] for one in json.loads(host.run(["ip", "-j", "link"]).stdout)} == before
    assert not (host.directory / "door.sock").exists()
    assert "Traceback" not in done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("vxswitch: ")]
    assert len(said) == 1, done.stderr
    return done.returncode, said[0]


@pytest.mark.parametrize(
    ("words", "args"),
    [
        ("fdb.agee", "--set fdb.agee=3"),
        ("fdb.age", "--set fdb.age=soon"),
        ("16777215", "--network red=0"),
        ("16777215", "--network red=16777216"),
        ("red", "--network red=1 --network red=2"),
        ("100", "--network red=100 --network blue=100"),
        ("=VNI", "--network red --peer 10.77.0.9"),
        ("control", "--network red=100 --peer 10.77.0.9 --learning control"),
        ("hybrid", "--network red=100 --peer 10.77.0.9 --learning hybrid"),
        ("10.99.0.1", "--network red=100 --vtep 10.99.0.1 --peer 10.77.0.9"),
        ("nosuch", "--store nosuch://host"),
        ("--state-dir", "--frob"),
    ],
)
def test_what_is_wrong_is_named(lab: Lab, words: str, args: str) -> None:
    given = args.split()
    if "--vtep" not in given:
        given += ["--vtep", lab.hosts[0].ip4]
    code, said = run(lab.hosts[0], *given)
    assert code == 2
    assert words in said or args == "--frob"


def test_no_address_to_be_a_vtep_is_said(lab: Lab) -> None:
    code, said = run(lab.hosts[0], "--network", "red=100", "--peer", "10.77.0.9")  # no --vtep, no default route
    assert code == 2 and "--vtep" in said


def test_a_port_taken_by_the_kernels_vxlan_device_names_it(lab: Lab) -> None:
    host = lab.hosts[0]
    host.ip(f"link add kernelvx type vxlan id 5 local {host.ip4} dstport 4789", "link set kernelvx up")
    try:
        code, said = run(host, "--network", "red=100", "--vtep", host.ip4, "--peer", "10.77.0.9")
    finally:
        host.ip("link del kernelvx")
    assert code == 2
    assert "kernelvx" in said and "4789" in said


def test_a_second_switch_on_the_same_state_or_port_is_refused(lab: Lab) -> None:
    host = lab.hosts[0]
    switch = host.switch("--network", "red=100", "--peer", "10.77.0.9")
    args = ("--network", "red=100", "--peer", "10.77.0.9")
    code, said = run(host, *args, "--vtep", f"{host.ip4}:4790", "--state-dir", str(switch.state_dir))
    assert code == 2 and str(switch.pid) in said
    code, said = run(host, *args, "--vtep", host.ip4)
    assert code == 2 and "4789" in said
    assert switch.vx("status", "--json")["node"] == "h1"  # the first one did not notice
    assert link(host, "vx-red") is not None
    assert switch.stop() == 0


def test_check_prints_the_effective_configuration(lab: Lab) -> None:
    host = lab.hosts[0]
    argv = ["run", "--check", "--json", "--vtep", host.ip4, "--network", "red=100", "--peer", "10.77.0.9"]
    effective = json.loads(host.run([sys.executable, "-m", "vxswitch", *argv], env=clean_environment()).stdout)
    assert effective["underlay"]["vteps"] == ["10.77.0.1:4789"]
    assert effective["store"]["url"] == "static:" and effective["networks"]["red"]["vni"] == 100


def test_two_labs_with_the_same_everything_stand_side_by_side() -> None:
    """The same node names, addresses, networks and MACs twice on one machine: each has its own traffic only."""
    with ExitStack() as stack:
        labs = [stack.enter_context(Lab(hosts=2)) for _ in range(2)]
        containers = []
        for lab in labs:
            url = lab.redis().url
            switches = [host.switch("--store", url, "--network", "red=100") for host in lab.hosts]
            macs = [("--mac", f"02:09:00:00:00:{i:02x}") for i in (1, 2)]
            containers.append([attach(lab, switches[i], "red", f"c{i}", f"10.9.0.{i + 1}", *macs[i]) for i in range(2)])
        for one, two in containers:
            until(partial(reaches, one, two), DEADLINE, "each lab to work")
        two = containers[1][1]
        two.namespace.ip("link set eth0 down")
        assert not reaches(containers[1][0], two)
        assert reaches(*containers[0])
