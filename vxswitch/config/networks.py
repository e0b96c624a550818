"""``[networks]``: the defaults for all networks, and the networks to join.

A network is a table ``[networks.NAME]`` or ``--network NAME[=VNI]``; what its table leaves out comes from the scalar
keys of ``[networks]``. The learning mode's own default comes from the store: ``control`` where there is one to ask,
``flood`` with ``static:``.
"""

from __future__ import annotations

import msgspec

from vxswitch.config.convert import Given, build, keys_of, vteps
from vxswitch.config.layers import Layers, unknown_network_key
from vxswitch.config.rules import check_subnets
from vxswitch.config.sections import Network, Networks
from vxswitch.errors import UsageError

INHERITED = ("mtu", "learning", "unknown", "antispoof", "vlan", "suppress")


def build_networks(layers: Layers, store_url: str) -> Networks:
    """The defaults of ``[networks]``."""
    table = layers.sections.get("networks", {})
    for key, given in table.items():
        if key not in keys_of(Networks):
            raise unknown_network_key(key, given)
    learning = Given("flood" if store_url == "static:" else "control", "default")
    defaults = build(Networks, "networks", {"learning": learning, **table})
    _check_learning("networks.learning", defaults.learning, store_url)
    return defaults


def build_joined(layers: Layers, defaults: Networks, store_url: str, port: int) -> tuple[Network, ...]:
    """The networks to join, in the order in which they were named."""
    joined = tuple(_network(name, table, defaults, port) for name, table in layers.networks.items())
    by_vni: dict[int, str] = {}
    for network in joined:
        _check_learning(f"networks.{network.name}.learning", network.learning, store_url)
        if network.vni is None and store_url == "static:":
            raise UsageError(
                f"network {network.name!r} has no VNI and static: keeps no record of it: "
                f"give =VNI, as in --network {network.name}=100"
            )
        if network.vni is not None and by_vni.setdefault(network.vni, network.name) != network.name:
            raise UsageError(f"networks {by_vni[network.vni]!r} and {network.name!r} have the same VNI {network.vni}")
    return joined


def _network(name: str, table: dict[str, Given], defaults: Networks, port: int) -> Network:
    section = f"networks.{name}"
    if "peers" in table:
        table = {**table, "peers": vteps(f"{section}.peers", table["peers"], port)}
    inherited = {key: Given(getattr(defaults, key), "default") for key in INHERITED}
    if inherited["mtu"].value is None:
        inherited["mtu"] = Given("auto", "default")
    network = build(Network, section, {**inherited, **table}, name=name)
    try:
        check_subnets(network.subnets)
    except UsageError as error:
        raise UsageError(f"{section}.subnets: {error}") from None
    return network


def _check_learning(key: str, learning: str, store_url: str) -> None:
    if learning != "flood" and store_url == "static:":
        raise UsageError(f"{key} = {learning!r}: the store static: claims no MACs, want flood, or a Redis store")


def as_table(network: Network) -> dict[str, object]:
    """The network's keys as its table in the file would have them."""
    table = msgspec.structs.asdict(network)
    del table["name"]
    return table
