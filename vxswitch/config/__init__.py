"""Everything that the user may choose: parsed and validated at the door.

    gather (layers)  file < environment < command line < --set, as ``Given`` values that know where they came from
    build (convert)  one section at a time, each value by its type or its ``Rule``; complaints name key, value, allowed
    check (loading)  keys against each other; derived defaults
    Config           one frozen value for the whole switch; ``effective()`` shows it, ``reload`` reads it again

A wrong configuration is one UsageError before anything has been touched. Needs no privilege and no network.
"""

from vxswitch.config.layers import CommandLine
from vxswitch.config.loading import Config, load, reload, reloadable
from vxswitch.config.sections import (
    Crypto,
    Fdb,
    Limits,
    Log,
    Mcast,
    Metrics,
    Network,
    Networks,
    Node,
    Store,
    Timers,
    Underlay,
)

__all__ = [
    "CommandLine",
    "Config",
    "Crypto",
    "Fdb",
    "Limits",
    "Log",
    "Mcast",
    "Metrics",
    "Network",
    "Networks",
    "Node",
    "Store",
    "Timers",
    "Underlay",
    "load",
    "reload",
    "reloadable",
]
