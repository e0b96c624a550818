"""A node starts while the store is down: it forwards at once by what it had on disk, and nobody else notices.

The third host knows its network by name alone, so that it is the file that tells the VNI, too.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.net.containers import Container, ask, attach, flood_list, full_mesh, rows
from tests.net.pair import TIMERS, reaches
from tests.net.wire import DEADLINE
from vxswitch.lab import Lab, LossMeter, StoreServer, SwitchProcess, until

EVERY = 0.005  # seconds: 200 frames a second
RETURN = 20.0  # seconds for tables to be whole again


@dataclass(frozen=True, slots=True)
class Trio:
    """A container on each of three hosts; the third node is the one that starts again."""

    store: StoreServer
    switches: tuple[SwitchProcess, ...]
    containers: tuple[Container, ...]

    @property
    def third(self) -> SwitchProcess:
        return self.switches[2]


@pytest.fixture(scope="module")
def trio() -> Iterator[Trio]:
    with Lab(hosts=3) as lab:
        store = lab.redis(persist=True)
        common = ("--store", store.url, *TIMERS, "--set", "timers.save=0.3")
        switches = [host.switch(*common, "--network", "red=100", wait=False) for host in lab.hosts[:2]]
        for switch in switches:
            switch.wait_ready()
        switches.append(lab.hosts[2].switch(*common, "--network", "red"))
        containers = [attach(lab, switch, "red", f"c{n}", f"10.9.0.{n}") for n, switch in enumerate(switches, 1)]
        made = Trio(store, tuple(switches), tuple(containers))
        whole(made)
        yield made


def whole(trio: Trio) -> None:
    """Wait until every node has every container, by the store's word, and the third has it on disk."""
    macs = {container.mac for container in trio.containers}

    def settled() -> bool:
        tables = [rows(switch, "red") for switch in trio.switches]
        fresh = all(
            row["source"] == "claimed" and not row["flags"] for t in tables for m, row in t.items() if m in macs
        )
        return full_mesh(trio.switches, "red") and fresh and all(table.keys() >= macs for table in tables)

    until(settled, RETURN, "every claim everywhere")
    until(lambda: macs - {trio.containers[2].mac} <= on_disk(trio.third), DEADLINE, "the tables to be on disk")


def on_disk(switch: SwitchProcess) -> set[str]:
    file = switch.state_dir / "tables.json"
    return (
        {mac for table in json.loads(file.read_bytes())["tables"] for mac in table["rows"]} if file.exists() else set()
    )


def stale(switch: SwitchProcess) -> set[str]:
    return {mac for mac, row in rows(switch, "red").items() if "stale" in row["flags"]}


def status(switch: SwitchProcess) -> dict[str, Any]:
    found: dict[str, Any] = ask(switch, "status")
    return found


@pytest.mark.parametrize(("end", "empty"), [("stop", False), ("kill", True)])
def test_a_node_that_starts_without_the_store_forwards_at_once(trio: Trio, end: str, empty: bool) -> None:
    """And goes on to, when the store is back: with its data, or without."""
    one, two, three = trio.containers
    with LossMeter(one.namespace, two.ip, EVERY) as others:
        others.first_reply(DEADLINE)
        trio.store.kill()
        getattr(trio.third, end)()
        trio.third.start()
        assert reaches(three, one) and reaches(two, three)  # at once, by unicast
        assert stale(trio.third) >= {one.mac, two.mac}
        assert status(trio.third)["store"]["state"] != "up"
        assert [network["vni"] for network in status(trio.third)["networks"]] == [100]
        assert len(flood_list(trio.third, "red")) == 2
        with LossMeter(three.namespace, one.ip, EVERY) as own:
            own.first_reply(DEADLINE)
            if empty:
                shutil.rmtree(trio.store.directory / "appendonlydir")
            trio.store.start()
            whole(trio)
            assert not stale(trio.third)
            for meter in (own, others):
                for _ in range(10):
                    meter.next_reply(DEADLINE)
    for meter in (own, others):
        assert (meter.result.lost, meter.result.duplicates) == (0, 0), meter.result.longest_gap()


def test_a_file_of_no_use_is_moved_aside_and_the_start_goes_on(trio: Trio) -> None:
    trio.third.stop()
    trio.store.kill()
    file = trio.third.state_dir / "tables.json"
    file.write_bytes(file.read_bytes().replace(b"10.", b"11.", 1))
    trio.third.start()
    assert file.with_suffix(".corrupt").exists() and "checksum" in trio.third.stderr_tail()
    assert [network["state"] for network in status(trio.third)["networks"]] == ["pending"]
    trio.store.start()
    whole(trio)
    assert reaches(trio.containers[2], trio.containers[0])
