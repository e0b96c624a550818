"""A kernel that refuses TAP offloads: everything works without them, and `vxswitch ports` says which are missing.

One host of the lab has all of them; each of the others is refused some, and talks to the first in both directions.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.net import traffic
from tests.net.containers import Container, attach
from tests.net.refusal import CSUM, TSO4, TSO6, USO4, USO6, refusing
from vxswitch.lab import Host, Lab, SwitchProcess

REFUSED = {"udp": USO4 | USO6, "tcp_and_udp": TSO4 | TSO6 | USO4 | USO6, "all": CSUM | TSO4 | TSO6 | USO4 | USO6}
LEFT = {"udp": {"csum", "tso4", "tso6"}, "tcp_and_udp": {"csum"}, "all": set()}
FEATURES = {
    "csum": "tx-checksumming",
    "tso4": "tx-tcp-segmentation",
    "tso6": "tx-tcp6-segmentation",
    "uso4": "tx-udp-segmentation",
}
SIZE = 10_000_000


@pytest.fixture(scope="module")
def hosts() -> Iterator[tuple[Container, dict[str, tuple[SwitchProcess, Container]]]]:
    """A container on the host that has all offloads, and on each that is refused some."""
    with Lab(hosts=1 + len(REFUSED)) as lab:
        first, *others = lab.hosts

        def start(host: Host, env: dict[str, str]) -> SwitchProcess:
            peers = [word for other in lab.hosts if other is not host for word in ("--peer", other.ip4)]
            return host.switch("--network", "red=100", *peers, env=env, wait=False)

        full = start(first, {})
        lacking = {name: start(host, refusing(REFUSED[name])) for name, host in zip(REFUSED, others, strict=True)}
        for switch in (full, *lacking.values()):
            switch.wait_ready()
        made = {
            name: (switch, attach(lab, switch, "red", name.replace("_", ""), f"10.9.0.{number}"))
            for number, (name, switch) in enumerate(lacking.items(), start=2)
        }
        yield attach(lab, full, "red", "full", "10.9.0.1"), made


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_shows_in_ports_and_at_the_interface(
    hosts: tuple[Container, dict[str, tuple[SwitchProcess, Container]]], name: str
) -> None:
    switch, container = hosts[1][name]
    for port in switch.vx("ports", "--json"):
        assert {offload for offload, there in port["offloads"].items() if there} == LEFT[name]
    features = container.namespace.run(["ethtool", "-k", "eth0"]).stdout
    for offload, feature in FEATURES.items():
        assert (f"{feature}: on" in features) == (offload in LEFT[name]), feature


@pytest.mark.parametrize("name", REFUSED)
def test_everything_works_without(
    hosts: tuple[Container, dict[str, tuple[SwitchProcess, Container]]], name: str
) -> None:
    full, (_, container) = hosts[0], hosts[1][name]
    traffic.everything(container.namespace, full.namespace, full.ip, full.mtu, SIZE)
    traffic.everything(full.namespace, container.namespace, container.ip, full.mtu, SIZE)
