"""Deleting what the dead left behind: rows and memberships of nodes whose lease has been out for the grace period.

The server judges (by its clock, in the script), and deletes nothing of a node that somebody hears; this file only
decides whom to ask about: nodes that own rows or are members here, have had no lease for that long by our own clock
and are not heard by us. A little randomness keeps all nodes from asking in
the same instant: the first one deletes, the others read it in the log. An earlier start of this node may have left
memberships behind, too: those that this start has not taken up in the grace period are left.
"""

from __future__ import annotations

import random

from vxswitch.store.redis_connect import Link
from vxswitch.store.redis_members import joined, leave, reap
from vxswitch.store.redis_state import State


class Reaper:
    """See the head of this file."""

    def __init__(self, state: State, link: Link) -> None:
        self._state = state
        self._link = link
        self._due: dict[str, float] = {}
        self._tidied = False

    async def reap(self, now: float) -> None:
        """Once per heartbeat: note who is absent, and ask about those who have been for long enough."""
        state, rules = self._state, self._state.rules
        absent = {name for name in state.absent(now) if not state.heard(name)}
        self._due = {name: due for name, due in self._due.items() if name in absent}
        for name in absent - self._due.keys():
            self._due[name] = now + rules.grace + random.uniform(0, 2 * rules.beat)
        if not state.lease.may_reap(now):
            return
        await self._tidy()
        for name in [name for name, due in self._due.items() if due <= now]:
            del self._due[name]
            for mirror in list(state.mirrors.values()):
                if name in mirror.members or any(row.node == name for row in mirror.rows.values()):
                    await reap(self._link, state, mirror.vni, name)

    async def _tidy(self) -> None:
        """Once: leave what an earlier start of this node had joined and this one has not."""
        if self._tidied:
            return
        self._tidied = True
        for vni in await joined(self._link, self._state) - self._state.mirrors.keys():
            await leave(self._link, self._state, vni)
