"""The timers of the simulation, and how long things may take by them.

All timers have the proportions of the real ones on a third of their time, but for the grace period, which would be
twenty seconds: it only has to be longer than everything that must not be taken for death. What a run costs is mostly
how many virtual seconds it has, so what may be short is.
"""

from __future__ import annotations

from vxswitch.control import announcer, networks
from vxswitch.store.rules import Rules

_SCALE = 1 / 3

RULES = Rules(
    lease=1.0,
    beat=0.33,
    grace=2.0,
    hold_down=0.33,
    freeze=3.0,
    connect_timeout=0.3,
    command_timeout=0.3,
    backoff_max=0.25,
)
RETRY = (announcer.RETRY[0] * _SCALE, announcer.RETRY[1] * _SCALE)  # seconds, the announcer's
COME_BACK = announcer.COME_BACK * _SCALE
SETTLE_RETRY = networks.RETRY * _SCALE

TICK = 0.2  # seconds between pings, between housekeepings, and until a runtime asks again for a port
BOOT = 1.0  # seconds until faults may begin

# Seconds within which all is as it should be again, after ...
RECONNECT = RULES.connect_timeout + RULES.backoff_max + RULES.beat + 0.1  # ... the store can be reached again
UNDER_WAY = RETRY[1] + 0.15  # ... a MAC's place changed, until a store that answers knows it
BOUND = RETRY[1] + SETTLE_RETRY + RULES.come_back + 0.1  # ... a host or the store was disturbed
MOVED = 1.0  # ... a container moved while all else was calm: the next tick, the hold-down, the frame after it
CROSSED = 0.1  # ... a cut or loss in the underlay ended
SETTLE = BOUND + 0.5
NOTICED = RULES.lease + 2 * RULES.beat + 0.1  # ... a host fell silent, until nobody floods to it
