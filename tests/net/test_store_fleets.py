"""Sentinel and Redis Cluster, with switches and frames: a primary falls off the network without a word.

Nothing refuses, nothing is reset: packets vanish. Of the Cluster that is a primary's host, cut off from everybody; of
the servers behind Sentinel it is the old primary with its sentinel and one of the switches, which goes on there.
Switches notice within their timeout, follow the primary that the others choose as soon as they can hear of it, and
frames between known MACs do not feel any of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import count

import pytest

from tests.net.containers import ask, attach, full_mesh, rows
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
HEALED = 10.0  # seconds until tables are the same after who has to talk to each other can


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Two hosts with switches, four with servers."""
    with Lab(hosts=6) as lab:
        yield lab


def seats(lab: Lab) -> Callable[[int], Seat]:
    """Servers sit on the last hosts of the lab."""
    return lambda number: Seat(lab.hosts[2 + number].ip4, tuple(lab.hosts[2 + number].inside([])))


@contextmanager
def cut(host: LabHost, *others: LabHost) -> Iterator[None]:
    """Whatever goes between this host and others, from or to Redis ports, disappears."""
    ports = ["-p", "tcp", "-m", "multiport", "--ports", "6379,16379,26379", "-j", "DROP"]
    rules = [[*rule, *ports] for other in others for rule in (["INPUT", "-s", other.ip4], ["OUTPUT", "-d", other.ip4])]
    for rule in rules:
        host.run(["iptables", "-A", *rule])
    yield
    for rule in rules:
        host.run(["iptables", "-D", *rule])


def vni_of(fleet: ClusterFleet, chief: Host) -> int:
    """A VNI whose tables a server has."""
    buckets = {b for b in range(BUCKETS) if fleet.owner(Keys("vxswitch", b, BUCKETS).nodes) is chief}
    return next(vni for vni in count(100) if bucket_of(vni) in buckets)


def state(switch: SwitchProcess) -> str:
    return str(ask(switch, "status")["store"]["state"])


def away(switches: list[SwitchProcess], noticed: set[SwitchProcess]) -> set[SwitchProcess]:
    """Add those that have noticed that the store is away: the first may be back before the last one is."""
    noticed |= {switch for switch in switches if state(switch) != "up"}
    return noticed


def owners(switch: SwitchProcess) -> dict[str, str]:
    """Who has which MAC, as the store confirmed it to this switch."""
    return {mac: row["node"] for mac, row in rows(switch, "red").items() if row["rev"] is not None}


@contextmanager
def traffic(
    lab: Lab, kind: str, net: str, url: str, vni: int, *more: str
) -> Iterator[tuple[list[SwitchProcess], set[str]]]:
    """Switches on the first two hosts, and the MACs of a container on each; no frame between these may be lost."""
    secret = lab.directory / f"{kind}.secret"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    options = ["--store", url, "--network", f"red={vni}", *TIMERS, "--set", f"store.password_file={secret}", *more]
    switches = [host.switch(*options, node=f"{kind}{host.index}", wait=False) for host in lab.hosts[:2]]
    for switch in switches:
        switch.wait_ready()
    one, two = (attach(lab, s, "red", f"{kind[0]}{n}", f"{net}.{n}") for n, s in enumerate(switches, 1))
    until(lambda: full_mesh(switches, "red"), DEADLINE, "both nodes to know each other")
    until(lambda: all(claimed(s) >= {one.mac, two.mac} for s in switches), DEADLINE, "both claims everywhere")
    with LossMeter(one.namespace, two.ip, EVERY) as there, LossMeter(two.namespace, one.ip, EVERY) as back:
        for meter in (there, back):
            meter.first_reply(DEADLINE)
        yield switches, {one.mac, two.mac}
        assert full_mesh(switches, "red")
    for meter in (there, back):
        assert (meter.result.lost, meter.result.duplicates) == (0, 0), meter.result.longest_gap()
    for switch in switches:
        switch.stop()


def test_the_host_of_a_clusters_primary_vanishes_and_no_frame_is_lost(lab: Lab) -> None:
    (directory := lab.directory / "cluster").mkdir()
    with closing(ClusterFleet("redis", directory, seats(lab), replicas=1, timeout_ms=1000)) as fleet:
        primary = fleet.replicated()
        vni = vni_of(fleet, primary)
        with traffic(lab, "cluster", "10.9.0", fleet.url, vni) as (switches, macs):
            gone = next(host for host in lab.hosts if host.ip4 == primary.address)
            with cut(gone, *(host for host in lab.hosts if host is not gone)):
                noticed: set[SwitchProcess] = set()
                until(lambda: len(away(switches, noticed)) == 2, NOTICED, "both to notice")
                until(lambda: all(state(s) == "up" for s in switches), RETURN, "both to follow")
                late = attach(lab, switches[0], "red", "c3", "10.9.0.3")
                until(lambda: all(late.mac in claimed(s) for s in switches), RETURN, "a new claim to go through")
                assert all(claimed(s) >= macs for s in switches)


def test_an_old_primary_goes_on_with_one_of_its_clients_and_no_frame_is_lost(lab: Lab) -> None:
    """That one reaches no other sentinel; when it does, the old primary and its sentinel still know nothing."""
    (directory := lab.directory / "sentinel").mkdir()
    watcher = lab.directory / "watcher"
    watcher.write_text(SENTINEL_SECRET)
    watcher.chmod(0o600)
    more = ["--set", f"store.sentinel_user={SENTINEL_USER}", "--set", f"store.sentinel_password_file={watcher}"]
    with (
        closing(SentinelFleet("redis", directory, seats(lab), down_ms=1000)) as fleet,
        traffic(lab, "sentinel", "10.8.0", fleet.url, 100, *more) as (switches, macs),
    ):
        left, right = switches
        host, old, others = lab.hosts[0], lab.hosts[2], (lab.hosts[1], *lab.hosts[3:5])
        assert fleet.primary().address == old.ip4
        with cut(old, *others):
            with cut(host, *others):
                until(lambda: state(right) != "up", NOTICED, "the one to notice")
                until(lambda: fleet.primary().address != old.ip4, RETURN, "another primary")
                lost = attach(lab, left, "red", "s3", "10.8.0.3")
                twice = attach(lab, left, "red", "s4", "10.8.0.4")
                until(lambda: claimed(left) >= {lost.mac, twice.mac}, DEADLINE, "claims with the old primary")
                until(lambda: state(right) == "up", RETURN, "the one to follow")
                attach(lab, right, "red", "s5", "10.8.0.5", "--mac", twice.mac)
                until(lambda: owners(right).get(twice.mac) == "sentinel2", DEADLINE, "a claim with the new one")
                assert (state(left), owners(left)[twice.mac]) == ("up", "sentinel1")
            whole = {*macs, lost.mac, twice.mac}
            until(lambda: owners(left) == owners(right) and owners(left).keys() >= whole, HEALED, "the same tables")
            assert (owners(left)[lost.mac], owners(left)[twice.mac]) == ("sentinel1", "sentinel2")
