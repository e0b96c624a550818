"""The shapes of the JSON that commands print, from the project's description of its outside interface.

`null` stands where a value is unknown, and no key is ever missing; more keys than these may be there.
"""

from __future__ import annotations

import re
from types import NoneType
from typing import Any

MAC = re.compile(r"([0-9a-f]{2}:){5}[0-9a-f]{2}")
VTEP = re.compile(r"(\d+\.){3}\d+:\d+|\[[0-9a-f:]+\]:\d+")
NUMBER = (int, float)

STATUS = {
    "node": str,
    "epoch": int,
    "version": str,
    "uptime": NUMBER,
    "vteps": list,
    "store": dict,
    "networks": list,
    "ports": int,
    "macs": int,
    "frames": dict,
    "drops": int,
}
STORE = {"url": str, "state": str, "reason": (str, NoneType), "since": NUMBER, "rtt_ms": (*NUMBER, NoneType)}
NETWORK = {"name": str, "vni": (int, NoneType), "mtu": (int, NoneType), "learning": str, "state": str}
PORT = {
    "id": str,
    "network": str,
    "vni": int,
    "netns": (str, NoneType),
    "ifname": str,
    "mac": str,
    "ips": list,
    "mtu": int,
    "state": str,
    "rx_frames": int,
    "rx_bytes": int,
    "tx_frames": int,
    "tx_bytes": int,
    "offloads": dict,
    "drops": dict,
}
ROW = {
    "network": str,
    "vni": int,
    "mac": str,
    "hop": str,
    "port": (str, NoneType),
    "vtep": (str, NoneType),
    "node": (str, NoneType),
    "flags": list,
    "source": str,
    "age": (*NUMBER, NoneType),
    "rev": (int, NoneType),
}
PEER = {
    "node": (str, NoneType),
    "vtep": str,
    "networks": list,
    "state": str,
    "lease": (*NUMBER, NoneType),
    "rtt_us": (*NUMBER, NoneType),
    "loss": (*NUMBER, NoneType),
    "mtu": (int, NoneType),
    "encrypted": bool,
    "key_age": (*NUMBER, NoneType),
}
ATTACHED = {"port": str, "network": str, "netns": str, "ifname": str, "mac": str, "ips": list, "mtu": int}
STAGE = {"stage": str, "verdict": str, "detail": (str, NoneType)}


def check(found: dict[str, Any], shape: dict[str, Any]) -> None:
    """Every key of the shape is there, with a value of its type."""
    assert shape.keys() <= found.keys(), shape.keys() - found.keys()
    for key, kinds in shape.items():
        assert isinstance(found[key], kinds), (key, found[key])
