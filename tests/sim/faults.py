"""What may happen to a simulated cluster: each kind of event as a coroutine that begins it, waits, and takes it back.

An event that does not fit the moment (a crash of a host that is down) does nothing.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

from tests.sim import calm
from tests.sim.node import Container, Host
from tests.sim.rules import RULES, UNDER_WAY
from tests.sim.schedule import kind
from tests.sim.world import World

LONGEST = 3.2  # seconds that a fault lasts: longer than the grace period of RULES
SOON = 0.15  # seconds until a container that was moved shows itself

# -- dice ----------------------------------------------------------------------------------------------------------


def _host(world: World, dice: random.Random) -> str:
    return dice.choice(list(world.hosts))


def _time(dice: random.Random) -> float:
    return round(dice.choice((0.05, 0.3, 1.0, 2.0, LONGEST)) * dice.uniform(0.5, 1.0), 3)


def _a_host(world: World, dice: random.Random) -> tuple[Any, ...]:
    return (_host(world, dice),)


def _host_and_time(world: World, dice: random.Random) -> tuple[Any, ...]:
    return _host(world, dice), _time(dice)


def _two_hosts_and_time(world: World, dice: random.Random) -> tuple[Any, ...]:
    one, other = dice.sample(list(world.hosts), 2)
    return one, other, _time(dice)


def _a_time(world: World, dice: random.Random) -> tuple[Any, ...]:
    return (_time(dice),)


def _nothing(world: World, dice: random.Random) -> tuple[Any, ...]:
    return ()


def _movable(world: World, dice: random.Random) -> str:
    names = [c.name for c in world.containers if not c.name.endswith("x") and not c.name.startswith("trunk")]
    return dice.choice(names)


def _move(world: World, dice: random.Random) -> tuple[Any, ...]:
    return _movable(world, dice), _host(world, dice), dice.random() < 0.5, dice.random() < 0.5


def _double(world: World, dice: random.Random) -> tuple[Any, ...]:
    names = [c.name for c in world.containers if c.name.endswith("x")]
    return dice.choice(names)[:-1], _host(world, dice), _time(dice)


# -- hosts ---------------------------------------------------------------------------------------------------------


@kind(4, _host_and_time)
async def crash(world: World, name: str, seconds: float) -> None:
    """SIGKILL; the same host starts again later."""
    if not world.hosts[name].up:
        return
    world.kill_host(name)
    world.calm.begin(calm.host(name))
    await asyncio.sleep(seconds)
    world.calm.end(calm.host(name))
    world.come_up(name)


@kind(1, _a_host)
async def die(world: World, name: str) -> None:
    """SIGKILL for ever."""
    if world.hosts[name].up:
        world.kill_host(name)
        world.calm.begin(calm.host(name))


@kind(3, _host_and_time)
async def restart(world: World, name: str, seconds: float) -> None:
    """SIGTERM, and a new start."""
    process = world.hosts[name].process
    if process is None or process.owner.paused:
        return
    world.calm.begin(calm.host(name))
    process.run(process.stop)
    await asyncio.sleep(1.0)
    world.kill_host(name)
    await asyncio.sleep(seconds)
    world.calm.end(calm.host(name))
    world.come_up(name)


@kind(4, _host_and_time)
async def pause(world: World, name: str, seconds: float) -> None:
    """SIGSTOP and SIGCONT: the process goes on with what it knew."""
    process = world.hosts[name].process
    if process is None or process.owner.paused:
        return
    world.calm.begin(calm.host(name))
    world.loop.pause(process.owner)
    await asyncio.sleep(seconds)
    world.loop.resume(process.owner)
    world.calm.end(calm.host(name))


@kind(1, _host_and_time)
async def clock_jump(world: World, name: str, seconds: float) -> None:
    """The host's monotonic clock leaps, as on a machine that was resumed."""
    world.hosts[name].clock_offset += seconds * 10
    world.calm.disturb(calm.clock(name))


@kind(2, _host_and_time)
async def rename(world: World, name: str, seconds: float) -> None:
    """SIGKILL, and a start under another name with the same state directory."""
    host = world.hosts[name]
    await _replace(world, host, Host(f"{name}r", host.address, host.clock_offset), host.disk, seconds)


@kind(2, _host_and_time)
async def replace(world: World, name: str, seconds: float) -> None:
    """SIGKILL, and another node at the same address: other name, other state directory, the same containers."""
    host = world.hosts[name]
    disk = type(host.disk)(f"{host.disk.uid}-next")
    await _replace(world, host, Host(f"{name}n", host.address, host.clock_offset), disk, seconds)


@kind(2, _host_and_time)
async def reinstall(world: World, name: str, seconds: float) -> None:
    """SIGKILL, and a start under the same name with an empty state directory: another node, as the rules have it."""
    process = world.hosts[name].process
    if process is None:
        return
    world.kill_host(name)
    world.calm.begin(calm.host(name))
    await asyncio.sleep(seconds)
    world.calm.end(calm.host(name))
    host = world.hosts[name]
    host.disk = type(host.disk)(f"{host.disk.uid}+")
    world.come_up(name)


@kind(2, _host_and_time)
async def readdress(world: World, name: str, seconds: float) -> None:
    """SIGKILL, and a start at another address."""
    host = world.hosts[name]
    if not host.up:
        return
    world.kill_host(name)
    world.calm.begin(calm.host(name))
    await asyncio.sleep(seconds)
    world.calm.end(calm.host(name))
    if not host.up:
        world.addresses += 1  # nobody else's
        host.address = f"198.51.100.{world.addresses}"
        world.come_up(name)


async def _replace(world: World, old: Host, new: Host, disk: Any, seconds: float) -> None:
    if not old.up or new.name in world.hosts:
        return
    world.kill_host(old.name)
    world.calm.begin(calm.host(old.name))
    await asyncio.sleep(seconds)
    if old.up:
        world.calm.end(calm.host(old.name))
        return
    new.disk = disk
    world.hosts[new.name] = new
    world.renamed[old.name] = new.name
    world.calm.disturb(calm.host(new.name))
    for container in world.containers:
        if container.host == old.name:
            container.host = new.name
            world.visited[container.vni, container.mac][new.name] = None
    world.start_host(new.name)


# -- the underlay --------------------------------------------------------------------------------------------------


@kind(2, _host_and_time)
async def partition(world: World, name: str, seconds: float) -> None:
    """A host is cut off from the others' underlay, not from the store."""
    address = world.hosts[name].address
    world.calm.begin(calm.host(name))
    world.underlay.cut(address)
    await asyncio.sleep(seconds)
    world.underlay.mend(address)
    world.calm.end(calm.host(name))


@kind(2, _two_hosts_and_time)
async def link_cut(world: World, one: str, other: str, seconds: float) -> None:
    """Two hosts do not hear each other."""
    ends = world.hosts[one].address, world.hosts[other].address
    world.calm.begin(calm.link(one, other))
    world.underlay.cut(*ends)
    await asyncio.sleep(seconds)
    world.underlay.mend(*ends)
    world.calm.end(calm.link(one, other))


@kind(1, _a_time)
async def loss(world: World, seconds: float) -> None:
    """A third of all datagrams are lost, and the others overtake each other."""
    world.underlay.loss, world.underlay.late = 0.3, 0.05
    await asyncio.sleep(seconds)
    world.underlay.loss, world.underlay.late = 0.0, 0.0


# -- the store -----------------------------------------------------------------------------------------------------


def _not_told(world: World, since: float) -> None:
    """What happened while the store did not hear of it, or just before, begins to happen now, as others see it."""
    things = [calm.place(container.vni, container.mac) for container in world.containers]
    things += [calm.host(name) for name in world.hosts]
    for thing in things:
        if world.calm.last(thing) >= since - UNDER_WAY:
            world.calm.disturb(thing)


@kind(4, _a_time)
async def store_down(world: World, seconds: float) -> None:
    """Killed and started again with its data."""
    if not world.server.up:
        return
    world.calm.begin(calm.STORE)
    world.server.stop()
    await asyncio.sleep(seconds)
    world.server.start()
    world.calm.end(calm.STORE)
    _not_told(world, world.loop.now - seconds)


@kind(4, _a_time)
async def store_hang(world: World, seconds: float) -> None:
    """SIGSTOP and SIGCONT of the server."""
    if world.server.hung:
        return
    world.calm.begin(calm.STORE)
    world.server.hang()
    await asyncio.sleep(seconds)
    world.server.go_on()
    world.calm.end(calm.STORE)
    _not_told(world, world.loop.now - seconds)


@kind(4, _nothing)
async def flush(world: World) -> None:
    """FLUSHALL."""
    world.server.flush()
    world.calm.disturb(calm.STORE)
    _not_told(world, world.loop.now)


@kind(4, _a_time)
async def failover(world: World, seconds: float) -> None:
    """A replica is promoted that has heard nothing for some time; what has moved since is lost with it."""
    saved, began = world.server.save(), world.loop.now
    await asyncio.sleep(seconds)
    world.server.failover(saved)
    world.calm.disturb(calm.STORE)
    _not_told(world, began)


@kind(2, _nothing)
async def trim(world: World) -> None:
    """The logs are shorter than somebody has read."""
    world.server.trim()


@kind(4, _host_and_time)
async def store_cut(world: World, name: str, seconds: float) -> None:
    """A host does not reach the store (a black hole, no reset)."""
    things: list[calm.Thing] = [calm.to_store(name)]
    if seconds > RULES.grace / 2:
        things.append(calm.long_cut(name))
    world.calm.begin(*things)
    world.server.cut[name] += 1
    await asyncio.sleep(seconds)
    world.server.cut[name] -= 1
    world.calm.end(*things)
    _not_told(world, world.loop.now - seconds)


@kind(1, _a_time)
async def store_clock_jump(world: World, seconds: float) -> None:
    """The server's clock leaps forward, over every lease."""
    world.calm.disturb(calm.STORE)
    world.server.offset += seconds * 10
    _not_told(world, world.loop.now)


# -- containers ----------------------------------------------------------------------------------------------------


@kind(8, _move)
async def move(world: World, name: str, to: str, tells: bool, orderly: bool) -> None:
    """A container appears on another host, with a gratuitous frame or without; its old port is removed, or vanishes."""
    container = world.container(name)
    old = world.process_of(container)
    if container.host in (None, to):
        return
    if orderly and old is not None and not container.guest and not old.owner.paused:
        await _detach(world, container)
    world.put(container, to)
    container.silent_until = world.loop.now + SOON
    await asyncio.sleep(SOON)
    if tells:
        world.announce(container)


async def _detach(world: World, container: Container) -> None:
    process = world.process_of(container)
    if process is not None:
        world.put(container, container.host)
        process.run(lambda: process.detach(container))
        await asyncio.sleep(0.01)


@kind(3, lambda world, dice: (_movable(world, dice), _time(dice)))
async def absent(world: World, name: str, seconds: float) -> None:
    """A container's port vanishes; the container comes back where it was."""
    container = world.container(name)
    host = container.host
    if host is None or container.guest:
        return
    world.put(container, None)
    await asyncio.sleep(seconds)
    if container.host is None:
        world.put(container, host)


@kind(2, _double)
async def double(world: World, name: str, at: str, seconds: float) -> None:
    """The same MAC a second time, elsewhere, for a while; both talk."""
    container, twin = world.container(name), world.container(f"{name}x")
    if twin.host is not None or container.host in (None, at):
        return
    place = calm.place(container.vni, container.mac)
    world.witness.doubled.add((container.vni, container.mac))
    world.calm.begin(place)
    world.put(twin, at)
    await asyncio.sleep(seconds)
    world.put(twin, None)
    world.calm.end(place)
