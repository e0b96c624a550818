"""Networks and addresses of MemoryHub: the rules of network_*.lua and ip_*.lua over dicts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from vxswitch.errors import ConflictError, NotFoundError
from vxswitch.model import VNI_MAX, NetworkRecord
from vxswitch.store.addresses import HostRange
from vxswitch.store.networks import same_or_conflict, vni_in_use
from vxswitch.store.rules import FIRST_VNI, Rules


@dataclass(slots=True)
class _Pool:
    """Addresses of one VNI, by hex key."""

    taken: dict[str, tuple[str, str]] = field(default_factory=dict)  # key -> (node, owner)
    resting: dict[str, tuple[float, str]] = field(default_factory=dict)  # key -> (until, last owner)
    had: dict[str, list[tuple[str, str]]] = field(default_factory=dict)  # owner -> [(subnet, key)]


class MemoryRecords:
    """See the head of this file. Liveness and the clock are handed in with each call."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._next_vni = FIRST_VNI
        self._pools: dict[int, _Pool] = {}
        self.networks: dict[str, NetworkRecord] = {}
        self.closed_until = 0.0  # by the hub's clock: after a loss of data, until then no new network is made

    def create(self, record: NetworkRecord) -> NetworkRecord:
        """A new network, or the equal one that exists; ConflictError."""
        if existing := self.networks.get(record.name):
            return same_or_conflict(existing, record)
        used = {network.vni: network.name for network in self.networks.values()}
        if record.vni in used:
            raise vni_in_use(record, used[record.vni])
        if record.vni == 0:
            record = replace(record, vni=self._allocate_vni(used))
        self.networks[record.name] = record
        return record

    def remove(self, name: str) -> NetworkRecord:
        """The record that is gone now; NotFoundError."""
        if name not in self.networks:
            raise NotFoundError(f"network {name}: there is none of this name")
        record = self.networks.pop(name)
        self._pools.pop(record.vni, None)
        return record

    def allocate(
        self, vni: int, hosts: HostRange, owner: str, node: str, now: float, dead: Callable[[str], bool]
    ) -> str:
        """The key of the lowest free address; ``dead(node)``: its lease has been out for the grace period."""
        pool = self._pools.setdefault(vni, _Pool())
        for subnet, key in pool.had.get(owner, ()):
            if subnet == hosts.subnet and pool.taken.get(key, ("", owner))[1] == owner:
                return self._take(pool, subnet, key, owner, node)
        keys = [f"{hosts.prefix}{n:08x}" for n in range(hosts.first, self._reach(pool, hosts))]
        for key in keys:
            rests = now < pool.resting.get(key, (0.0, ""))[0] <= now + self._rules.quarantine
            if key not in pool.taken and not rests:
                return self._take(pool, hosts.subnet, key, owner, node)
        for key in keys:
            if key in pool.taken and dead(pool.taken[key][0]):
                return self._take(pool, hosts.subnet, key, owner, node)
        raise ConflictError(f"subnet {hosts.subnet} of VNI {vni}: no free address")

    def reserve(
        self, vni: int, subnet: str, key: str, owner: str, node: str, lives: Callable[[str], bool]
    ) -> str | None:
        """Take an address by name; the other owner if that one is live."""
        pool = self._pools.setdefault(vni, _Pool())
        holder_node, holder = pool.taken.get(key, ("", owner))
        if holder != owner and lives(holder_node):
            return f"{holder} on {holder_node}"
        self._take(pool, subnet, key, owner, node)
        return None

    def release(self, vni: int, owner: str, now: float) -> None:
        """All that an owner has goes into quarantine."""
        pool = self._pools.setdefault(vni, _Pool())
        for _, key in pool.had.get(owner, ()):
            if pool.taken.get(key, ("", ""))[1] == owner:
                del pool.taken[key]
                pool.resting[key] = (now + self._rules.quarantine, owner)

    def _allocate_vni(self, used: dict[int, str]) -> int:
        while self._next_vni in used:
            self._next_vni = self._next_vni + 1 if self._next_vni < VNI_MAX else FIRST_VNI
        vni = self._next_vni
        self._next_vni = vni + 1 if vni < VNI_MAX else FIRST_VNI
        return vni

    def _reach(self, pool: _Pool, hosts: HostRange) -> int:
        """One past the last host that needs a look: among more than are known, one is free."""
        return min(hosts.last, hosts.first + len(pool.taken) + len(pool.resting)) + 1

    def _take(self, pool: _Pool, subnet: str, key: str, owner: str, node: str) -> str:
        losers = {pool.taken.get(key, ("", owner))[1], pool.resting.pop(key, (0.0, owner))[1], owner}
        for loser in losers:
            pool.had[loser] = [pair for pair in pool.had.get(loser, []) if pair[1] != key]
        pool.had[owner].append((subnet, key))
        pool.taken[key] = (node, owner)
        return key
