"""Containers attached by the command line, and what a switch says of itself, asked over its control socket."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vxswitch.client import Client
from vxswitch.lab import Lab, Namespace, SwitchProcess


@dataclass(frozen=True, slots=True)
class Container:
    """A namespace with one interface in one overlay network. ``port``: the switch's id of it."""

    namespace: Namespace
    ip: str
    mac: str
    mtu: int
    port: str


def attach(
    lab: Lab, switch: SwitchProcess, network: str, label: str, ip: str, *args: str, ip6: str | None = None
) -> Container:
    """A new container with ``ip``/24 (and ``ip6``/64) in ``network``; ``args`` go to `vxswitch attach` as they are.

    Without ``ip6`` its IPv6 is off: it then sends nothing that nobody asked it for.
    """
    namespace = lab.container(label)
    if ip6 is None:
        namespace.run(["sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1"])
    ips = ["--ip", f"{ip}/24", *(["--ip", f"{ip6}/64"] if ip6 else [])]
    port: dict[str, Any] = switch.vx("attach", network, "--netns", namespace.name, *ips, *args, "--json")
    return Container(namespace, ip, port["mac"], port["mtu"], port["port"])


def ask(switch: SwitchProcess, *parts: str, **query: Any) -> Any:
    """What the control socket answers to GET /v1/PARTS."""
    return Client(str(switch.socket)).get("/".join(("/v1", *parts)), **query)


def drops(switch: SwitchProcess) -> dict[str, int]:
    """The drops that are not zero."""
    return {reason: count for reason, count in ask(switch, "drops").items() if count}


def rows(switch: SwitchProcess, network: str) -> dict[str, dict[str, Any]]:
    """The rows of a network by MAC, without the flood list."""
    return {row["mac"]: row for row in ask(switch, "fdb", network=network) if row["hop"] != "flood"}


def flood_list(switch: SwitchProcess, network: str) -> list[str]:
    """The VTEPs that a network floods to, in order."""
    return sorted(row["vtep"] for row in ask(switch, "fdb", network=network) if row["hop"] == "flood")


def full_mesh(switches: Sequence[SwitchProcess], network: str) -> bool:
    """Whether every switch floods to every other one."""
    return all(len(flood_list(switch, network)) == len(switches) - 1 for switch in switches)
