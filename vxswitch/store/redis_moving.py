"""What still works while a slot of a Redis Cluster is on its way from one server to another.

Of the keys some are here and some there, and a script runs only where all keys are that it names, those included that
need not exist: so no claim, join or heartbeat can be carried out until the slot has arrived (TRYAGAIN, ASK). What has
one key alone always has a place: the old owner if the key is still there, else the new one, which the old one names
(ASK) and which serves a slot that is not its own yet for one command after ASKING (Redis Cluster specification, "ASK
redirection"). The leases of a bucket are one key. So a node keeps its lease and knows who lives, however long it takes;
claims wait with their ports, and tables do not change meanwhile.
"""

from __future__ import annotations

from typing import Any

from vxswitch.store.redis_connect import Link, ServerRefusedError
from vxswitch.store.redis_place import at_address
from vxswitch.store.redis_scripts import KEEP, Run, run_all
from vxswitch.store.redis_state import State
from vxswitch.store.rules import Rules

REASON = "the slot of its keys is on its way to another server: claims wait"


async def keep_lease(link: Link, state: State, names: list[str]) -> Any:
    """Renew our lease by its key alone, wherever that is; the answer of keep.lua.

    ServerRefusedError, or LinkDownError (also of the new owner).
    """
    words = [*state.caller(), int(state.rules.lease * 1000), len(names), *names]
    run = Run(KEEP, [state.keys.lease, state.keys.lease], words)
    answer = (await run_all(link, [run], pauses=()))[0]
    if isinstance(answer, ServerRefusedError) and answer.ask is not None:
        answer = await run_there(link, state.rules, run, answer.ask)
    if isinstance(answer, ServerRefusedError):
        raise answer
    return answer


async def run_there(link: Link, rules: Rules, run: Run, address: tuple[str, int]) -> Any:
    """Run a script on the server that ASK named; its answer, or ServerRefusedError. LinkDownError."""
    host, port = address
    there = await Link.open(at_address(link.endpoint, host or link.endpoint.host, port), rules)
    try:
        return (await there.pipeline([("SCRIPT", "LOAD", run.script.source), ("ASKING",), run.words()]))[-1]
    finally:
        await there.close()
