from __future__ import annotations

import pytest

from vxswitch.counters import EXPLAIN, Drop

STATUS = {
    "node": "h1",
    "epoch": 3,
    "version": "0.1.0",
    "uptime": 192.5,
    "vteps": ["10.0.0.1:4789", "[fd00::1]:4789"],
    "store": {"url": "redis://:***@h", "state": "degraded", "reason": "READONLY", "since": 1.0, "rtt_ms": 0.31},
    "networks": [{"name": "blue", "vni": 7, "mtu": 1450, "learning": "control", "state": "up"}],
    "ports": 2,
    "macs": 12,
    "frames": {"in": 1000, "out": 900},
    "drops": 4,
    "degraded": ["underlay_down"],
    "underlay": [
        {"vtep": "10.0.0.1:4789", "ifname": "eth0", "mtu": 1500, "up": True},
        {"vtep": "[fd00::1]:4789", "ifname": "eth1", "mtu": 1400, "up": False},
    ],
}
PORT = {
    "id": "p1",
    "network": "blue",
    "vni": 7,
    "netns": "/run/netns/c1",
    "ifname": "eth0",
    "mac": "02:00:00:00:00:01",
    "ips": ["10.1.0.1/24"],
    "mtu": 1450,
    "state": "up",
    "rx_frames": 10,
    "rx_bytes": 1000,
    "tx_frames": 20,
    "tx_bytes": 2000,
    "offloads": {"tso": True},
    "drops": {"storm": 2, "rate": 1},
}
PEER = {
    "node": None,
    "vtep": "10.0.0.2:4789",
    "networks": ["blue", "red"],
    "state": "live",
    "lease": None,
    "rtt_us": None,
    "loss": 0.0,
    "mtu": 1500,
    "encrypted": False,
    "key_age": None,
}


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("status", STATUS),
        ("ports", [PORT]),
        ("peers", [PEER]),
        ("drops", {"storm": 2, "rate": 0}),
        ("stats", {"fdb_refused": 1, "store": {"resyncs": {}}}),
    ],
)
def test_json_passes_through(vx, api, command, answer):
    api.answer("GET", f"/v1/{command}", answer)
    ran = vx(command, "--json")
    assert (ran.code, ran.json, ran.err) == (0, answer, "")
    assert vx("--json", command).json == answer


def test_status(vx, api):
    api.answer("GET", "/v1/status", STATUS)
    assert vx("status").out == (
        "node      h1 (epoch 3)\n"
        "version   0.1.0\n"
        "uptime    3m12s\n"
        "vteps     10.0.0.1:4789,[fd00::1]:4789\n"
        "underlay  eth0 MTU 1500, eth1 MTU 1400 down\n"
        "store     redis://:***@h degraded: READONLY (0.31 ms)\n"
        "ports     2\n"
        "macs      12\n"
        "frames    1000 in, 900 out\n"
        "drops     4\n"
        "degraded  underlay_down: a device of the underlay is down or has no carrier\n"
        "\n"
        "NETWORK  VNI   MTU  LEARNING  STATE\n"
        "blue       7  1450  control   up\n"
    )


def test_status_of_a_switch_that_knows_nothing_yet(vx, api):
    api.answer("GET", "/v1/status", {"node": "h1", "store": None})
    ran = vx("status")
    assert ran.code == 0 and "store     - -\n" in ran.out


def test_ports(vx, api):
    api.answer("GET", "/v1/ports", [PORT])
    title, row = vx("ports").out.splitlines()
    assert title.split() == ["ID", "NETWORK", "NETNS", "IFNAME", "MAC", "IPS", "MTU", "STATE", "RX", "TX", "DROPS"]
    name, *rest = row.split()
    assert name == "p1" and rest[:5] == ["blue", "/run/netns/c1", "eth0", "02:00:00:00:00:01", "10.1.0.1/24"]
    assert rest[5:] == ["1450", "up", "10", "20", "3"]


def test_peers(vx, api):
    api.answer("GET", "/v1/peers", [PEER, {**PEER, "node": "h2", "lease": 2.5, "rtt_us": 80}])
    _, static, node = vx("peers").out.splitlines()
    assert static.split() == ["-", "10.0.0.2:4789", "live", "-", "-", "0", "1500", "no", "blue,red"]
    assert node.split() == ["h2", "10.0.0.2:4789", "live", "2.5s", "80", "0", "1500", "no", "blue,red"]


def test_drops_shows_what_counted(vx, api):
    api.answer("GET", "/v1/drops", {"storm": 12, "rate": 0})
    assert vx("drops").out == "REASON  FRAMES\nstorm       12\n"
    api.answer("GET", "/v1/drops", {"storm": 0})
    assert vx("drops").out == "no frame was dropped\n"


def test_drops_explained(vx, api):
    counts = {reason.label: 0 for reason in Drop} | {"storm": 12, "of_a_later_version": 1}
    api.answer("GET", "/v1/drops", counts)
    lines = vx("drops", "--explain").out.splitlines()
    assert len(lines) == 1 + len(counts)
    assert any(line.startswith("storm ") and line.endswith(EXPLAIN[Drop.STORM]) for line in lines)
    explained = vx("drops", "--explain", "--json").json
    assert explained["storm"] == {"count": 12, "explain": EXPLAIN[Drop.STORM]}
    assert explained["of_a_later_version"] == {"count": 1, "explain": None}


def test_stats(vx, api):
    api.answer("GET", "/v1/stats", {"fdb_refused": 1, "resyncs": {"gap": 2}})
    assert vx("stats").out == "fdb_refused  1\nresyncs.gap  2\n"
