"""One network of this node: its settings, its state, and its table while it forwards."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from vxswitch import config
from vxswitch.fdb import Table

NetworkState = Literal["up", "pending", "conflict"]


class Network:
    """``settings``: as asked for here, overridden by the store's record where the cluster has to agree."""

    def __init__(self, settings: config.Network, *, configured: bool) -> None:
        self.settings = settings
        self.configured = configured  # by the file or the command line of ``run``, not by a later command
        self.state: NetworkState = "pending"
        self.reason: str | None = None
        self.remembered: int | None = None  # its VNI in an earlier life of this node
        self.table: Table | None = None
        self.settled = asyncio.Event()  # the store's record was read and this node is a member (or there is no store)

    @property
    def name(self) -> str:
        """Unique in the cluster."""
        return self.settings.name

    @property
    def vni(self) -> int | None:
        """None as long as only the store could tell."""
        return self.table.vni if self.table is not None else self.settings.vni

    @property
    def was_there(self) -> bool:
        """This node has had it with this VNI: a store that does not know it has lost it, or was away since."""
        return self.settled.is_set() or (self.settings.vni is not None and self.settings.vni == self.remembered)

    def view(self) -> dict[str, Any]:
        """As ``networks`` in ``vxswitch status``, and a little more."""
        return {
            "name": self.name,
            "vni": self.vni,
            "mtu": self.table.mtu if self.table is not None else self.settings.mtu,
            "learning": self.settings.learning,
            "state": self.state,
            "reason": self.reason,
            "subnets": list(self.settings.subnets),
            "unknown": self.settings.unknown,
            "antispoof": self.settings.antispoof,
            "vlan": self.settings.vlan,
            "snooping": self.table is not None and self.table.groups is not None,
            "suppress": self.settings.suppress,
            "settled": self.settled.is_set(),
        }
