from __future__ import annotations

import pytest

from tests.cli.fake_api import Asked

MAC = "02:00:00:00:00:01"
SAME = {
    "network": "blue",
    "vni": 7,
    "rev": 12,
    "digest": "00000000000000aa",
    "rows": 3,
    "store_rev": 12,
    "store_digest": "00000000000000aa",
    "store_rows": 3,
    "peers": {"h2": {"rev": 12, "same": True}, "h3": {"rev": 11, "same": False}},
    "drifted": 0,
    "drift": [],
    "same": True,
    "reasons": [],
}
DIFFERS = SAME | {
    "same": False,
    "reasons": ["node h3 has read to rev 11", "1 rows of the table differ from the copy"],
    "drifted": 1,
    "drift": [{"mac": MAC, "what": "missing", "table": None, "copy": "node h2, VTEP 10.0.0.2:4789, rev 9"}],
}


@pytest.mark.parametrize(("found", "code"), [([SAME], 0), ([SAME, DIFFERS], 1), ([], 0)])
def test_the_exit_code_says_whether_all_is_the_same(api, vx, found, code):
    api.answer("GET", "/v1/verify", found)
    assert vx("verify").code == code
    ran = vx("verify", "--json")
    assert (ran.code, ran.json) == (code, found)


def test_a_network_that_differs_says_why(api, vx):
    api.answer("GET", "/v1/verify?network=blue", [DIFFERS])
    out = vx("verify", "blue").out
    assert "1 of 2" in out and "no" in out.splitlines()[1].split()
    assert "blue: node h3 has read to rev 11" in out
    assert "node h2, VTEP 10.0.0.2:4789, rev 9" in out


def test_repair_tells_what_it_changed(api, vx):
    changed = [{"mac": MAC, "what": "missing", "table": None, "copy": "node h2"}]
    api.answer("POST", "/v1/verify", [SAME | {"changed": changed, "changes": 1, "claimed_again": 4}])
    ran = vx("verify", "blue", "--repair")
    assert ran.code == 0 and "blue: repaired: 1 rows changed, 4 MACs claimed again" in ran.out
    assert MAC in ran.out
    assert vx("verify", "--repair").code == 0
    assert api.asked == [Asked("POST", "/v1/verify", {"network": "blue"}), Asked("POST", "/v1/verify", {})]


def test_a_bad_name_is_refused_before_anybody_is_asked(api, vx):
    assert vx("verify", "no/such").code == 2
    assert api.asked == []
