"""The store of a switch without one."""

from __future__ import annotations

import asyncio

import pytest

from tests.store.nodes import mac, record
from vxswitch.errors import NotFoundError, UsageError
from vxswitch.model import NetworkRecord
from vxswitch.store.base import LocalMac, Store
from vxswitch.store.static import StaticStore


async def started() -> Store:
    store: Store = StaticStore()
    await store.start(record("one"), lambda vni: ())
    return store


async def test_it_says_that_it_is_static() -> None:
    store = await started()
    assert (store.status().state, store.status().url, store.status().reason) == ("static", "static:", None)


async def test_networks_need_their_vni() -> None:
    store = await started()
    assert await store.create_network(NetworkRecord("blue", 7)) == NetworkRecord("blue", 7)
    with pytest.raises(UsageError, match="give =VNI"):
        await store.create_network(NetworkRecord("blue", 0))
    with pytest.raises(UsageError):
        await store.create_network(NetworkRecord("blue", 2**24))
    assert await store.networks() == []
    assert await store.get_network("blue") is None
    with pytest.raises(NotFoundError):
        await store.remove_network("blue")


async def test_what_needs_a_shared_memory_is_a_usage_error() -> None:
    store = await started()
    with pytest.raises(UsageError, match="give --ip"):
        await store.allocate_ip(7, "10.1.0.0/24", "one")
    with pytest.raises(NotFoundError):
        await store.thaw(7, mac(1))


async def test_what_only_tells_it_something_succeeds() -> None:
    store = await started()
    await store.join(7)
    (result,) = await store.claim([LocalMac(7, mac(1), "attach")])
    assert result.refused is None
    assert result.row is not None
    assert result.row.node == "one"
    await store.release([(7, mac(1))])
    await store.reserve_ip(7, "10.1.0.0/24", "10.1.0.1", "one")
    await store.release_ip(7, "one")
    await store.leave(7)


async def test_events_stay_open_until_it_closes() -> None:
    store = await started()
    following = asyncio.create_task(anext(store.events(), None))
    done, _ = await asyncio.wait([following], timeout=0.05)
    assert not done
    await store.close(leave=True)
    assert await asyncio.wait_for(following, 5) is None
