"""Which addresses are at which MAC of one network: what questions for neighbours are answered from.

It follows the claims as the store has them, ours included: a claim carries its MAC's addresses, so there is no second
table that could drift from it. An address that two MACs claim is nobody's to answer for.

Bounded by the claims of a network and the 32 addresses of each.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable


class Bindings:
    """See the head of this file. Addresses are 4 or 16 bytes."""

    def __init__(self) -> None:
        self._addresses: dict[bytes, tuple[bytes, ...]] = {}  # by MAC
        self._macs: dict[bytes, tuple[bytes, ...]] = {}  # by address

    def of(self, mac: bytes) -> tuple[bytes, ...]:
        """The addresses of a MAC."""
        return self._addresses.get(mac, ())

    def mac_of(self, address: bytes) -> bytes | None:
        """The one MAC that has this address; None: nobody is known to, or more than one is."""
        macs = self._macs.get(address)
        return macs[0] if macs is not None and len(macs) == 1 else None

    def bind(self, mac: bytes, addresses: Iterable[bytes]) -> bool:
        """These are all the addresses of the MAC (none: forget it). False if they were before."""
        now, before = tuple(dict.fromkeys(addresses)), self._addresses.get(mac, ())
        if now == before:
            return False
        for address in before:
            left = tuple(other for other in self._macs[address] if other != mac)
            if left:
                self._macs[address] = left
            else:
                del self._macs[address]
        for address in now:
            self._macs[address] = (*self._macs.get(address, ()), mac)
        if now:
            self._addresses[mac] = now
        else:
            del self._addresses[mac]
        return True


def pack(texts: Iterable[str]) -> tuple[bytes, ...]:
    """Addresses as bytes; what is none is left out (a row of the store may hold anything)."""
    packed = []
    for text in texts:
        with contextlib.suppress(OSError, ValueError):
            packed.append(socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text))
    return tuple(packed)


def unpack(address: bytes) -> str:
    """An address as canonical text."""
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)
