"""The store of a lab: reached over the underlay, stopped, killed, hung, and back with or without its data."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator

import pytest
import redis

from vxswitch.lab import Lab, LabError
from vxswitch.lab.store import find_server

ASK = "import redis, sys; print(redis.Redis.from_url(sys.argv[1], socket_timeout=0.5).ping())"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(hosts=1) as lab:
        yield lab


@pytest.mark.parametrize("ipv6", [False, True])
def test_a_host_reaches_it(lab: Lab, ipv6: bool) -> None:
    store = lab.redis(ipv6=ipv6)
    assert lab.hosts[0].run([sys.executable, "-c", ASK, store.url]).stdout == "True\n"
    store.stop()


def test_data_survive_a_kill_only_when_asked_to(lab: Lab) -> None:
    for persist in (False, True):
        store = lab.redis(persist=persist)
        client = redis.Redis(unix_socket_path=str(store.unix_socket))
        client.set("key", "value")
        store.kill()
        with pytest.raises(LabError, match="not running"):
            store.stop()
        store.start()
        assert client.get("key") == (b"value" if persist else None)
        client.close()
        store.stop()


def test_a_paused_store_hangs_and_goes_on(lab: Lab) -> None:
    store = lab.redis()
    client = redis.Redis(unix_socket_path=str(store.unix_socket), socket_timeout=0.1, retry=None)
    store.pause()
    with pytest.raises(redis.exceptions.RedisError):
        client.ping()
    store.resume()
    client.close()
    assert redis.Redis(unix_socket_path=str(store.unix_socket), socket_timeout=5).ping()
    store.pause()
    store.stop()


def test_without_one_in_path_the_packaged_server_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, path: None)
    assert find_server().endswith("/valkey-server")
