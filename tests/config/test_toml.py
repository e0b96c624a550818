from __future__ import annotations

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from vxswitch.config.toml import render

SCALARS = st.text(st.characters(exclude_categories=["Cs"])) | st.integers(-(2**63), 2**63 - 1) | st.booleans()
NAMES = st.text('abc.-_ é"\\', min_size=1, max_size=5)
TABLES = st.dictionaries(st.text("abc_", min_size=1, max_size=3), SCALARS | st.lists(SCALARS, max_size=3), max_size=3)


@given(st.dictionaries(st.sampled_from(["node", "networks"]), TABLES), st.dictionaries(NAMES, TABLES, max_size=2))
def test_what_is_written_is_read_back(sections, inner):
    document = {**sections, "last": {"x": 1, **{f"n{name}": table for name, table in inner.items()}}}
    assert tomllib.loads(render(document)) == document


def test_layout():
    effective = {
        "log": {"level": "info", "listen": None},
        "networks": {"mtu": "auto", "my.net": {"vni": 7, "peers": []}},
    }
    assert render(effective) == (
        '[log]\nlevel = "info"\n# listen =\n\n[networks]\nmtu = "auto"\n\n[networks."my.net"]\nvni = 7\npeers = []\n'
    )
