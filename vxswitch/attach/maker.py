"""What whoever may enter a container does to attach it: the command, a CNI or netavark plugin, a rootless tool.

make a TAP under a temporary name in our own namespace -> offer it to the switch over attach.sock -> the switch answers
with the port (MAC, addresses, MTU) -> move the TAP into the container, rename, configure, up -> make it persistent.
Until that last step the TAP lives by its descriptors alone: whatever goes wrong, at whichever moment, closing ours and
letting the switch close its copy (``abort``) removes it, wherever it stands by then.

The same attach again is a success. If the port is alive (``existing``) our TAP is dropped unused; if the interface
is there but its owner died, that very TAP is re-attached and offered instead (``pinned``: such a descriptor keeps the
namespace alive, so the switch watches the recorded path). ``existing`` without an interface is what a maker killed
half-way left: that port is aborted and made anew.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vxswitch.attach import link, passing, tap
from vxswitch.attach.netns import Netns, enter, resolve
from vxswitch.errors import VxswitchError
from vxswitch.model import parse_mac

_APPEARANCE = 2.0  # seconds given to another maker, at work on the same port, to move its TAP in
_APPEARANCE_PAUSE = 0.05


@dataclass(frozen=True, slots=True)
class _Offer:
    """A descriptor of ours, the TAP's present name, and whether the TAP stands in the container already."""

    fd: int
    name: str
    inside: bool


def attach(
    attach_sock: str,
    network: str,
    *,
    netns: str,
    ifname: str = "eth0",
    ips: Sequence[str] = (),
    mac: str | None = None,
    gateway: str | None = None,
    rate: int | None = None,
    pps: int | None = None,
    timeout: float = 10.0,
) -> dict[str, Any]:
    """Give the namespace ``netns`` (NAME, PATH or PID) a port of ``network``; the port as the switch describes it.

    ``ips``: CIDRs, ``auto`` or ``none``; empty: auto if the network can allocate, else none. ``rate`` in bits per
    second, ``pps`` in frames; ``timeout`` in seconds for the switch's answer. Raises VxswitchError, with nothing left
    behind.
    """
    target = resolve(netns)
    message = {
        "op": "attach",
        "network": network,
        "netns": target.path,
        "inode": target.inode,
        "pid": target.pid,
        "ifname": tap.check_ifname(ifname),
        "ips": list(ips),
        "mac": mac,
        "gateway": gateway,
        "rate": rate,
        "pps": pps,
    }
    port = _attach_once(attach_sock, message, target, timeout)
    if port is None:
        port = _attach_once(attach_sock, message, target, timeout)
    if port is None:
        raise VxswitchError(f"port of {network} in {netns} has no interface {ifname} and cannot be made: see the log")
    return port


def _attach_once(path: str, message: dict[str, Any], target: Netns, timeout: float) -> dict[str, Any] | None:
    """The port, or None when a half-made one was found and aborted."""
    offer = _make_offer(message["network"], target, message["ifname"])
    try:
        full = message | {"tap": offer.name, "pinned": offer.inside}
        port = passing.request(path, full, [offer.fd], timeout)
        if port["existing"]:
            if _appears(message["ifname"], target):
                return port
            _abort(path, port, timeout)
            return None
        try:
            _settle(offer, target, message, port)
        except BaseException:
            with contextlib.suppress(VxswitchError):  # the first error is the one to tell
                _abort(path, port, timeout)
            raise
        return port
    finally:
        os.close(offer.fd)


def _make_offer(network: str, target: Netns, ifname: str) -> _Offer:
    found = link.link_info(ifname, target)
    if found is not None and found.orphan and found.alias == link.alias_of(network):
        with enter(target):
            return _Offer(tap.reattach(ifname), ifname, inside=True)
    name = tap.temporary_name()
    return _Offer(tap.create(name, persistent=False), name, inside=False)


def _settle(offer: _Offer, target: Netns, message: dict[str, Any], port: dict[str, Any]) -> None:
    """Put the TAP where the port is meant to be, as the switch's answer says."""
    settings: dict[str, Any] = {
        "mac": parse_mac(port["mac"]),
        "addresses": port["ips"],
        "gateway": message["gateway"],
        "mtu": port["mtu"],
        "alias": link.alias_of(message["network"]),
    }
    if offer.inside:
        link.configure(message["ifname"], target, **settings)
    else:
        link.move_into(offer.name, target, message["ifname"], **settings)
    tap.set_persist(offer.fd, True)


def _abort(path: str, port: dict[str, Any], timeout: float) -> None:
    passing.request(path, {"op": "abort", "port": port["port"]}, timeout=timeout)


def _appears(ifname: str, target: Netns) -> bool:
    deadline = time.monotonic() + _APPEARANCE
    while not link.exists(ifname, target):
        if time.monotonic() >= deadline:
            return False
        time.sleep(_APPEARANCE_PAUSE)
    return True
