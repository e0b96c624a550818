from __future__ import annotations

import pytest

MAC = "02:00:00:00:00:01"
STAGES = [
    {"stage": "parse", "verdict": "alive", "detail": "unicast"},
    {"stage": "fdb", "verdict": "storm", "detail": ""},
]


@pytest.mark.parametrize(
    ("words", "body"),
    [
        (f"--src {MAC} --dst 10.1.0.2", {"src": MAC, "dst": "10.1.0.2"}),
        ("--src 02-00-00-00-00-01 --dst FD00::1", {"src": MAC, "dst": "fd00::1"}),
        (f"--src {MAC} --dst {MAC} --tcp 443", {"src": MAC, "dst": MAC, "proto": "tcp", "dport": 443}),
        (
            f"--src {MAC} --dst {MAC} --udp 53 --port p1",
            {"src": MAC, "dst": MAC, "proto": "udp", "dport": 53, "port": "p1"},
        ),
    ],
)
def test_what_is_asked(vx, api, words, body):
    api.answer("POST", "/v1/trace", STAGES)
    assert vx("trace", "blue", *words.split()).code == 0
    assert api.asked[0].body == {"network": "blue", **body}


def test_what_is_printed(vx, api):
    api.answer("POST", "/v1/trace", STAGES)
    words = ["trace", "blue", "--src", MAC, "--dst", MAC]
    assert vx(*words, "--json").json == STAGES
    assert vx(*words).out == "STAGE  VERDICT  DETAIL\nparse  alive    unicast\nfdb    storm    -\n"


@pytest.mark.parametrize(
    "words",
    [
        f"blue --src {MAC}",
        f"blue --src x --dst {MAC}",
        f"blue --src {MAC} --dst {MAC} --tcp 0",
        f"blue --src {MAC} --dst {MAC} --tcp x",
        f"blue --src {MAC} --dst {MAC} --tcp 1 --udp 1",
        f"a/b --src {MAC} --dst {MAC}",
    ],
)
def test_wrong_words(vx, api, words):
    assert vx("trace", *words.split()).code == 2
    assert api.asked == []
