"""What the other nodes of one network listen to, by their own word in the store.

A node that knows its groups always tells ``TELLS`` among them, the group of all hosts, which every station that takes
part in multicast is a member of for good (RFC 1112 section 4). So a node that has told nothing is not one that wants
nothing: it is of an older version, or does not snoop, or was not heard yet, and gets everything.

Words that are no addresses of groups are ignored: a store may hold anything. It bounds them to 1024 of each node.
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Iterable, Mapping

from vxswitch.wire.multicast import ANY, stays_on_link

TELLS = "224.0.0.1"


class Elsewhere:
    """Nodes by group, and groups by node. ``0.0.0.0`` and ``::`` are groups like any: of those who want all."""

    def __init__(self) -> None:
        self.groups: dict[bytes, frozenset[str]] = {}
        self.tellers: frozenset[str] = frozenset()
        self._told: dict[str, frozenset[bytes]] = {}

    def listeners(self, group: bytes) -> frozenset[str]:
        """The nodes that have told of this group."""
        return self.groups.get(group, frozenset())

    def tell(self, node: str, texts: Iterable[str]) -> set[bytes]:
        """All that a node listens to now; the groups for which that is a change."""
        texts = frozenset(texts)
        before, now = self._told.get(node, frozenset()), _parse(texts)
        self._told[node] = now
        self.tellers = self.tellers | {node} if TELLS in texts else self.tellers - {node}
        for group in now - before:
            self.groups[group] = self.listeners(group) | {node}
        for group in before - now:
            self.groups[group] -= {node}
            if not self.groups[group]:
                del self.groups[group]
        if not texts:
            del self._told[node]
        return set(now ^ before)

    def tell_all(self, told: Mapping[str, Iterable[str]]) -> set[bytes]:
        """All that any node listens to now; the groups for which that is a change."""
        changed: set[bytes] = set()
        for node in [node for node in self._told if node not in told]:
            changed |= self.tell(node, ())
        for node, texts in told.items():
            changed |= self.tell(node, texts)
        return changed


def _parse(texts: Iterable[str]) -> frozenset[bytes]:
    found = set()
    for text in texts:
        with contextlib.suppress(ValueError):
            address = ipaddress.ip_address(text).packed
            if address in ANY.values() or not stays_on_link(address):
                found.add(address)
    return frozenset(found)
