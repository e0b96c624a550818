from __future__ import annotations

import json

EVENTS = [
    {"time": 1000.25, "event": "row.moved", "network": "red", "mac": "02:00:00:00:00:01", "node": "h2", "was": "h1"},
    {"time": 1001.0, "event": "store.down", "url": "redis://x", "reason": "refused\x1b[0m"},
    {"time": 1002.0, "event": "peer.left", "node": None},
]
LINES = b"\n".join(
    [json.dumps(event).encode() for event in EVENTS[:1]] + [b""] + [json.dumps(e).encode() for e in EVENTS[1:]]
)


def test_one_line_per_event_until_the_switch_ends(api, vx):
    api.answer("GET", "/v1/monitor", LINES)
    ran = vx("monitor")
    assert ran.code == 3 and "has ended" in ran.err
    moved, down, left = ran.out.splitlines()
    assert moved.split(maxsplit=1)[0].endswith(".250")
    assert moved.split()[1:] == ["row.moved", "network=red", "mac=02:00:00:00:00:01", "node=h2", "was=h1"]
    assert "reason=refused?[0m" in down
    assert left.split()[1:] == ["peer.left"]


def test_json_is_passed_on_line_by_line(api, vx):
    api.answer("GET", "/v1/monitor", LINES)
    assert [json.loads(line) for line in vx("monitor", "--json").out.splitlines()] == EVENTS


def test_a_refusal_is_an_error(api, vx):
    api.refuse("GET", "/v1/monitor", 409, "16 monitors listen already")
    ran = vx("monitor")
    assert ran.code == 2 and "listen already" in ran.err


def test_nobody_there(vx):
    assert vx("monitor", "--socket", "/nonexistent").code == 3
