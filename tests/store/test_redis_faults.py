"""The store in Redis and Valkey when the server misbehaves: real processes, real faults, short timers."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from itertools import pairwise

import pytest

from tests.store.conftest import RedisWorld
from tests.store.nodes import FAST, Node, mac
from tests.store.servers import PASSWORD, USER, granted, until
from vxswitch.errors import StoreUnavailableError
from vxswitch.store.base import LocalMac
from vxswitch.store.redis_session import Session

VNI = 4096
WHOLE = {1: "one", 2: "two"}


async def pair(world: RedisWorld) -> tuple[Node, Node]:
    """Two nodes that know each other's MAC."""
    one, two = await world.member("one", VNI), await world.member("two", VNI)
    await one.attach(VNI, 1)
    await two.attach(VNI, 2)
    for node in (one, two):
        await until(node.has(VNI, WHOLE))
    return one, two


async def trusted_pair(world: RedisWorld) -> tuple[Node, Node]:
    """Two nodes that know each other's MAC, and may judge each other."""
    one, two = await pair(world)
    for node in (one, two):
        await until(lambda node=node: node.leases and node.leases.trusted)
    return one, two


async def whole_again(*nodes: Node) -> None:
    """All are up, a new MAC reaches everybody, and nothing that worked was removed on the way."""
    for node in nodes:
        await until(lambda node=node: node.store.status().state == "up")
    known = nodes[0].ports[VNI].get(mac(3))
    await granted(lambda: nodes[0].attach(VNI, 3, ips=known.ips if known else ()))
    for node in nodes:
        await until(node.has(VNI, {**WHOLE, 3: nodes[0].node.name}))
        assert node.table(VNI).removed == []


def nobody_was_judged(node: Node, since: int) -> bool:
    """No trusted word was said since then that somebody's lease had run out."""
    told = [e for e in node.events[since:] if getattr(e, "trusted", False)]
    return all(set(leases.seconds_left) >= {"one", "two"} for leases in told)


async def test_killed_and_back_empty(world: RedisWorld) -> None:
    one, two = await trusted_pair(world)
    world.server.kill()
    for node in (one, two):
        await until(lambda node=node: node.store.status().state == "down")
        await until(lambda node=node: node.leases and not node.leases.trusted)
    with pytest.raises(StoreUnavailableError, match="down"):
        await one.attach(VNI, 9)
    one.ports[VNI].pop(mac(9))
    said = len(one.events)
    world.server.start()
    await whole_again(one, two)
    assert nobody_was_judged(one, said)


async def test_hung_and_resumed(world: RedisWorld) -> None:
    one, two = await trusted_pair(world)
    said = len(one.events)
    world.server.signal(signal.SIGSTOP)
    try:
        for node in (one, two):
            await until(lambda node=node: node.store.status().state == "down")
        assert one.owners(VNI) == WHOLE
    finally:
        world.server.signal(signal.SIGCONT)
    await whole_again(one, two)
    assert nobody_was_judged(one, said)


async def test_a_heartbeat_that_is_carried_out_late_fences_nobody(world: RedisWorld) -> None:
    one, two = await pair(world)
    epoch = one.store.node.epoch
    world.server.signal(signal.SIGSTOP)
    try:
        for node in (one, two):
            await until(lambda node=node: node.store.status().state == "down")
        await asyncio.sleep(2 * FAST.lease)  # leases have run out when the server finds heartbeats in its sockets
    finally:
        world.server.signal(signal.SIGCONT)
    told: set[str] = set()

    def up_again() -> bool:
        states = [node.store.status() for node in (one, two)]
        told.update(str(status.reason) for status in states)
        return all(status.state == "up" for status in states)

    await until(up_again)
    assert not any("fenced" in reason for reason in told)
    assert one.store.node.epoch > epoch
    await whole_again(one, two)


async def test_paused_for_clients_but_listening(world: RedisWorld) -> None:
    one, two = await pair(world)
    world.server.admin.client_pause(1500)
    await until(lambda: one.store.status().state == "down")
    await whole_again(one, two)


async def test_flushed(world: RedisWorld) -> None:
    one, two = await trusted_pair(world)
    said = len(one.events)
    world.server.admin.flushall()
    await until(lambda: "gen" in one.table(VNI).snapshots)
    await whole_again(one, two)
    assert nobody_was_judged(one, said)


async def test_a_broken_history_that_shows_as_a_gap_removes_nothing_either(world: RedisWorld) -> None:
    """Whoever writes into the log past the scripts makes a gap; the tables read then may be another generation's."""
    one, two = await trusted_pair(world)
    world.server.admin.flushall()
    for node in (one, two):
        node.store._session._reader.want(VNI, "gap")  # type: ignore[attr-defined]
    await whole_again(one, two)
    assert all("gen" in node.table(VNI).snapshots for node in (one, two))


async def test_scripts_flushed(world: RedisWorld) -> None:
    one, two = await pair(world)
    world.server.admin.script_flush()
    assert (await one.attach(VNI, 3)).refused is None
    await whole_again(two, one)


async def test_out_of_memory(world: RedisWorld) -> None:
    one, two = await pair(world)
    world.server.admin.config_set("maxmemory", "1")
    for node in (one, two):
        await until(lambda node=node: node.store.status().state == "degraded")
    assert "OOM" in str(one.store.status().reason)
    with pytest.raises(StoreUnavailableError, match="OOM"):
        await one.attach(VNI, 3)
    assert one.store.counts.errors["OOM"] > 0
    assert one.owners(VNI) == WHOLE
    world.server.admin.config_set("maxmemory", "0")
    await whole_again(one, two)


async def test_replica_that_must_not_be_written(world: RedisWorld) -> None:
    one, two = await pair(world)
    world.server.admin.replicaof("127.0.0.1", "1")
    await until(lambda: "READONLY" in str(one.store.status().reason))
    assert one.store.status().state == "degraded"
    world.server.admin.replicaof("NO", "ONE")
    await whole_again(one, two)


async def test_not_enough_replicas(world: RedisWorld) -> None:
    one, two = await pair(world)
    world.server.admin.config_set("min-replicas-to-write", "1")
    await until(lambda: one.store.status().state == "degraded")
    assert "NOREPLICAS" in str(one.store.status().reason)
    world.server.admin.config_set("min-replicas-to-write", "0")
    await whole_again(one, two)


async def test_rights_taken_away_and_given_back(world: RedisWorld) -> None:
    one, two = await pair(world)
    world.server.admin.execute_command("ACL", "SETUSER", USER, "-zadd")
    await until(lambda: one.store.status().state == "degraded")
    assert "NOPERM" in str(one.store.status().reason)
    world.server.admin.execute_command("ACL", "SETUSER", USER, "+zadd")
    await whole_again(one, two)


async def test_user_switched_off_and_on(world: RedisWorld) -> None:
    one, two = await pair(world)
    admin = world.server.admin
    admin.execute_command("ACL", "SETUSER", USER, "off")
    admin.client_kill_filter(user=USER)
    await until(lambda: one.store.status().state == "degraded")
    assert "NOAUTH" in str(one.store.status().reason)
    admin.execute_command("ACL", "SETUSER", USER, "on")
    await whole_again(one, two)


async def test_keys_out_of_reach(world: RedisWorld) -> None:
    """The user may still do everything, but to the keys of another cluster."""
    one, two = await pair(world)
    admin = world.server.admin
    admin.execute_command("ACL", "SETUSER", USER, "resetkeys", "~vx:{another/*}:*")
    await until(lambda: one.store.status().state == "degraded")
    assert "NOPERM" in str(one.store.status().reason)
    with pytest.raises(StoreUnavailableError):
        await one.attach(VNI, 3)
    assert one.owners(VNI) == WHOLE
    admin.execute_command("ACL", "SETUSER", USER, "~vx:{*/*}:*")
    await whole_again(one, two)


async def test_snapshots_that_cannot_be_saved(world: RedisWorld) -> None:
    """MISCONF: the server stops writes when its own snapshot to disk failed."""
    one, two = await trusted_pair(world)
    said, admin = len(one.events), world.server.admin
    (world.server.directory / "dump.rdb" / "in-the-way").mkdir(parents=True)
    admin.config_set("save", "1000000 1000000")
    admin.bgsave()
    for node in (one, two):
        await until(lambda node=node: node.store.status().state == "degraded")
    assert "MISCONF" in str(one.store.status().reason)
    with pytest.raises(StoreUnavailableError, match="MISCONF"):
        await one.attach(VNI, 3)
    assert one.owners(VNI) == WHOLE
    admin.config_set("stop-writes-on-bgsave-error", "no")
    await whole_again(one, two)
    assert nobody_was_judged(one, said)


async def test_loading_what_it_saved(world: RedisWorld) -> None:
    """LOADING: back with data, but it takes its time to read them."""
    one, two = await pair(world)
    admin = world.server.admin
    admin.mset({f"ballast{number}": random.randbytes(2048) for number in range(200)})
    admin.save()
    world.server.kill()
    await until(lambda: one.store.status().state == "down")
    world.server.launch("key-load-delay 5000\nloading-process-events-interval-bytes 1024\n")
    await until(lambda: "LOADING" in str(one.store.status().reason))
    assert one.store.status().state == "degraded"
    assert one.owners(VNI) == WHOLE
    await whole_again(one, two)
    assert one.store.counts.errors["LOADING"] > 0


async def test_password_changed_and_back(world: RedisWorld) -> None:
    one, two = await pair(world)
    admin = world.server.admin
    admin.execute_command("ACL", "SETUSER", USER, "resetpass", ">other")
    admin.client_kill_filter(user=USER)
    await until(lambda: one.store.status().state == "degraded")
    assert "NOAUTH" in str(one.store.status().reason)
    assert PASSWORD.replace(" ", "_") not in str(one.store.status())
    admin.execute_command("ACL", "SETUSER", USER, "resetpass", f">{PASSWORD.replace(' ', '_')}")
    await whole_again(one, two)


async def test_a_policy_that_evicts_is_loud_and_clears(world: RedisWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vxswitch.store.redis_session.INSPECT_BEATS", 2)
    one, _ = await pair(world)
    world.server.admin.config_set("maxmemory", "1gb")
    world.server.admin.config_set("maxmemory-policy", "allkeys-lru")
    await until(lambda: one.store.status().state == "degraded")
    assert "maxmemory-policy is allkeys-lru" in str(one.store.status().reason)
    assert (await one.attach(VNI, 3)).refused is None
    world.server.admin.config_set("maxmemory-policy", "noeviction")
    await until(lambda: one.store.status().state == "up")


async def test_no_server_at_the_start(world: RedisWorld) -> None:
    world.server.kill()
    one = await world.node("one")
    await one.store.join(VNI)
    with pytest.raises(StoreUnavailableError):
        await one.attach(VNI, 1)
    await until(lambda: one.store.counts.errors["connection"] >= 3)
    world.server.start()
    await until(one.has(VNI, {1: "one"}))


async def test_reconnects_are_bounded(world: RedisWorld) -> None:
    one = await world.member("one", VNI)
    await until(lambda: one.store.status().state == "up")
    loop = asyncio.get_running_loop()
    tries: list[float] = []
    opening = Session.open

    async def counted(*args: object) -> object:
        tries.append(loop.time())
        return await opening(*args)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Session, "open", counted)
        world.server.kill()
        await until(lambda: len(tries) >= 8)
    gaps = [later - earlier for earlier, later in pairwise(tries)]
    assert min(gaps) >= 0.19


async def test_a_caller_that_gives_up_does_not_break_the_connection(world: RedisWorld) -> None:
    one, two = await pair(world)
    connects = one.store.counts.connects
    for _ in range(20):
        calling = asyncio.create_task(one.store.claim([LocalMac(VNI, mac(3), "frame")]))
        await asyncio.sleep(0)
        calling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await calling
    await until(two.has(VNI, {**WHOLE, 3: "one"}))
    assert one.store.counts.connects == connects


async def test_a_slow_reader_is_trimmed_and_resyncs(world: RedisWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = await pair(world)
    await until(lambda: two.store.status().state == "up")
    gate = asyncio.Event()
    emit = two.store._state.emit  # type: ignore[attr-defined]

    async def slow(event: object) -> None:
        await gate.wait()
        await emit(event)

    monkeypatch.setattr(two.store._state, "emit", slow)  # type: ignore[attr-defined]
    for turn in range(60):
        macs = [LocalMac(VNI, mac(3 + n), "frame", (f"10.0.{turn}.{n + 1}",)) for n in range(10)]
        assert all(result.refused is None for result in await one.store.claim(macs))
    world.server.admin.xtrim(world.key(VNI, "log"), maxlen=5, approximate=False)
    gate.set()
    await until(lambda: two.table(VNI).rows == one.table(VNI).rows and len(two.table(VNI).rows) == 12)
    assert two.store.counts.resyncs["gap"] + two.store.counts.resyncs["trimmed"] >= 1
    assert two.table(VNI).removed == []


async def test_a_stale_replica_promoted_is_noticed_and_nothing_goes(world: RedisWorld) -> None:
    """The tail of acknowledged writes is lost: the old state comes back under the same gen."""
    one, two = await pair(world)
    admin = world.server.admin
    keys = [world.key(VNI, name) for name in ("meta", "fdb", "log", "members")]
    old = {key: admin.execute_command("DUMP", key, NEVER_DECODE=True) for key in keys}
    await one.attach(VNI, 3)
    for node in (one, two):
        await until(node.has(VNI, {**WHOLE, 3: "one"}))
    pipe = admin.pipeline(transaction=True)
    for key in keys:
        pipe.restore(key, 0, old[key], replace=True)
    pipe.execute()
    await until(lambda: one.store.counts.resyncs["rev"] + one.store.counts.resyncs["digest"] >= 1)
    await whole_again(one, two)


async def test_another_history_of_the_same_length_is_noticed(world: RedisWorld) -> None:
    one, two = await pair(world)
    admin = world.server.admin
    admin.hset(world.key(VNI, "meta"), "digest", "0123456789abcdef")
    await until(lambda: one.store.counts.resyncs["digest"] + one.store.counts.resyncs["poison"] >= 1)
    await whole_again(one, two)
    await until(lambda: int(admin.hget(world.key(VNI, "meta"), "digest"), 16) == digest_of(one))


def digest_of(node: Node) -> int:
    """The digest that a node's store has computed from its memory."""
    return int(node.store._state.mirrors[VNI].digest)  # type: ignore[attr-defined]


async def test_memory_and_store_have_the_same_digest_after_many_changes(world: RedisWorld) -> None:
    one, two = await pair(world)
    for turn in range(50):
        await (one, two)[turn % 2].attach(VNI, 3 + turn % 5, "attach", (f"10.0.0.{turn + 1}",))
        if turn % 3 == 0:
            await two.detach(VNI, 3 + turn % 5)
    await two.store.leave(VNI)
    await until(lambda: set(one.table(VNI).members) == {"one"})
    meta = world.server.admin.hgetall(world.key(VNI, "meta"))
    mirror = one.store._state.mirrors[VNI]  # type: ignore[attr-defined]
    await until(lambda: mirror.rev == int(meta["rev"]))
    assert f"{digest_of(one):016x}" == meta["digest"]
    assert one.store.counts.resyncs == {"start": 1}
