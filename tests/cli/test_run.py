from __future__ import annotations

import sys
import tomllib
from types import ModuleType

import pytest

from vxswitch.config import Config


@pytest.fixture
def served(monkeypatch):
    """The configurations that ``serve`` was called with."""
    configs: list[Config] = []
    switch = ModuleType("vxswitch.switch")
    switch.serve = lambda config: configs.append(config) or 0
    monkeypatch.setitem(sys.modules, "vxswitch.switch", switch)
    return configs


def test_every_option_reaches_the_switch(vx, served, tmp_path):
    path = tmp_path / "vx.toml"
    path.write_text("[limits]\nbum_pps = 5\n")
    words = (
        "run --node n --vtep 10.0.0.1 --vtep [fd00::1]:5 --store redis://h --cluster c --network blue=7 --network red "
        f"--peer 10.0.0.2 --learning control --socket {tmp_path}/s --state-dir {tmp_path}/d --metrics [::1]:9100 "
        f"--workers 3 --purge --set timers.lease=2.5 --set networks.host_port=false --config {path}"
    )
    ran = vx(*words.split())
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    (config,) = served
    assert (config.node.name, config.node.cluster, config.node.workers) == ("n", "c", 3)
    assert (str(config.node.socket), str(config.node.state_dir)) == (f"{tmp_path}/s", f"{tmp_path}/d")
    assert [str(vtep) for vtep in config.underlay.vteps] == ["10.0.0.1:4789", "[fd00::1]:5"]
    assert [str(vtep) for vtep in config.underlay.peers] == ["10.0.0.2:4789"]
    assert [(network.name, network.vni) for network in config.joined] == [("blue", 7), ("red", None)]
    assert (config.store.url, str(config.metrics.listen), config.purge) == ("redis://h", "[::1]:9100", True)
    assert (config.timers.lease, config.limits.bum_pps, config.networks.host_port) == (2.5, 5, False)


def test_what_serve_returns_is_the_exit_code(vx, served, monkeypatch):
    monkeypatch.setattr(sys.modules["vxswitch.switch"], "serve", lambda config: 1)
    assert vx("run").code == 1


def test_the_socket_of_the_environment_is_the_switch_s_own_too(vx, served, api):
    vx("run")
    assert served[0].node.socket == api.path


def test_check_prints_what_is_in_force_and_serves_nothing(vx, served):
    words = ["run", "--check", "--node", "n", "--network", "blue=7", "--store", "redis://:hunter2@h"]
    ran = vx(*words)
    assert ran.code == 0 and served == [] and "hunter2" not in ran.out
    effective = tomllib.loads(ran.out)
    assert effective["networks"]["blue"]["vni"] == 7 and effective["store"]["url"] == "redis://:***@h"
    as_json = vx(*words, "--json").json
    assert as_json["networks"]["blue"]["vni"] == 7 and as_json["store"]["listen"] is None


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--network blue=0", "VNI 0"),
        ("--network blue=16777216", "VNI 16777216"),
        ("--network a=1 --network b=1", "same VNI"),
        ("--network a=1 --network a=2", "twice"),
        ("--store static: --network a", "give =VNI"),
        ("--peer 10.0.0.2 --learning control", "static:"),
        ("--peer 10.0.0.2 --learning hybrid", "static:"),
        ("--set networks.unknown=guess", "ask"),
        ("--key-file k", "not supported in this version"),
        ("--set timers.leese=1", "did you mean lease"),
        ("--set timer.lease=1", "did you mean timers"),
        ("--vtep 10.0.0.300", "not an IP address"),
        ("--store redi://h", "want redis://"),
        ("--config /nonexistent", "cannot read configuration file"),
        ("--nodee n", "--nodee"),
        ("extra", "extra"),
    ],
)
@pytest.mark.parametrize("check", [[], ["--check"]])
def test_a_wrong_configuration_is_one_line_and_exit_2(vx, served, words, says, check):
    ran = vx("run", *words.split(), *check)
    assert ran.code == 2 and served == [] and ran.out == ""
    assert ran.err.startswith("vxswitch: ") and says in ran.err and ran.err.count("\n") == 1
