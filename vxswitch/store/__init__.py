"""WHO HAS WHICH MAC. The contract is in ``base``; ``open_store`` gives a store by its URL.

Shared by all stores: ``codec`` (the text of rows), ``mirror`` (a VNI in memory), ``lease``, ``rules``, ``addresses``.
``static`` is the absence of a store, ``memory*`` one for tests and simulation, ``redis*`` with ``lua/`` the real one,
``embedded`` the real one with a server of its own, ``cluster*`` many of them, one per bucket of VNIs. Only ``redis*``
import the Redis client.
"""

from vxswitch.store.open import open_store
from vxswitch.store.redis_connect import TlsSettings

__all__ = ["TlsSettings", "open_store"]
