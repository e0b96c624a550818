"""A store by its URL."""

from __future__ import annotations

from pathlib import Path

from vxswitch.errors import UsageError
from vxswitch.store.base import Store
from vxswitch.store.cluster import ClusterStore
from vxswitch.store.embedded import EmbeddedStore
from vxswitch.store.redis import RedisStore
from vxswitch.store.redis_connect import TlsSettings, parse_endpoint
from vxswitch.store.redis_sentinel import parse_sentinels
from vxswitch.store.redis_slots import parse_cluster
from vxswitch.store.rules import Rules
from vxswitch.store.static import StaticStore


def open_store(
    *,
    url: str,
    password: str | None,
    cluster: str,
    state_dir: Path,
    lease: float,
    beat: float,
    listen: str | None = None,
    tls: TlsSettings | None = None,
    grace: float = 60.0,
    sentinel_user: str | None = None,
    sentinel_password: str | None = None,
) -> Store:
    """The store of a URL (redis, rediss, unix, redis+sentinel, redis+cluster, static:, embedded:); not connected yet.

    ``password`` wins over one in the URL. Timers are in seconds. With Sentinel and Cluster ``tls`` is for all servers.
    UsageError if any of it cannot be.
    """
    if not 0 < beat < lease:
        raise UsageError(f"timers: beat {beat} s must be shorter than lease {lease} s, and longer than 0")
    rules = Rules(lease=lease, beat=beat, grace=max(grace, lease))
    if listen and url != "embedded:":
        raise UsageError(f"store.listen shares the embedded store; it means nothing with {url.split(':')[0]}:")
    if url == "static:":
        return StaticStore()
    if url == "embedded:":
        return EmbeddedStore(state_dir, cluster, password, listen, rules)
    if url.startswith("redis+sentinel://"):
        return RedisStore(parse_sentinels(url, password, tls, sentinel_user, sentinel_password), cluster, rules)
    if url.startswith("redis+cluster://"):
        return ClusterStore(*parse_cluster(url, password, tls), cluster, rules)
    return RedisStore(parse_endpoint(url, password, tls), cluster, rules)
