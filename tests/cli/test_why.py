from __future__ import annotations

from tests.cli.fake_api import Asked

MAC = "02:00:00:00:00:01"
TOLD = {
    "network": "blue",
    "vni": 7,
    "mac": MAC,
    "row": {
        "hop": "remote",
        "port": None,
        "vtep": "10.0.0.2:4789",
        "node": "h2",
        "flags": ["frozen"],
        "source": "claimed",
        "rev": 12,
        "held": 65.0,
        "silent": None,
    },
    "claim": {
        "node": "h2",
        "uid": "u",
        "epoch": 3,
        "vteps": ["10.0.0.2:4789"],
        "ips": ["10.7.0.2"],
        "flags": ["frozen"],
        "since": 1000.0,
        "rev": 12,
    },
    "waiting": False,
    "port": None,
    "owner": {"node": "h2", "state": "suspended", "lease": None, "vtep": "10.0.0.2:4789"},
    "history": [
        {"rev": 9, "kind": "claim", "time": 999.0, "node": "h1", "detail": "attach"},
        {"rev": 12, "kind": "claim", "time": None, "node": "h2", "detail": "garp, moved from h1, frozen"},
    ],
    "history_reason": None,
    "trace": [{"stage": "lookup", "verdict": "ok", "detail": "claimed row: VTEP 10.0.0.2:4789"}],
}
OURS = TOLD | {
    "row": TOLD["row"] | {"hop": "local", "port": "blue/web/eth0", "flags": [], "silent": 2.0},
    "port": {"id": "blue/web/eth0", "netns": "/run/netns/web", "ifname": "eth0", "state": "up", "rx_frames": 7},
    "owner": {"node": "h1", "vtep": "10.0.0.1:4789", "state": "self"},
    "waiting": True,
}
GONE = TOLD | {"row": None, "claim": None, "owner": None, "history": [], "history_reason": "away", "trace": []}


def test_all_that_is_known_of_a_row(api, vx):
    api.answer("GET", "/v1/fdb/why?mac=02%3A00%3A00%3A00%3A00%3A01", [TOLD])
    ran = vx("fdb", "--why", MAC.upper().replace(":", "-"))
    assert ran.code == 0
    assert "claimed, VTEP 10.0.0.2:4789 of node h2, rev 12, frozen, for 1m05s" in ran.out
    assert "node h2 (epoch 3) since 1970-" in ran.out and "addresses 10.7.0.2, frozen" in ran.out
    assert "h2 is suspended, VTEP 10.0.0.2:4789" in ran.out
    assert "garp, moved from h1, frozen" in ran.out and "claimed row: VTEP" in ran.out
    assert vx("fdb", "--why", MAC, "--json").json == [TOLD]


def test_a_row_of_our_own_and_one_that_is_gone(api, vx):
    api.answer("GET", "/v1/fdb/why?mac=02%3A00%3A00%3A00%3A00%3A01&network=blue", [OURS])
    out = vx("fdb", "--why", MAC, "blue").out
    assert "port blue/web/eth0" in out and "last frame 2.0s ago" in out and "this node" in out
    assert "is under way" in out and "/run/netns/web eth0, up, 7 frames from it" in out
    api.answer("GET", "/v1/fdb/why?mac=02%3A00%3A00%3A00%3A00%3A01&network=blue", [GONE])
    out = vx("fdb", "show", "blue", "--why", MAC).out
    assert "no row: unknown unicast" in out and "nobody has claimed it" in out and "no history: away" in out


def test_nonsense_is_refused_before_anybody_is_asked(api, vx):
    assert vx("fdb", "--why", "nonsense").code == 2
    assert vx("fdb", "--why", MAC, "no/such").code == 2
    assert api.asked == []
    api.refuse("GET", "/v1/fdb/why?mac=02%3A00%3A00%3A00%3A00%3A01", 404, "no network of this node has it")
    assert vx("fdb", "--why", MAC).code == 1
    assert api.asked == [Asked("GET", "/v1/fdb/why?mac=02%3A00%3A00%3A00%3A00%3A01")]
