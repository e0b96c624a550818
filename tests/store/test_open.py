"""A store by its URL."""

from __future__ import annotations

from pathlib import Path

import pytest

from vxswitch.errors import UsageError
from vxswitch.store import TlsSettings, open_store
from vxswitch.store.base import Store
from vxswitch.store.cluster import ClusterStore
from vxswitch.store.embedded import EmbeddedStore
from vxswitch.store.redis import RedisStore
from vxswitch.store.static import StaticStore


def opened(
    url: str,
    tmp_path: Path,
    password: str | None = None,
    *,
    cluster: str = "c",
    lease: float = 3.0,
    beat: float = 1.0,
    listen: str | None = None,
    tls: TlsSettings | None = None,
) -> Store:
    return open_store(
        url=url,
        password=password,
        cluster=cluster,
        state_dir=tmp_path,
        lease=lease,
        beat=beat,
        listen=listen,
        tls=tls,
    )


@pytest.mark.parametrize(
    ("url", "kind", "shown"),
    [
        ("static:", StaticStore, "static:"),
        ("embedded:", EmbeddedStore, "embedded:"),
        ("redis://u:hunter2@host/1", RedisStore, "redis://host:6379"),
        ("rediss://host:7000", RedisStore, "rediss://host:7000"),
        ("unix:///run/s", RedisStore, "unix:///run/s"),
        ("redis+sentinel://u:hunter2@a,[fd00::1]:7/main", RedisStore, "redis+sentinel://a:26379,[fd00::1]:7/main"),
        ("redis+cluster://u:hunter2@a,b:7", ClusterStore, "redis+cluster://a:6379,b:7"),
    ],
)
async def test_each_scheme_has_its_store(url: str, kind: type, shown: str, tmp_path: Path) -> None:
    store = opened(url, tmp_path)
    assert type(store) is kind
    assert store.status().url == shown


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("redis+sentinel://a,b", {}),
        ("redis+sentinel://a,b/main/x", {}),
        ("redis+sentinel://a,,b/main", {}),
        ("redis+cluster://a:port,b", {}),
        ("redis+cluster://a,b/1", {}),
        ("redis+cluster://a,b?db=1", {}),
        ("redis+cluster://" + ",".join(f"h{n}" for n in range(33)), {}),
        ("http://host", {}),
        ("redis://host", {"beat": 3.0}),
        ("redis://host", {"beat": 0.0}),
        ("redis://host", {"cluster": "two words"}),
        ("redis://host", {"listen": "10.0.0.1"}),
        ("embedded:", {"listen": "10.0.0.1"}),
        ("embedded:", {"listen": "host.example", "password": "p"}),
        ("embedded:", {"listen": "10.0.0.1:port", "password": "p"}),
        ("embedded:", {"listen": "10.0.0.1:70000", "password": "p"}),
    ],
)
async def test_what_cannot_be_is_a_usage_error(url: str, options: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        opened(url, tmp_path, **options)  # type: ignore[arg-type]


async def test_a_path_too_long_for_a_socket_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="too long"):
        opened("embedded:", tmp_path / ("x" * 100))
