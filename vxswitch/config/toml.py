"""The effective configuration as TOML, for ``vxswitch run --check``: what is printed can be given back as a file.

Only what the configuration consists of is written: strings, numbers, booleans, flat lists, and one level of tables in
tables. Keys without a value stand as comments, since TOML has no null.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

_BARE = re.compile(r"[A-Za-z0-9_-]+\Z")


def render(effective: Mapping[str, Mapping[str, object]]) -> str:
    """The sections as one TOML document."""
    return "\n".join(_table(name, table) for name, table in effective.items())


def _table(name: str, table: Mapping[str, object]) -> str:
    lines = [f"[{name}]"]
    inner = []
    for key, value in table.items():
        if isinstance(value, Mapping):
            inner.append(_table(f"{name}.{_key(key)}", value))
        elif value is None:
            lines.append(f"# {key} =")
        else:
            lines.append(f"{key} = {_value(value)}")
    return "\n".join(["\n".join(lines) + "\n", *inner])


def _key(name: str) -> str:
    return name if _BARE.match(name) else _value(name)


def _value(value: object) -> str:
    # A JSON string is a TOML basic string, but for DEL, which TOML wants escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
