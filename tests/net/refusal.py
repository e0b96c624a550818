"""Switches to which the kernel refuses TAP offloads, really: by a seccomp filter in their processes."""

from __future__ import annotations

import os
from pathlib import Path

CSUM, TSO4, TSO6, USO4, USO6, TUNNEL = 0x01, 0x02, 0x04, 0x20, 0x40, 0x180  # linux/if_tun.h, TUN_F_*


def refusing(mask: int) -> dict[str, str]:
    """Environment of a switch (and of its command line) that is refused every TUN_F_* of ``mask``."""
    path = os.pathsep.join(filter(None, (str(Path(__file__).with_name("refusing")), os.environ.get("PYTHONPATH"))))
    return {"PYTHONPATH": path, "REFUSED_OFFLOADS": hex(mask)}
