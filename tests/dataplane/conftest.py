"""Fixtures: a fabric that is taken down again, and the smallest network worth testing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

from tests.dataplane.fabric import CablePort, Fabric, Host
from tests.dataplane.frames import mac
from tests.kernel.namespaces import namespace, pair

__all__ = ["duo", "fabric", "namespace", "pair"]

VNI = 7

settings.register_profile("dataplane", deadline=None)  # a busy machine is no failure
settings.load_profile("dataplane")


class Duo:
    """Hosts ``a`` and ``b`` with network 7 and one port each, to which MAC 1 and MAC 2 are given."""

    def __init__(self, fabric: Fabric) -> None:
        self.fabric = fabric
        self.a, self.b = fabric.host(), fabric.host()
        self.pa, self.pb = self.join(self.a, 1), self.join(self.b, 2)
        fabric.mesh(VNI, self.a, self.b)

    def join(self, host: Host, n: int, **policy: Any) -> CablePort:
        """``host`` joins network 7 and gets a port with MAC ``n``."""
        host.network(VNI, **policy)
        return host.port(VNI, mac(n))

    @property
    def ta(self) -> Any:
        """The table at ``a``."""
        return self.a.fdb.tables[VNI]

    @property
    def tb(self) -> Any:
        """The table at ``b``."""
        return self.b.fdb.tables[VNI]


@pytest.fixture
def fabric() -> Iterator[Fabric]:
    """An empty fabric; the law is checked at its end, whatever the test did with it."""
    with Fabric() as made:
        yield made
        made.check_law()


@pytest.fixture
def duo(fabric: Fabric) -> Duo:
    """See ``Duo``."""
    return Duo(fabric)
