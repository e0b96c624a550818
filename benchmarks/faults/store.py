"""What can go wrong with a Redis or Valkey server, to strike and to heal; `vxswitch status` must name the reason."""

from __future__ import annotations

import shutil
import time

from benchmarks.faults import poison
from benchmarks.faults.fault import Act, Fault, Sight
from benchmarks.faults.world import World, store_of
from vxswitch.lab import StoreServer
from vxswitch.lab.store import PORT

PAUSE = 4.0  # seconds of CLIENT PAUSE: longer than a heartbeat and the time that a command may take
FILLER = 12_000  # keys of somebody else that make the server's start long
LOAD_DELAY = 100  # microseconds a key, on top: a server that is busy loading for a good second


def store_is(state: str, reason: str = "") -> Sight:
    """`vxswitch status` of every node says this of the store, with these words in its reason."""

    def seen(world: World) -> str | None:
        stores = [store_of(switch) for switch in world.switches]
        if any(store["state"] != state or reason not in str(store["reason"]) for store in stores):
            return None
        return f"{state}: {stores[0]['reason']}"

    return seen


def _config(key: str, bad: str, good: str) -> tuple[Act, Act]:
    """CONFIG SET KEY to something that breaks things, and back."""
    return (lambda world: _set(world.store, key, bad)), (lambda world: _set(world.store, key, good))


def _set(store: StoreServer, key: str, value: str) -> None:
    store.admin.config_set(key, value)


def _back_empty(world: World) -> None:
    shutil.rmtree(world.store.directory / "appendonlydir")
    world.store.start()


def _drop(world: World) -> None:
    """What goes to the server and what comes from it vanishes without a word."""
    for chain, side in (("INPUT", "--dport"), ("OUTPUT", "--sport")):
        world.lab.net.run(["iptables", "-w", "-A", chain, "-p", "tcp", side, str(PORT), "-j", "DROP"])


def _drop_no_more(world: World) -> None:
    for chain in ("INPUT", "OUTPUT"):
        world.lab.net.run(["iptables", "-w", "-F", chain])


def _pause(world: World) -> None:
    world.store.admin.execute_command("CLIENT", "PAUSE", int(PAUSE * 1000), "ALL")


def _pause_is_over(world: World) -> None:
    world.store.admin.ping()  # it is held back like everybody's


def _replicate(world: World) -> None:
    """Becoming a replica of an empty server also replaces all data."""
    world.store.admin.replicaof(world.another.address, PORT)


def _replicate_no_more(world: World) -> None:
    world.store.admin.replicaof("NO", "ONE")


def _revoke(world: World) -> None:
    world.store.admin.execute_command("ACL", "SETUSER", "default", "-zadd")


def _grant(world: World) -> None:
    world.store.admin.execute_command("ACL", "SETUSER", "default", "+zadd")


def _break_saving(world: World) -> None:
    """A directory stands where the dump belongs: the background save fails, and the server takes no writes."""
    dump = world.store.directory / "dump.rdb"
    dump.unlink(missing_ok=True)
    (dump / "in the way").mkdir(parents=True)
    _set(world.store, "save", "3600 1")
    world.store.admin.bgsave()


def _mend_saving(world: World) -> None:
    shutil.rmtree(world.store.directory / "dump.rdb")
    _set(world.store, "save", "")
    world.store.admin.bgsave()


def _load_slowly(world: World) -> None:
    """Killed, and back with so much to read that it says LOADING for seconds."""
    pipe = world.store.admin.pipeline(transaction=False)
    for number in range(FILLER):
        pipe.set(f"filler:{number}", number)
    pipe.execute()
    world.store.kill()
    world.store.launch("--key-load-delay", str(LOAD_DELAY))


def _loaded(world: World) -> None:
    world.store.wait()
    world.store.admin.unlink(*(f"filler:{number}" for number in range(FILLER)))


def _flush(world: World) -> None:
    world.store.admin.flushall()


def _poison(world: World) -> None:
    poison.everything(world.store.admin)
    time.sleep(1.0)  # as long as it takes nodes to come across it


def _evict(world: World) -> None:
    _set(world.store, "maxmemory", "1gb")
    _set(world.store, "maxmemory-policy", "allkeys-lru")


def _evict_no_more(world: World) -> None:
    _set(world.store, "maxmemory", "0")
    _set(world.store, "maxmemory-policy", "noeviction")


def _killed(world: World) -> None:
    world.store.kill()


def _start(world: World) -> None:
    world.store.start()


def _stop(world: World) -> None:
    world.store.pause()


def _go_on(world: World) -> None:
    world.store.resume()


_NO_ANSWER = store_is("down", "no answer in time")

FAULTS = (
    Fault("killed", "SIGKILL, restarted with its data", _killed, _start, store_is("down")),
    Fault("killed_empty", "SIGKILL, restarted empty", _killed, _back_empty, store_is("down")),
    Fault("hung", "hung (SIGSTOP), then SIGCONT", _stop, _go_on, _NO_ANSWER),
    Fault("black_hole", "black hole (iptables DROP, no RST)", _drop, _drop_no_more, _NO_ANSWER),
    Fault("paused", "CLIENT PAUSE ALL", _pause, _pause_is_over, _NO_ANSWER),
    Fault("flushed", "FLUSHALL", _flush),
    Fault("oom", "maxmemory 1, noeviction", *_config("maxmemory", "1", "0"), store_is("degraded", "OOM")),
    Fault(
        "readonly",
        "REPLICAOF another, empty server, and back",
        _replicate,
        _replicate_no_more,
        store_is("degraded", "READONLY"),
    ),
    Fault("noperm", "a right revoked (ACL)", _revoke, _grant, store_is("degraded", "NOPERM")),
    Fault(
        "noreplicas",
        "min-replicas-to-write 1",
        *_config("min-replicas-to-write", "1", "0"),
        store_is("degraded", "NOREPLICAS"),
    ),
    Fault("misconf", "background save fails", _break_saving, _mend_saving, store_is("degraded", "MISCONF")),
    Fault("loading", "SIGKILL, long loading of its data", _load_slowly, _loaded, store_is("degraded", "LOADING")),
    Fault("poisoned", "bad values and wrong types in every key, 10 MB in some", _poison, blows=2),
    Fault(
        "evicting",
        "maxmemory with an eviction policy",
        _evict,
        _evict_no_more,
        store_is("degraded", "maxmemory-policy"),
        within=15.0,  # it is looked at every ten heartbeats, of one second each here
    ),
)
