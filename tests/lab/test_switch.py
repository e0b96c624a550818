"""A switch handled from outside: ready, asked, stopped, killed, back; and what a failure to start says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from vxswitch.lab import Lab, LabError, SwitchProcess


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(hosts=1) as lab:
        yield lab


@pytest.fixture
def switch(lab: Lab) -> Iterator[SwitchProcess]:
    switch = lab.hosts[0].switch("--store", "static:", "--network", "red=100")
    yield switch
    switch.kill()


def test_ready_says_who_it_is(lab: Lab, switch: SwitchProcess) -> None:
    assert switch.ready["node"] == "h1"
    assert switch.ready["vtep"] == f"{lab.hosts[0].ip4}:4789"
    assert switch.ready["socket"] == str(switch.socket)


def test_it_answers_the_command_line(switch: SwitchProcess) -> None:
    assert [network["name"] for network in switch.vx("status", "--json")["networks"]] == ["red"]
    assert "red" in switch.vx("status")
    assert switch.cli("network", "show", "nonesuch", check=False).returncode != 0
    with pytest.raises(LabError, match="nonesuch"):
        switch.vx("network", "show", "nonesuch")


def test_stop_is_orderly_and_restart_keeps_its_state(switch: SwitchProcess) -> None:
    first = switch.pid
    assert switch.stop() == 0
    with pytest.raises(LabError, match="not running"):
        _ = switch.pid
    switch.restart()
    assert switch.pid != first
    switch.kill()
    switch.restart()
    assert switch.vx("status", "--json")["node"] == "h1"


def test_a_switch_that_cannot_start_shows_its_words(lab: Lab) -> None:
    with pytest.raises(LabError, match=r"(?s)exited with 2.*vni"):
        lab.hosts[0].switch("--store", "static:", "--network", "red=0", node="broken")
