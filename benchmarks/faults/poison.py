"""Values that make no sense, written into every key of the cluster past the scripts.

First values of the right type: rows with addresses that nobody may send to, garbage, 10 MB in a row and in a log entry.
Then, for half of the keys, another type altogether. Nodes ignore and count all of it, and claim their own again.
"""

from __future__ import annotations

import contextlib
from typing import Any

import redis

TEN_MEGABYTES = "x" * 10_000_000
LONG = "x" * 5_000  # longer than any entry of ours (store.codec.ROW_BYTES)
ROWS = {
    "02:66:00:00:00:01": '{"node": "x"}',
    "02:66:00:00:00:02": TEN_MEGABYTES,
    "02:66:00:00:00:03": "1 1 1.000000 1 u evil 239.0.0.1:4789 - -",
    "02:66:00:00:00:04": "1 1 1.000000 1 u evil 0.0.0.0:4789 - -",
    "02:66:00:00:00:05": "1 1 1.000000 1 u evil 10.77.0.1:0 - -",
    "02:66:00:00:00:06": "1 1 1.000000 1 u evil evil.example:4789 - -",
    "02:66:00:00:00:07": f"1 {'9' * 40} 1.000000 1 u evil 10.77.0.1:4789 - -",
    "01:00:5e:00:00:01": "1 1 1.000000 1 u evil 10.77.0.1:4789 - -",
    "nonsense": "",
}


def everything(admin: Any) -> None:
    """Poison every key that there is."""
    for number, key in enumerate(sorted(admin.scan_iter("vx:*", count=1000))):
        kind = admin.type(key)
        with contextlib.suppress(redis.ResponseError):  # nodes have begun to put it right
            values(admin, key, kind)
        if number % 2:
            with contextlib.suppress(redis.ResponseError):
                admin.delete(key)
                admin.rpush(key, "{not json") if kind == "string" else admin.set(key, "{not json")


def values(admin: Any, key: str, kind: str) -> None:
    """Values of the key's own type that make no sense."""
    match kind:
        case "hash":
            fields = ROWS if key.endswith(":fdb") else {"rev": "many", "digest": "?", "evil": LONG}
            admin.hset(key, mapping=fields)
        case "zset":
            admin.zadd(key, {"evil": float("inf"), "x y\n": 5})
        case "set":
            admin.sadd(key, "nonsense", LONG)
        case "stream":
            admin.xadd(key, {"op": "claim", "key": "02:66:00:00:00:08", "val": TEN_MEGABYTES, "dig": "0" * 16})
        case "list":
            admin.rpush(key, "nonsense")
        case "string":
            admin.set(key, LONG)
