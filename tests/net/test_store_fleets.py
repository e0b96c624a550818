"""Sentinel and Redis Cluster, with switches and frames: the primary's host falls off the network without a word.

Nothing refuses, nothing is reset: packets to and from that host vanish. Switches notice within their timeout, follow
the primary that the others choose, and frames between known MACs do not feel any of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count

import pytest

from tests.net.containers import ask, attach, full_mesh
from tests.net.pair import TIMERS, claimed
from tests.net.wire import DEADLINE
from tests.store.fleets import SECRET, SENTINEL_SECRET, SENTINEL_USER, ClusterFleet, Host, Seat, SentinelFleet
from vxswitch.lab import Lab, LossMeter, SwitchProcess, until
from vxswitch.lab.topology import Host as LabHost
from vxswitch.store.cluster import BUCKETS, bucket_of
from vxswitch.store.redis_scripts import Keys

EVERY = 0.005  # seconds: 200 frames a second each way
NOTICED = 6.0  # seconds: a heartbeat, the command timeout of 2 s, and as much again for a loaded machine
RETURN = 30.0  # seconds for another primary to be chosen and found, and for tables to be whole again


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Two hosts with switches, four with servers."""
    with Lab(hosts=6) as lab:
        yield lab


@pytest.fixture(params=["sentinel", "cluster"])
def fleet(request: pytest.FixtureRequest, lab: Lab) -> Iterator[SentinelFleet | ClusterFleet]:
    """Servers of a kind on the last hosts of the lab."""

    def seat(number: int) -> Seat:
        host = lab.hosts[2 + number]
        return Seat(host.ip4, tuple(host.inside([])))

    directory = lab.directory / request.param
    directory.mkdir()
    made: SentinelFleet | ClusterFleet
    if request.param == "sentinel":
        made = SentinelFleet("redis", directory, seat, down_ms=1000)
    else:
        made = ClusterFleet("redis", directory, seat, replicas=1, timeout_ms=1000)
    with closing(made):
        yield made


@contextmanager
def black_hole(host: LabHost) -> Iterator[None]:
    """Whatever comes from or goes to this host's Redis ports disappears."""
    ports = "6379,16379,26379"
    sides = (("INPUT", "--dports"), ("INPUT", "--sports"), ("OUTPUT", "--dports"), ("OUTPUT", "--sports"))
    rules = [[chain, "-p", "tcp", "-m", "multiport", side, ports, "-j", "DROP"] for chain, side in sides]
    for rule in rules:
        host.run(["iptables", "-A", *rule])
    yield
    for rule in rules:
        host.run(["iptables", "-D", *rule])


def primary_and_vni(fleet: SentinelFleet | ClusterFleet) -> tuple[Host, int]:
    """A server that another one can stand in for, and a VNI whose tables it has."""
    if isinstance(fleet, SentinelFleet):
        return fleet.primary(), 100
    chief = fleet.replicated()
    buckets = {b for b in range(BUCKETS) if fleet.owner(Keys("vxswitch", b, BUCKETS).nodes) is chief}
    return chief, next(vni for vni in count(100) if bucket_of(vni) in buckets)


def state(switch: SwitchProcess) -> str:
    return str(ask(switch, "status")["store"]["state"])


def away(switches: list[SwitchProcess], noticed: set[SwitchProcess]) -> set[SwitchProcess]:
    """Add those that have noticed that the store is away: the first may be back before the last one is."""
    noticed |= {switch for switch in switches if state(switch) != "up"}
    return noticed


def test_the_primarys_host_vanishes_and_no_frame_is_lost(lab: Lab, fleet: SentinelFleet | ClusterFleet) -> None:
    kind, net = ("sentinel", "10.8.0") if isinstance(fleet, SentinelFleet) else ("cluster", "10.9.0")
    secret, watcher = lab.directory / f"{kind}.secret", lab.directory / f"{kind}.watcher"
    for path, text in ((secret, SECRET), (watcher, SENTINEL_SECRET)):
        path.write_text(text)
        path.chmod(0o600)
    primary, vni = primary_and_vni(fleet)
    options = ["--store", fleet.url, "--network", f"red={vni}", *TIMERS, "--set", f"store.password_file={secret}"]
    if isinstance(fleet, SentinelFleet):
        options += ["--set", f"store.sentinel_user={SENTINEL_USER}", "--set", f"store.sentinel_password_file={watcher}"]
    switches = [host.switch(*options, node=f"{kind}{host.index}", wait=False) for host in lab.hosts[:2]]
    for switch in switches:
        switch.wait_ready()
    one, two = (attach(lab, s, "red", f"{kind[0]}{n}", f"{net}.{n}") for n, s in enumerate(switches, 1))
    until(lambda: full_mesh(switches, "red"), DEADLINE, "both nodes to know each other")
    until(lambda: all(claimed(s) >= {one.mac, two.mac} for s in switches), DEADLINE, "both claims everywhere")
    with (
        LossMeter(one.namespace, two.ip, EVERY) as there,
        LossMeter(two.namespace, one.ip, EVERY) as back,
    ):
        there.first_reply(DEADLINE)
        back.first_reply(DEADLINE)
        with black_hole(next(host for host in lab.hosts if host.ip4 == primary.address)):
            noticed: set[SwitchProcess] = set()
            until(lambda: len(away(switches, noticed)) == 2, NOTICED, "both to notice")
            until(lambda: all(state(s) == "up" for s in switches), RETURN, "both to follow")
            late = attach(lab, switches[0], "red", f"{kind[0]}3", f"{net}.3")
            until(lambda: all(late.mac in claimed(s) for s in switches), RETURN, "a new claim to go through")
            assert all(claimed(s) >= {one.mac, two.mac} for s in switches)
            assert full_mesh(switches, "red")
    for meter in (there, back):
        assert (meter.result.lost, meter.result.duplicates) == (0, 0), meter.result.longest_gap()
    for switch in switches:
        switch.stop()
