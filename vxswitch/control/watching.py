"""What changes without anybody being told: the state of the store and of the ports, looked at again and again.

The store's state changes inside the store, a port's inside the data plane (its TAP was set down). Both are looked at
four times a second, and a difference from what was told last is told as an event. A port that comes or goes is told by
``ports``, which knows why; a new one counts as down until its link is found to be up.
"""

from __future__ import annotations

from vxswitch.control.events import Tell
from vxswitch.control.ports import Ports
from vxswitch.store.base import Store


class StateWatch:
    """Call ``look`` every quarter of a second."""

    def __init__(self, store: Store, ports: Ports, tell: Tell) -> None:
        self._store = store
        self._ports = ports
        self._tell = tell
        self._seen_store: tuple[str, str | None] | None = None

    def look(self) -> None:
        """Tell what is different from last time."""
        self._look_at_store()
        self._look_at_ports()

    def _look_at_store(self) -> None:
        status = self._store.status()
        seen, self._seen_store = self._seen_store, (status.state, status.reason)
        if seen not in (None, self._seen_store):
            self._tell(f"store.{status.state}", url=status.url, reason=status.reason)

    def _look_at_ports(self) -> None:
        for entry in self._ports.entries.values():
            state = entry.port.state if entry.port is not None else "gone"
            if state not in ("gone", entry.told):
                entry.told = state
                record = entry.record
                self._tell(f"port.{state}", port=record.id, network=record.network, mac=record.mac)
