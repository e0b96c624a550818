"""`vxswitch run` as a process: what it says, what signals do to it, what it does when the host changes under it."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vxswitch.lab import Host, Lab, LabError, SwitchProcess, ping, until

DEADLINE = 10.0


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(hosts=2) as made:
        yield made


@pytest.fixture
def host(lab: Lab) -> Host:
    return lab.hosts[0]


@pytest.fixture
def start(host: Host) -> Iterator[Callable[..., SwitchProcess]]:
    """Starts switches on the first host, each with a state of its own; all are stopped when the test ends."""
    made: list[SwitchProcess] = []

    def begin(*args: str, **more: Any) -> SwitchProcess:
        made.append(host.switch(*args, node=f"n{os.urandom(3).hex()}", **more))
        return made[-1]

    yield begin
    for switch in made:
        switch.kill()
    for found in host.run(["ip", "-br", "link"]).stdout.split():
        if found.startswith("vx-"):
            host.ip(f"link del {found}")


STATIC = ("--store", "static:", "--network", "red=100")


def names(switch: SwitchProcess) -> set[str]:
    return {network["name"] for network in switch.vx("status", "--json")["networks"]}


def floods(switch: SwitchProcess, network: str = "red") -> list[str]:
    return [row["vtep"] for row in switch.vx("fdb", network, "--json") if row["hop"] == "flood"]


# -- ready and the end -----------------------------------------------------------------------------------------------


def test_ready_is_one_line_and_names_everything(start: Callable[..., SwitchProcess], host: Host) -> None:
    switch = start(*STATIC, "--vtep", host.ip4, "--vtep", f"[{host.ip6}]:8472")
    assert switch.ready == {
        "node": switch.ready["node"],
        "vtep": f"{host.ip4}:4789,[{host.ip6}]:8472",
        "socket": str(switch.socket),
    }
    assert switch.socket.stat().st_mode & 0o777 == 0o660
    assert switch.socket.with_name("attach.sock").stat().st_mode & 0o777 == 0o660
    assert switch.vx("status", "--json")["vteps"] == [f"{host.ip4}:4789", f"[{host.ip6}]:8472"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(start: Callable[..., SwitchProcess], host: Host, number: signal.Signals) -> None:
    switch = start(*STATIC)
    process = switch._process
    assert process is not None
    while process.poll() is None:  # whoever is impatient changes nothing
        process.send_signal(number)
        time.sleep(0.001)
    assert process.returncode == 0
    assert not switch.socket.exists() and not switch.socket.with_name("attach.sock").exists()
    assert "vx-red" in host.run(["ip", "-br", "link"]).stdout
    assert "Traceback" not in switch.stderr_tail()


def test_a_store_that_is_not_there_holds_nothing_up(start: Callable[..., SwitchProcess], lab: Lab) -> None:
    switch = start("--store", f"redis://{lab.hosts[1].ip4}:1", "--network", "red=100", "--network", "blue")
    status = switch.vx("status", "--json")
    assert {network["name"]: network["state"] for network in status["networks"]} == {"red": "up", "blue": "pending"}
    assert status["store"]["state"] == "down" and status["store"]["reason"]
    assert switch.stop() == 0


def test_a_switch_with_nothing_configured_has_a_store_of_its_own(start: Callable[..., SwitchProcess]) -> None:
    switch = start("--network", "red")
    status = switch.vx("status", "--json")
    assert status["store"]["url"].startswith("embedded") and status["store"]["state"] == "up"
    assert status["networks"] == [{"name": "red", "vni": 4096, "mtu": 1450, "learning": "control", "state": "up"}]
    until(lambda: switch.vx("fdb", "red", "--json")[0]["source"] == "claimed", DEADLINE, "our MAC to be claimed")
    (server,) = children(switch.pid)
    assert switch.stop() == 0
    until(lambda: not Path(f"/proc/{server}").exists(), DEADLINE, "the private server to end")


def test_a_conflict_with_the_stores_record_ends_the_start_with_2(lab: Lab) -> None:
    store = lab.redis()
    first, second = lab.hosts
    one = first.switch("--store", store.url, "--network", "red=100", node="conflict-a")
    try:
        two = second.switch("--store", store.url, "--network", "red=200", node="conflict-b", wait=False)
        process = two._process
        assert process is not None and process.wait(DEADLINE) == 2
        assert "has VNI 100 in the store, not 200" in two.stderr_tail()
        assert "vx-red" not in second.run(["ip", "-br", "link"]).stdout
    finally:
        one.stop()
        first.ip("link del vx-red")


def test_the_door_for_the_kernels_cutting_goes_with_the_switch(start: Callable[..., SwitchProcess], host: Host) -> None:
    host.run(["sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0"])
    switch = start(*STATIC, "--set", "underlay.kernel_cut=on")
    assert "vxt-" in host.run(["ip", "-br", "link"]).stdout
    assert switch.stop() == 0
    assert "vxt-" not in host.run(["ip", "-br", "link"]).stdout


def test_where_the_kernel_cannot_cut_on_is_an_error_and_auto_is_not(
    start: Callable[..., SwitchProcess], host: Host
) -> None:
    host.run(["sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1"])
    try:
        with pytest.raises(LabError, match="rp_filter"):
            start(*STATIC, "--set", "underlay.kernel_cut=on")
        switch = start(*STATIC, "--set", "underlay.kernel_cut=auto")
        assert "super-frames are cut here" in switch.stderr_tail()
    finally:
        host.run(["sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0"])


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


# -- the service manager and metrics ---------------------------------------------------------------------------------


def test_the_service_manager_is_told(start: Callable[..., SwitchProcess], tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(DEADLINE)
        switch = start(*STATIC, env={"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"})
        assert manager.recv(100).startswith(b"READY=1")
        assert manager.recv(100) == manager.recv(100) == b"WATCHDOG=1"
        os.kill(switch.pid, signal.SIGTERM)
        told = manager.recv(100)
        while told == b"WATCHDOG=1":
            told = manager.recv(100)
        assert told == b"STOPPING=1"


def test_metrics_stand_on_both_sockets(start: Callable[..., SwitchProcess], host: Host) -> None:
    switch = start(*STATIC, "--metrics", f"{host.ip4}:9100")
    script = f"import urllib.request as u; print(u.urlopen('http://{host.ip4}:9100/metrics').read().decode())"
    text = host.run(["python3", "-c", script]).stdout
    assert 'vxswitch_drops_total{reason="storm"} 0.0' in text

    class Unix(http.client.HTTPConnection):
        def connect(self) -> None:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.connect(str(switch.socket))

    connection = Unix("localhost")
    connection.request("GET", "/metrics")
    answer = connection.getresponse()
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert b"vxswitch_info" in answer.read()
    connection.close()


# -- SIGHUP ----------------------------------------------------------------------------------------------------------


def test_hangup_reads_the_file_again(start: Callable[..., SwitchProcess], tmp_path: Path, lab: Lab) -> None:
    file = tmp_path / "vx.toml"
    other = lab.hosts[1].ip4
    file.write_text('[store]\nurl = "static:"\n[networks.red]\nvni = 100\n[networks.blue]\nvni = 200\n')
    switch = start("--config", str(file))
    assert names(switch) == {"red", "blue"} and floods(switch) == []
    file.write_text(
        f'[store]\nurl = "static:"\n[underlay]\npeers = ["{other}"]\nttl = 9\n[log]\nlevel = "debug"\n'
        "[networks.red]\nvni = 100\nunknown = 'drop'\n[networks.green]\nvni = 300\n"
    )
    os.kill(switch.pid, signal.SIGHUP)
    until(lambda: names(switch) == {"red", "green"}, DEADLINE, "the networks to be those of the file")
    until(lambda: floods(switch) == [f"{other}:4789"], DEADLINE, "the peer to be flooded to")
    assert switch.vx("network", "show", "red", "--json")["unknown"] == "drop"
    until(lambda: "underlay.ttl cannot change" in switch.stderr_tail(), DEADLINE, "what cannot change to be named")


def test_hangup_with_a_broken_file_changes_nothing(start: Callable[..., SwitchProcess], tmp_path: Path) -> None:
    file = tmp_path / "vx.toml"
    file.write_text('[store]\nurl = "static:"\n[networks.red]\nvni = 100\n')
    switch = start("--config", str(file))
    file.write_text('[store]\nurl = "static:"\n[networks.blue]\nvni = 0\n')
    os.kill(switch.pid, signal.SIGHUP)
    until(lambda: "nothing has changed" in switch.stderr_tail(), DEADLINE, "the complaint")
    assert names(switch) == {"red"}


# -- the host changes under it ---------------------------------------------------------------------------------------


def test_an_address_that_vanishes_degrades_and_its_return_heals(lab: Lab, host: Host) -> None:
    switches = [
        one.switch(*STATIC, "--peer", two.ip4, node=f"degrade-{one.label}") for one, two in (lab.hosts, lab.hosts[::-1])
    ]
    try:
        for number, one in enumerate(lab.hosts, start=1):
            one.ip(f"address add 10.5.0.{number}/24 dev vx-red")

        def reachable() -> bool:
            return ping(host, "10.5.0.2", count=1, wait=0.3).lost == 0

        until(reachable, DEADLINE, "the other host to answer")
        device, prefix = underlay_address(host)
        host.ip(f"address del {prefix} dev {device}")
        until(lambda: degraded(switches[0]) == ["no_vtep_address"], DEADLINE, "the switch to be degraded")
        ping(host, "10.5.0.2", count=1, wait=0.3)
        assert switches[0].vx("drops", "--json")["no_vtep_address"] > 0
        host.ip(f"address add {prefix} dev {device}")
        until(lambda: degraded(switches[0]) == [], DEADLINE, "the switch to be whole again")
        until(reachable, DEADLINE, "the other host to answer again")
    finally:
        for switch, one in zip(switches, lab.hosts, strict=True):
            switch.kill()
            one.ip("link del vx-red")


def underlay_address(host: Host) -> tuple[str, str]:
    """The device that has the host's IPv4 address, and the address with its prefix."""
    for line in host.run(["ip", "-o", "-4", "address"]).stdout.splitlines():
        words = line.split()
        if words[3].startswith(f"{host.ip4}/"):
            return words[1], words[3]
    raise AssertionError(host.ip4)


def degraded(switch: SwitchProcess) -> list[str]:
    reasons: list[str] = switch.vx("status", "--json")["degraded"]
    return reasons
