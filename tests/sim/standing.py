"""What stood and must not fall: every change of a row or of a flood list is looked at, with what has happened in mind.

Fail static: what was right in a table becomes wrong only by something that happened to its host, its place or the way
to it, never by what happens to the store. The tables say of each change that there was one (``fdb.Watcher``, as they
do to worker processes); at the next callback, before which no frame can have seen less than the whole change, it is
compared with the world.

Between changes (``look``): nobody floods to a host that has been silent for so long that its lease must have been
missed, and no store tells a switch that a newer start of itself exists while there is none.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.sim import calm
from tests.sim.node import Container, Host, Process
from tests.sim.rules import BOUND, NOTICED, RECONNECT, RULES, UNDER_WAY
from vxswitch.fdb import Peer, Table

if TYPE_CHECKING:
    from tests.sim.world import World

Mac = tuple[int, bytes]  # VNI, MAC


class Watching:
    """``fdb.Watcher`` of one process."""

    def __init__(self, standing: Standing, process: Process) -> None:
        self._standing = standing
        self._process = process

    def network(self, table: Table) -> None:
        self._standing.touched(self._process, table, None)

    def row(self, table: Table, mac: bytes) -> None:
        self._standing.touched(self._process, table, mac)

    def groups(self, table: Table, group: bytes) -> None:
        """Looked at when frames to groups are sent."""

    def gone(self, table: Table) -> None:
        self._standing.forget_table(self._process, table)


class Standing:
    """See the head of this file. ``say`` hears what is wrong."""

    def __init__(self, world: World, say: Callable[[str], None]) -> None:
        self._world = world
        self._say = say
        self._context = contextvars.copy_context()  # of no process: what is looked at is never paused
        self._touched: dict[tuple[Process, Table, bytes | None], None] = {}
        self._right: dict[Mac, set[Process]] = {}  # whose rows of a MAC are right
        self._floods: dict[tuple[Process, int], dict[str, str | None]] = {}  # addresses, and whom they stand for

    def watch(self, process: Process) -> None:
        """Hear of all changes in the tables of a new process."""
        process.switch.fdb.watcher = Watching(self, process)

    def touched(self, process: Process, table: Table, mac: bytes | None) -> None:
        """A row has changed; None: the peers may have."""
        if not self._touched:
            self._world.loop.call_soon(self._compare, context=self._context)
        self._touched[process, table, mac] = None

    def moved(self, *containers: Container) -> None:
        """They are elsewhere: look anew whose rows are right."""
        for target in containers:
            right = self._right[target.vni, target.mac] = set()
            for process in self._world.processes:
                table = process.switch.fdb.tables.get(target.vni)
                if table is not None and self.is_right(process, table, target):
                    right.add(process)

    def forget_table(self, process: Process, table: Table) -> None:
        """A network was left."""
        self._floods.pop((process, table.vni), None)
        for (vni, _), right in self._right.items():
            if vni == table.vni:
                right.discard(process)

    def _compare(self) -> None:
        touched, self._touched = self._touched, {}
        for process, table, mac in touched:
            if process.owner.dead or process.switch.fdb.tables.get(table.vni) is not table:
                continue
            if mac is None:
                self._compare_flood(process, table)
            else:
                self._compare_row(process, table, mac)

    # -- rows ------------------------------------------------------------------------------------------------------

    def _compare_row(self, process: Process, table: Table, mac: bytes) -> None:
        target = self._world.by_mac[table.vni, mac]
        right = self._right.setdefault((table.vni, mac), set())
        if target.host is None or self.is_right(process, table, target):
            right.add(process)
        elif process in right:
            right.remove(process)
            quiet = self._world.calm.since(self._things(process, target)) + UNDER_WAY
            if quiet < self._world.loop.now and self.is_at_home(target):
                row = table.rows.get(mac)
                self._say(f"working entry lost: {target} at {process.host.name}, now {row.hop if row else None}")

    def _things(self, process: Process, target: Container) -> list[calm.Thing]:
        """What a row may be lost by. A node that is cut from the store for long cannot be told from a dead one."""
        world, at = self._world, str(target.host)
        things = [calm.host(name) for name in world.visited[target.vni, target.mac]]
        things += [calm.host(process.host.name), calm.place(target.vni, target.mac), calm.long_cut(at)]
        return [*things, calm.place(target.vni, world.door_of(target).mac), calm.link(process.host.name, at)]

    def is_at_home(self, target: Container) -> bool:
        """Its own switch knows it, too: one that has just started does not know guests that have not spoken yet."""
        process = self._world.process_of(target)
        table = process.switch.fdb.tables.get(target.vni) if process is not None else None
        return process is not None and table is not None and self.is_right(process, table, target)

    def is_right(self, process: Process, table: Table, container: Container) -> bool:
        """Whether a switch would send to where the container is."""
        row = table.rows.get(container.mac)
        if row is None or row.hop is None or container.host is None:
            return False
        if container.host == process.host.name:
            port = process.port_of(self._world.door_of(container))
            return port is not None and row.hop is port and port.is_there()
        return isinstance(row.hop, Peer) and row.hop.vtep.address == self._world.hosts[container.host].address

    # -- peers -----------------------------------------------------------------------------------------------------

    def _compare_flood(self, process: Process, table: Table) -> None:
        flood = {peer.vtep.address: peer.node for peer in table.flood}
        before = self._floods.get((process, table.vni), {})
        self._floods[process, table.vni] = flood
        for address in before.keys() - flood.keys():
            host = self._world.host_at(address)
            if host is not None and self._is_calm(process.host, host, refused=before[address] != host.name):
                self._say(f"{process.host.name}: floods VNI {table.vni} no more to {host.name}, which lives")

    def _is_calm(self, one: Host, other: Host, *, refused: bool) -> bool:
        """Both live, and reach a store that answers or does not.

        ``refused``: the address stood for the one that the other replaces. Who is there now gets it when the former one
        is dead by its lease, and who could not renew its own believes no lease for a whole one (``OwnLease.trusted``).
        """
        since, now = self._world.calm.since, self._world.loop.now
        reachable = since((calm.to_store(one.name), calm.to_store(other.name)))
        patience = RECONNECT + (RULES.lease + RULES.beat if refused else 0.0)
        return since((calm.host(one.name), calm.host(other.name))) + BOUND < now and reachable + patience < now

    # -- now and then ----------------------------------------------------------------------------------------------

    def look(self) -> None:
        """What must not be so for long."""
        silent = [host for host in self._world.hosts.values() if self._is_silent(host)]
        for process in self._world.processes:
            if silent and not process.owner.paused:
                self._look_for(process, silent)
            reason = process.store.status().reason
            if reason is not None and "fenced" in reason:
                self._say(f"{process.host.name}: {reason}, and there is none")

    def _is_silent(self, host: Host) -> bool:
        stopped = host.process is None or host.process.owner.paused
        return stopped and self._world.calm.last(calm.host(host.name)) + NOTICED < self._world.loop.now

    def _look_for(self, process: Process, silent: list[Host]) -> None:
        name = process.host.name
        things = calm.STORE, calm.host(name), calm.to_store(name), calm.clock(name)
        if self._world.calm.since(things) + BOUND > self._world.loop.now:
            return
        dead = {host.address: host.name for host in silent if self._world.host_at(host.address) in (None, host)}
        for table in process.switch.fdb.tables.values():
            for peer in table.flood:
                if peer.vtep.address in dead:
                    self._say(
                        f"{process.host.name}: floods VNI {table.vni} to {dead[peer.vtep.address]}, dead long since"
                    )
