from __future__ import annotations

ROW = {
    "network": "blue",
    "vni": 7,
    "group": "239.1.2.3",
    "ports": ["blue/c1/eth0"],
    "vteps": ["10.0.0.2:4789", "10.0.0.3:4789"],
    "nodes": ["h2", "h3"],
    "source": "snooped",
    "age": 2.5,
}


def test_all_and_one_network(vx, api):
    api.answer("GET", "/v1/mcast", [ROW])
    api.answer("GET", "/v1/mcast?network=blue", [])
    assert vx("mcast", "--json").json == [ROW]
    assert vx("mcast", "blue", "--json").json == []
    title, row = vx("mcast").out.splitlines()
    assert title.split() == ["NETWORK", "VNI", "GROUP", "PORTS", "VTEPS", "SOURCE", "AGE"]
    assert row.split() == ["blue", "7", "239.1.2.3", "blue/c1/eth0", "10.0.0.2:4789,10.0.0.3:4789", "snooped", "2.5s"]


def test_a_network_that_is_not_there(vx, api):
    api.refuse("GET", "/v1/mcast?network=blue", 404, "no network 'blue'")
    assert vx("mcast", "blue").code == 1
    assert vx("mcast", "no/such").code == 2
