"""No store named: the switch keeps a private one, alone at first, shared with others when told to."""

from __future__ import annotations

import os
from pathlib import Path

from tests.net.containers import ask, full_mesh
from tests.net.wire import DEADLINE
from vxswitch.lab import Lab, SwitchProcess, ping, until

SERVERS = ("redis-server", "valkey-server")


def servers_of(switch: SwitchProcess) -> list[int]:
    """Process ids of the store servers that this switch started."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                name = (entry / "comm").read_text().strip()
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            if parent == switch.pid and name in SERVERS:
                found.append(int(entry.name))
    return found


def exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_a_lone_switch_has_addresses_to_give_and_keeps_them_over_a_restart() -> None:
    with Lab(hosts=1) as lab:
        switch = lab.hosts[0].switch("--network", "red=100", "--set", "networks.red.subnets=10.9.0.0/24")
        until(lambda: ask(switch, "status")["store"]["state"] == "up", DEADLINE, "its store")
        assert ask(switch, "status")["store"]["url"].startswith("embedded:")
        switch.vx("network", "wait", "red")
        first, second = lab.container("c1"), lab.container("c2")
        ips = [switch.vx("attach", "red", "--netns", one.name, "--json")["ips"] for one in (first, second)]
        assert ips == [["10.9.0.1/24"], ["10.9.0.2/24"]]
        assert ping(first, "10.9.0.2").lost == 0
        (server,) = servers_of(switch)
        assert switch.stop() == 0
        until(lambda: not exists(server), DEADLINE, "its server to end with it")
        switch.start()
        assert ping(first, "10.9.0.2").lost == 0
        until(lambda: ask(switch, "status")["store"]["state"] == "up", DEADLINE, "its store")
        switch.vx("network", "wait", "red")
        third = lab.container("c3")
        assert switch.vx("attach", "red", "--netns", third.name, "--json")["ips"] == ["10.9.0.3/24"]
        (server,) = servers_of(switch)
        switch.kill()
        until(lambda: not exists(server), DEADLINE, "its server to die with it")


def test_a_shared_one_makes_a_cluster() -> None:
    with Lab(hosts=2) as lab:
        one, two = lab.hosts
        secret = lab.directory / "secret"
        secret.write_text("correct horse")
        secret.chmod(0o600)
        common = ("--network", "red=100", "--set", f"store.password_file={secret}")
        first = one.switch(*common, "--set", f"store.listen={one.ip4}")
        second = two.switch(*common, "--store", f"redis://{one.ip4}")
        until(lambda: full_mesh([first, second], "red"), DEADLINE, "each to know the other")
        here, there = lab.container("here"), lab.container("there")
        first.vx("attach", "red", "--netns", here.name, "--ip", "10.9.0.1/24")
        second.vx("attach", "red", "--netns", there.name, "--ip", "10.9.0.2/24")
        assert ping(here, "10.9.0.2").lost == 0
        assert "correct horse" not in second.stderr_tail() + str(second.vx("status", "--json"))
        assert b"correct horse" not in b"".join(
            Path(f"/proc/{pid}/cmdline").read_bytes()
            for pid in (os.getpid(), first.pid, second.pid, *servers_of(first))
        )
