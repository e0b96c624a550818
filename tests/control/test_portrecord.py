from __future__ import annotations

import json

import pytest

from vxswitch.control.portrecord import (
    PortRecord,
    derive_mac,
    host_port_id,
    parse_records,
    parse_request,
    port_id,
    to_document,
)
from vxswitch.errors import UsageError


@pytest.mark.parametrize(
    ("netns", "ident"),
    [
        ("/run/netns/c1", "red/c1/eth0"),
        ("/var/run/netns/c1", "red/c1/eth0"),
        ("/proc/4711/ns/net", "red/4711/eth0"),
        ("/run/docker/netns/c1", "red/c1-7b3e/eth0"),
        ("/run/other/netns/c1", "red/c1-d1d0/eth0"),
    ],
)
def test_ids_can_be_read_and_are_the_same_every_time(netns: str, ident: str) -> None:
    stem, _, name = port_id("red", netns, "eth0").rpartition("/")
    assert name == "eth0"
    assert stem.partition("-")[0] == ident.rpartition("/")[0].partition("-")[0]
    assert ("-" in stem) == ("-" in ident) and port_id("red", netns, "eth0") == port_id("red", netns, "eth0")


def test_places_of_one_name_are_different_ports() -> None:
    places = ["/run/netns/c1", "/run/docker/netns/c1", "/run/other/netns/c1", "/proc/1/ns/net"]
    assert len({port_id("red", place, "eth0") for place in places}) == len(places)
    assert host_port_id("red", "vx-red") == "red/vx-red"


def test_derived_macs_are_stations_of_local_administration() -> None:
    macs = {derive_mac(vni, f"10.0.0.{host}") for vni in (1, 2) for host in range(100)}
    assert len(macs) == 200
    assert all(len(mac) == 6 and mac[0] == 0x02 for mac in macs)
    assert derive_mac("a", "bc") != derive_mac("ab", "c")


def test_records_survive_json() -> None:
    records = [
        PortRecord(id="red/vx-red", network="red", ifname="vx-red", mac="02:00:00:00:00:01"),
        PortRecord(
            id="red/c1/eth0",
            network="red",
            ifname="eth0",
            mac="02:00:00:00:00:02",
            netns="/run/netns/c1",
            inode=4026532000,
            pid=7,
            ips=("10.0.0.1/24", "fd00::1/64"),
            gateway="10.0.0.254",
            rate=10**9,
            pps=1000,
        ),
    ]
    again = parse_records(json.loads(json.dumps(to_document(records))))
    assert again == records
    assert again[0].place is None and again[1].place is not None and again[1].place.inode == 4026532000


@pytest.mark.parametrize(
    "document",
    [
        {},
        [7],
        [{"id": "x"}],
        [{"id": "x", "network": "-", "ifname": "eth0", "mac": "02:00:00:00:00:01"}],
        [{"id": "x", "network": "red", "ifname": "eth0", "mac": "02:00"}],
        [{"id": "x", "network": "red", "ifname": "eth0", "mac": "02:00:00:00:00:01", "extra": 1}],
    ],
)
def test_what_is_no_record_is_refused(document: object) -> None:
    with pytest.raises(UsageError):
        parse_records(document)


def test_requests_may_know_more_than_we_do() -> None:
    """A newer client's extra keys are no error: the port is what counts."""
    message = {"op": "attach", "network": "red", "netns": "/run/netns/c1", "inode": 1, "ifname": "eth0", "new": True}
    request = parse_request(message)
    assert (request.network, request.place.path, request.pinned, request.ips) == ("red", "/run/netns/c1", False, ())
