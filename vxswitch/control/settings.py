"""A network's settings from elsewhere than the configuration: a request, the state directory, the store's record.

All of them become the one ``config.Network``, read by the configuration's own rules, so a wrong value is refused in the
same words wherever it comes from. Also here: what two descriptions of one network may and may not disagree about.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from vxswitch import config
from vxswitch.config.convert import Given, build, vteps
from vxswitch.config.rules import check_subnets
from vxswitch.errors import UsageError
from vxswitch.model import VXLAN_PORT, NetworkRecord, check_network_name

_AGREED = ("vni", "subnets", "mtu", "learning")  # the cluster's: the record's word


def from_plain(item: Any, origin: str, defaults: Mapping[str, Any] | None = None) -> config.Network:
    """A JSON object as settings; ``defaults`` are those of keys left out or null. UsageError names key and value."""
    if not isinstance(item, dict) or not isinstance(item.get("name"), str):
        raise UsageError(f"{origin}: want an object with a network's name")
    name = check_network_name(item["name"])
    merged = {"mtu": "auto", **(defaults or {})}
    merged |= {key: value for key, value in item.items() if key != "name" and value is not None}
    table = {key: Given(value, origin) for key, value in merged.items()}
    if "peers" in table:
        table["peers"] = vteps(f"{name}.peers", table["peers"], VXLAN_PORT)
    settings = build(config.Network, name, table, name=name)
    check_subnets(settings.subnets)
    return settings


def to_plain(settings: config.Network) -> dict[str, Any]:
    """The settings as a JSON object that ``from_plain`` reads back."""
    plain = {field: getattr(settings, field) for field in settings.__struct_fields__}
    plain["mtu"] = settings.mtu or "auto"
    return {**plain, "subnets": list(settings.subnets), "peers": [str(peer) for peer in settings.peers]}


def from_record(record: NetworkRecord, defaults: config.Networks) -> config.Network:
    """A network that only the store has described; how tags and neighbours are treated is each node's own matter."""
    fields = {key: getattr(record, key) for key in ("subnets", "mtu", "learning", "unknown", "antispoof")}
    own = {"vlan": defaults.vlan, "suppress": defaults.suppress}
    return config.Network(name=record.name, vni=record.vni, **own, **fields)  # type: ignore[arg-type]


def adopted(settings: config.Network, record: NetworkRecord) -> config.Network:
    """The settings with the cluster's word where the cluster has one."""
    mtu = record.mtu if record.mtu is not None else settings.mtu
    return msgspec.structs.replace(settings, vni=record.vni, subnets=record.subnets, mtu=mtu, learning=record.learning)


def contradiction(settings: config.Network, record: NetworkRecord) -> str | None:
    """What was asked for here against the cluster's record: VNI and MTU have to agree, unless it says auto."""
    if settings.vni is not None and settings.vni != record.vni:
        return f"network {record.name!r} has VNI {record.vni} in the store, not {settings.vni}: give ={record.vni}"
    if settings.mtu is not None and record.mtu is not None and settings.mtu != record.mtu:
        return f"network {record.name!r} has MTU {record.mtu} in the store, not {settings.mtu}: leave it out"
    return None


def difference(asked: config.Network, known: config.Network) -> str | None:
    """What a second request for the same network asks for differently; what it leaves out is no difference."""
    for key in (*_AGREED, "unknown", "antispoof"):
        value, present = getattr(asked, key), getattr(known, key)
        if value not in (None, ()) and value != present:
            return f"network {known.name!r} exists with {key} {_shown(present)}, not {_shown(value)}"
    return None


def fixed(asked: config.Network, known: config.Network) -> list[str]:
    """The keys that the configuration says otherwise now, but that stay as they are while frames flow."""
    return [key for key in _AGREED if getattr(asked, key) not in (None, (), getattr(known, key))]


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else "auto" if value is None else str(value)
