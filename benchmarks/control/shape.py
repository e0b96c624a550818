"""Which node is in which networks, with how many MACs: every network has as many members and rows as the next."""

from __future__ import annotations

from dataclasses import dataclass

from vxswitch.model import NodeRecord, Vtep
from vxswitch.store.base import LocalMac
from vxswitch.store.rules import FIRST_VNI

CLUSTER = "scale"


@dataclass(frozen=True, slots=True)
class Shape:
    """``each``: networks that a node is in. ``macs``: of the whole cluster."""

    nodes: int
    networks: int
    each: int
    macs: int

    @property
    def macs_there(self) -> int:
        """MACs of a node in one of its networks."""
        return self.macs // (self.nodes * self.each)

    @property
    def rows(self) -> int:
        """Rows of the whole cluster, without what does not divide."""
        return self.macs_there * self.nodes * self.each

    def vnis(self, node: int) -> list[int]:
        """The networks of a node."""
        return [FIRST_VNI + (node * self.each + at) % self.networks for at in range(self.each)]

    def record(self, node: int) -> NodeRecord:
        """Who a node is."""
        return NodeRecord(f"n{node}", f"uid-{node}", 1, (Vtep(f"10.{node >> 16}.{node >> 8 & 255}.{node & 255}"),))

    def local_macs(self, node: int, vni: int) -> list[LocalMac]:
        """What a node has in a network; each MAC with one address, as a container has it."""
        at = vni - FIRST_VNI
        return [
            LocalMac(vni, bytes((2, at >> 8 & 255, at & 255, node >> 8, node & 255, n)), "attach", (self._ip(node, n),))
            for n in range(self.macs_there)
        ]

    def expected(self, node: int, up_to: int) -> int:
        """Rows in the networks of a node while nodes 0 to ``up_to`` - 1 are there."""
        mine = set(self.vnis(node))
        return sum(len(mine.intersection(self.vnis(other))) for other in range(up_to)) * self.macs_there

    @staticmethod
    def _ip(node: int, number: int) -> str:
        return f"172.{16 + (node >> 12 & 15)}.{node >> 4 & 255}.{(node & 15) << 4 | (number & 15)}"
